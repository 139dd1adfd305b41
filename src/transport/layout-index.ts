import type { Digest } from "../core/digest.js";
import { nearest, OciNixError } from "../core/errors.js";
import { CONTAINERD_NAME, REF_NAME } from "../oci/layout.js";
import { type Descriptor, type IndexEntry, isImageConfig, kindOfMediaType, parseManifest } from "../oci/manifest.js";
import { formatPlatform, type Platform, type PlatformChoice } from "../oci/platform.js";
import { familiarName, fullName } from "../oci/reference.js";
import { blobName, type DocumentReader, parseDocument } from "./stored-files.js";

/** An entry of an index, and where in it. */
interface PlacedEntry {
  readonly entry: IndexEntry;
  readonly where: string;
}

/** Entries of index.json that are one image, perhaps for several platforms. */
export interface EntryGroup {
  readonly names: readonly string[];
  /** For messages. */
  readonly title: string;
  readonly entries: readonly PlacedEntry[];
}

/** The manifest of what may be an image. */
export interface Candidate {
  readonly descriptor: Descriptor;
  /** What the index says. */
  readonly platform: Platform | undefined;
}

/**
 * The entries that a name stands for; without a name all, those of equal names together.
 * @throws OciNixError `not-found` with the names there are; `usage` where it stands for several images
 */
export function selectEntries(
  manifests: readonly IndexEntry[],
  ref: string | undefined,
  title: string,
): readonly EntryGroup[] {
  const groups = new Map<string, EntryGroup & { readonly entries: PlacedEntry[] }>();
  for (const [i, entry] of manifests.entries()) {
    const where = `${title}: index.json: manifests[${i}]`;
    const name = nameOf(entry);
    const key = name ?? `\0${i}`;
    const known = groups.get(key) ?? { names: name === undefined ? [] : [name], title: name ?? `@${i}`, entries: [] };
    known.entries.push({ entry, where });
    groups.set(key, known);
  }
  const all: readonly EntryGroup[] = [...groups.values()];
  if (ref === undefined) return all;
  if (/^@\d+$/.test(ref)) {
    const at = Number(ref.slice(1));
    const group = all.find(({ entries }) => entries.some(({ entry }) => entry === manifests[at]));
    if (group !== undefined) {
      const entries = group.entries.filter(({ entry }) => entry === manifests[at]);
      return [{ ...group, entries }];
    }
  }
  const found = matching(all, ({ entries }) => entries.flatMap(({ entry }) => keysOf(entry)), ref);
  if (found.length === 0)
    throw noSuchName(
      title,
      ref,
      all.flatMap(({ names }) => names),
    );
  return oneImage(found, ref, title);
}

/** Groups of one image under several names are one. */
function oneImage(found: readonly EntryGroup[], ref: string, title: string): readonly EntryGroup[] {
  const digests = (group: EntryGroup) => group.entries.map(({ entry }) => entry.descriptor.digest).join();
  if (new Set(found.map(digests)).size === 1) return found;
  throw severalNames(
    title,
    ref,
    found.flatMap(({ names }) => names),
  );
}

/** What a name matches: those of just this name, else those it is the tag of. */
export function matching<T>(items: readonly T[], namesOf: (item: T) => readonly string[], ref: string): readonly T[] {
  const whole = items.filter((item) => namesOf(item).some((name) => fullName(name) === fullName(ref)));
  if (whole.length > 0) return whole;
  return items.filter((item) => namesOf(item).some((name) => tagOf(name) === ref));
}

export function noSuchName(title: string, ref: string, names: readonly string[]): OciNixError {
  const known = [...new Set(names)];
  const near = nearest(ref, [...known, ...known.flatMap((name) => tagOf(name) ?? [])]);
  const there = known.length === 0 ? "no image there has a name" : `its images are called ${listNames(known)}`;
  return new OciNixError("not-found", `${title} has no image ${JSON.stringify(ref)}: ${there}`, {
    hint: near === undefined ? "name one of them, or none for all" : `did you mean ${near}?`,
  });
}

/** @param names of the images that one was wanted of; those that one name cannot tell apart have it as often */
export function severalNames(title: string, ref: string, names: readonly string[]): OciNixError {
  if (new Set(names.map(fullName)).size < names.length) {
    return new OciNixError("usage", `${title}: several images have one name: ${listNames(names)}`, { hint: ONE_NAME });
  }
  return new OciNixError(
    "usage",
    `${title}: ${JSON.stringify(ref)} is the tag of several images: ${listNames(names)}`,
    {
      hint: "give the full name",
    },
  );
}

/** What to do where names do not tell images apart. */
export const ONE_NAME =
  "programs differ in which of them they take: give each a name of its own, in a layout in index.json";

const SHOWN = 10;

/** The first of many names. */
export function listNames(names: readonly string[]): string {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  return `${names.slice(0, SHOWN).join(", ")}${more}`;
}

function tagOf(name: string): string | undefined {
  return /:([^:/]+)$/.exec(name)?.[1];
}

function nameOf(entry: IndexEntry): string | undefined {
  const { annotations = {} } = entry.descriptor;
  return familiarName(annotations[CONTAINERD_NAME] || annotations[REF_NAME] || "") || undefined;
}

