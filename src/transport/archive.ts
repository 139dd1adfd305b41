import { nullSink } from "../core/byte-sink.js";
import type { CompressionName } from "../core/compression.js";
import { hexOf } from "../core/digest.js";
import { formatJson, toJson } from "../core/json.js";
import { layoutEntries, OCI_LAYOUT } from "../oci/layout.js";
import { type Descriptor, formatIndex } from "../oci/manifest.js";
import { splitImageName } from "../oci/reference.js";
import { type ArchiveOutput, openArchiveOutput } from "./archive-output.js";
import type { BlobSink, FinishedImage, ImageTarget } from "./image.js";

export interface ArchiveOptions {
  /** What is beside the OCI layout: `docker-archive` adds manifest.json, for every loader there is. */
  readonly kind: "oci-archive" | "docker-archive";
  /** The image's name; undefined for the names that it brings along. */
  readonly ref: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes an OCI layout as one tar archive: `blobs/sha256/…` in the order in which the blobs come, each once, then `index.json`,
 * `manifest.json` in a docker-archive, `oci-layout`, and two zero blocks. A file gets its name when it is whole, in place of what has it.
 *
 * @param file `-` for standard output. There, in what is named as a descriptor (/dev/fd/3), and in pipes a blob stands behind its digest
 *   and size, so one of which these are not known is kept in a temporary file until they are.
 * @throws OciNixError `output` or `not-found` where it cannot be written
 */
export async function openArchiveTarget(file: string, options: ArchiveOptions): Promise<ImageTarget> {
  const { kind, ref, signal } = options;
  const title = `${kind}:${file}${ref === undefined ? "" : `:${ref}`}`;
  const names = ref === undefined ? undefined : [ref];
  return archiveTarget(await openArchiveOutput(file, signal), { kind, names, title });
}

/**
 * As {@link openArchiveTarget}, into anything.
 * @param options.names the image's names; undefined for those that it brings along
 * @param options.title what messages call it
 */
export function archiveTarget(
  out: ArchiveOutput,
  options: Pick<ArchiveOptions, "kind"> & { readonly names: readonly string[] | undefined; readonly title: string },
): ImageTarget {
  const { kind, names, title } = options;
  const refuses = (compression: CompressionName) =>
    kind === "docker-archive" && compression === "zstd" ? "Docker's image format has no zstd layers" : undefined;
  const there = new Set<string>();
  return {
    title,
    takesOne: names !== undefined,
    refuses,
    has: async (blob) => there.has(blob.digest),
    link: async () => false,
    async begin(known) {
      // A header that says what is there already would be a second member of its name.
      if (known !== undefined && there.has(known.digest)) return SWALLOW;
      const member = await out.begin(known === undefined ? undefined : nameOf(known), known?.size);
      return {
        write: (bytes, whileFull) => member.write(bytes, whileFull),
        async commit(blob) {
          // The same bytes twice are found out only when they are written.
          if (there.has(blob.digest)) return await member.discard();
          await member.commit(nameOf(blob), blob.size);
          there.add(blob.digest);
        },
        discard: () => member.discard(),
      };
    },
    async finish(images) {
      const named = images.map((image) => (names === undefined ? image : { ...image, names }));
      const style = kind === "docker-archive" ? "tag" : "whole";
      const entries = named.flatMap(({ manifest, names }) => layoutEntries(manifest, names, style));
      await putText(out, "index.json", formatIndex(entries.map(toJson)));
      if (kind === "docker-archive") await putText(out, "manifest.json", dockerManifest(named));
      await putText(out, "oci-layout", OCI_LAYOUT);
      await out.end();
    },
    close: async () => out.close(),
  };
}

const SWALLOW: BlobSink = { ...nullSink, commit: async () => undefined, discard: async () => undefined };

function nameOf(blob: Descriptor): string {
  return `blobs/sha256/${hexOf(blob.digest)}`;
}

/** Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format". */
function dockerManifest(images: readonly FinishedImage[]): string {
  return formatJson(
    toJson(
      images.map(({ names, config, layers }) => ({
        Config: nameOf(config),
        RepoTags: names.filter((name) => splitImageName(name) !== undefined),
        Layers: layers.map(nameOf),
      })),
    ),
  );
}

async function putText(out: ArchiveOutput, name: string, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  const member = await out.begin(name, bytes.length);
  await member.write(bytes);
  await member.commit(name, bytes.length);
}
