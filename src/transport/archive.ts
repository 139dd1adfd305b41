import { closeSync, ftruncateSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { type ByteSink, fdSink, fileSink, nullSink } from "../core/byte-sink.js";
import type { CompressionName } from "../core/compression.js";
import { hexOf } from "../core/digest.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import { readPieces } from "../core/file-range.js";
import { formatJson, toJson } from "../core/json.js";
import {
  createFile,
  descriptorNamed,
  followLinks,
  type NewFile,
  removeLeftovers,
  syncDirectory,
  syncFile,
} from "../core/output-file.js";
import { layoutEntries, OCI_LAYOUT } from "../oci/layout.js";
import { type Descriptor, formatIndex } from "../oci/manifest.js";
import { splitImageName } from "../oci/reference.js";
import { BLOCK, padded } from "../tar/header.js";
import { memberHeader } from "../tar/member-header.js";
import type { BlobSink, FinishedImage, ImageTarget } from "./image.js";
import { openNameless } from "./unpacked-file.js";

export interface ArchiveOptions {
  /** What is beside the OCI layout: `docker-archive` adds manifest.json, for every loader there is. */
  readonly kind: "oci-archive" | "docker-archive";
  /** The image's name; undefined for the names that it brings along. */
  readonly ref: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const STDOUT = 1;

/**
 * Writes an OCI layout as one tar archive: `blobs/sha256/…` in the order in which the blobs come, each once, then `index.json`,
 * `manifest.json` in a docker-archive, `oci-layout`, and two zero blocks. A file gets its name when it is whole, in place of what has it.
 *
 * @param file `-` for standard output. There, in what is named as a descriptor (/dev/fd/3), and in pipes a blob stands behind its digest and size, so one of which these are not known
 *   is kept in a temporary file until they are.
 * @throws OciNixError `output` or `not-found` where it cannot be written
 */
export async function openArchiveTarget(file: string, options: ArchiveOptions): Promise<ImageTarget> {
  const { kind, ref, signal } = options;
  const title = `${kind}:${file}${ref === undefined ? "" : `:${ref}`}`;
  const refuses = (compression: CompressionName) =>
    kind === "docker-archive" && compression === "zstd" ? "Docker's image format has no zstd layers" : undefined;
  const out = await openOutput(file, signal);
  const there = new Set<string>();
  return {
    title,
    takesOne: ref !== undefined,
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
      const named = images.map((image) => (ref === undefined ? image : { ...image, names: [ref] }));
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

async function putText(out: Output, name: string, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  const member = await out.begin(name, bytes.length);
  await member.write(bytes);
  await member.commit(name, bytes.length);
}

/** The archive's members, one after another. */
interface Output {
  /** @param name undefined, as `size`, where it is told by `commit` only */
  begin(name: string | undefined, size: number | undefined): Promise<Member>;
  /** Writes the end of the archive. */
  end(): Promise<void>;
  close(): void;
}

interface Member extends ByteSink {
  commit(name: string, size: number): Promise<void>;
  discard(): Promise<void>;
}

async function openOutput(file: string, signal: AbortSignal | undefined): Promise<Output> {
  const descriptor = file === "-" ? STDOUT : descriptorNamed(file);
  if (descriptor !== undefined) return streamOutput(descriptor, file === "-" ? "standard output" : file, signal);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isDirectory()) {
    throw new OciNixError("output", `cannot write ${file}: it is a directory`, { hint: "name a file" });
  }
  if (stat === undefined || stat.isFile()) return fileOutput(followLinks(file));
  try {
    // Waits for a FIFO's reader without keeping signals from being served.
    const handle = await open(file, "w");
    const output = streamOutput(handle.fd, file, signal);
    return {
      ...output,
      close() {
        output.close();
        handle.close().catch(() => undefined);
      },
    };
  } catch (error) {
    throw error instanceof OciNixError
      ? error
      : new OciNixError("output", `cannot write ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

/** Into a file headers can be written when their members' sizes are known. */
function fileOutput(path: string): Output {
  const directory = dirname(path);
  removeLeftovers(directory);
  const file: NewFile = createFile(directory);
  let end = 0;
  const put = (bytes: Uint8Array, at: number) => fileSink(file.fd, path, at).write(bytes);
  return {
    async begin() {
      const start = end;
      const contents = fileSink(file.fd, path, start + BLOCK);
      return {
        write: contents.write,
        async commit(name, size) {
          put(memberHeader(name, size), start);
          end = start + BLOCK + padded(size);
          put(Buffer.alloc(end - contents.position), contents.position);
        },
        async discard() {
          if (end === start) ftruncateSync(file.fd, start);
        },
      };
    },
    async end() {
      put(Buffer.alloc(2 * BLOCK), end);
      await syncFile(file.fd, path);
      file.commit(path);
      syncDirectory(directory);
    },
    close: () => file.discard(),
  };
}

function streamOutput(fd: number, title: string, signal: AbortSignal | undefined): Output {
  const sink = fdSink(fd, title, signal);
  const zeros = Buffer.alloc(2 * BLOCK);
  const pad = async (size: number) => await sink.write(zeros.subarray(0, padded(size) - size));
  return {
    async begin(name, size) {
      if (name === undefined || size === undefined) return await spooled(sink, pad);
      await sink.write(memberHeader(name, size));
      return { write: sink.write, commit: async () => await pad(size), discard: async () => undefined };
    },
    end: async () => await sink.write(zeros),
    close: () => sink.close(),
  };
}

/** Keeps a member in a temporary file until its name and size are known. */
async function spooled(sink: ByteSink, pad: (size: number) => Promise<void>): Promise<Member> {
  const fd = openNameless();
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    write: fileSink(fd, "a temporary file").write,
    async commit(name, size) {
      try {
        await sink.write(memberHeader(name, size));
        for await (const piece of readPieces(fd)) await sink.write(piece);
        await pad(size);
      } finally {
        close();
      }
    },
    discard: async () => close(),
  };
}