function keysOf(entry: IndexEntry): readonly string[] {
  const { annotations = {} } = entry.descriptor;
  return [annotations[CONTAINERD_NAME], annotations[REF_NAME]].filter(
    (name): name is string => name !== undefined && name !== "",
  );
}

const MAX_DEPTH = 8;
/** Of an index with all it refers to; the same index may be named again and again. */
const MAX_MANIFESTS = 10_000;

/**
 * The manifests that entries lead to, through indexes. Left out is what is no image; and, below index.json, what the medium lacks: an
 * export for one platform keeps the index of all.
 * @throws OciNixError `limit`
 */
export function candidatesOf(entries: readonly PlacedEntry[], documents: DocumentReader): readonly Candidate[] {
  const { files } = documents;
  const walk = findCandidates(entries, {
    has: (digest) => files.has(blobName(digest)),
    titleOf: (digest) => `${files.title}: ${blobName(digest)}`,
  });
  let step = walk.next(Buffer.alloc(0));
  while (step.done !== true) step = walk.next(documents.blob(step.value));
  return step.value;
}

/**
 * As {@link candidatesOf}, for media of any kind: gives the indexes that are to be read, and takes their bytes.
 * @param medium.has whether a document that an index names is there
 */
export function* findCandidates(
  entries: readonly PlacedEntry[],
  medium: { has(digest: Digest): boolean; titleOf(digest: Digest): string },
): Generator<Descriptor, readonly Candidate[], Uint8Array> {
  const candidates: Candidate[] = [];
  let seen = 0;
  function* visit({ entry, where }: PlacedEntry, depth: number): Generator<Descriptor, void, Uint8Array> {
    const { descriptor, platform } = entry;
    if (++seen > MAX_MANIFESTS) throw new OciNixError("limit", `${where}: more than ${MAX_MANIFESTS} manifests`);
    if (depth > MAX_DEPTH)
      throw new OciNixError("limit", `${where}: indexes within indexes, more than ${MAX_DEPTH} deep`);
    if (!mayBeImage(entry)) return;
    const kind = kindOfMediaType(descriptor.mediaType, where);
    if (kind === undefined || (depth > 0 && !medium.has(descriptor.digest))) return;
    if (kind === "manifest") {
      const { mediaType, digest, size } = descriptor;
      // Its annotations are its name in this index.
      candidates.push({ descriptor: { mediaType, digest, size }, platform });
      return;
    }
    const bytes = yield descriptor;
    const place = medium.titleOf(descriptor.digest);
    const index = parseManifest(parseDocument(bytes, place), descriptor.mediaType, place);
    if (index.kind !== "index") return;
    for (const [i, inner] of index.manifests.entries())
      yield* visit({ entry: inner, where: `${place}: manifests[${i}]` }, depth + 1);
  }
  for (const entry of entries) yield* visit(entry, 0);
  return candidates;
}

function mayBeImage({ descriptor, platform, artifactType }: IndexEntry): boolean {
  if (platform?.os === "unknown" && platform.architecture === "unknown") return false;
  if (descriptor.annotations?.["vnd.docker.reference.type"] !== undefined) return false;
  return artifactType === undefined || artifactType === "" || isImageConfig(artifactType);
}

/**
 * The error for a name that stands for several images.
 * @param hint what to do where they are of one platform
 */
export function severalPlatforms(
  title: string,
  image: string,
  images: readonly { readonly platform: Platform | undefined; readonly digest: Digest }[],
  hint = ONE_NAME,
): OciNixError {
  const platforms = namesOfPlatforms(images.map(({ platform }) => platform));
  if (images.length > 1 && platforms.length === 1) {
    const digests = listNames(images.map(({ digest }) => digest));
    return new OciNixError(
      "usage",
      `${title}: ${image} names ${images.length} images for ${platforms[0]}: ${digests}`,
      {
        hint,
      },
    );
  }
  return new OciNixError("usage", `${title}: ${image} is for several platforms: ${platforms.join(", ")}`, {
    hint: "say which with --platform",
  });
}

/** @throws OciNixError `not-found` where nothing is left of a choice, `invalid-input` where nothing was there */
export function checkFound(
  count: number,
  {
    title,
    choice,
    platforms,
  }: {
    readonly title: string;
    readonly choice: { readonly ref?: string | undefined; readonly platform?: PlatformChoice };
    readonly platforms: readonly (Platform | undefined)[];
  },
): void {
  if (count > 0) return;
  const name = choice.ref === undefined ? title : `${title}: ${choice.ref}`;
  if (choice.platform !== undefined && choice.platform !== "every" && platforms.length > 0) {
    throw new OciNixError("not-found", `${name} is not there for ${formatPlatform(choice.platform)}`, {
      hint: `it is for ${namesOfPlatforms(platforms).join(", ")}`,
    });
  }
  throw new OciNixError("invalid-input", `${name} holds no image`, { hint: "signatures and attestations are none" });
}

function namesOfPlatforms(platforms: readonly (Platform | undefined)[]): readonly string[] {
  return [
    ...new Set(platforms.map((platform) => (platform === undefined ? "unknown" : formatPlatform(platform)))),
  ].sort();
}
