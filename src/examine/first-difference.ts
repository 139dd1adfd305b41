import type { ByteSink } from "../core/byte-sink.js";
import { displayBytes } from "../core/byte-string.js";
import { TarEntries, type TarEntry } from "../tar/entries.js";
import type { StoredLayer } from "../transport/image.js";
import { writeUnpacked } from "../transport/stored-layer.js";
import { shownName } from "./entry-path.js";

/** Where the archives of two layers are not the same any more. */
export interface FirstDifference {
  /** Bytes of the unpacked archives that are the same. */
  readonly offset: number;
  /** `header` where an entry begins in another way, or one of the archives ends; `contents` where two entries hold other bytes. */
  readonly where: "header" | "contents";
  /** The entry it is in, by its name in each archive; null where that archive has no more entries. */
  readonly before: string | null;
  readonly after: string | null;
  /** What the headers of these entries say differently; empty where they only say it in another form. */
  readonly fields: readonly HeaderField[];
}

/** A field that two headers of one entry have with other values. */
export interface HeaderField {
  /** `target` is what a symlink or hard link leads to. */
  readonly field: "name" | "type" | "mode" | "uid" | "gid" | "uname" | "gname" | "size" | "mtime" | "target";
  /** Its value in the first layer, as text: modes in octal, times in seconds since 1970. */
  readonly before: string;
  /** Its value in the second layer. */
  readonly after: string;
}

/**
 * Reads two layers side by side up to the first byte in which their unpacked archives differ.
 * @returns undefined where they are the same
 * @throws OciNixError as {@link writeUnpacked}
 */
export async function firstDifference(
  a: StoredLayer,
  b: StoredLayer,
  signal: AbortSignal | undefined,
): Promise<FirstDifference | undefined> {
  const comparison = new Comparison();
  const [before, after] = [new Side(comparison, a.blob.title), new Side(comparison, b.blob.title)];
  comparison.sides = [before, after];
  const read = async (layer: StoredLayer, side: Side): Promise<void> => {
    try {
      await writeUnpacked(layer, side, { signal });
      side.end();
    } catch (error) {
      if (error instanceof Enough) return;
      // The other side is not to wait for this one.
      comparison.isOver = true;
      comparison.step();
      throw error;
    }
  };
  const results = await Promise.allSettled([read(a, before), read(b, after)]);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  if (comparison.differsAt === undefined) return undefined;
  const isInside = before.isInside && after.isInside;
  return {
    offset: comparison.differsAt,
    where: isInside ? "contents" : "header",
    before: before.entry === undefined ? null : shownName(before.entry.name),
    after: after.entry === undefined ? null : shownName(after.entry.name),
    fields:
      isInside || before.entry === undefined || after.entry === undefined ? [] : fieldsOf(before.entry, after.entry),
  };
}

function fieldsOf(a: TarEntry, b: TarEntry): readonly HeaderField[] {
  const [before, after] = [textsOf(a), textsOf(b)];
  return HEADER_FIELDS.filter((field) => before[field] !== after[field]).map((field) => ({
    field,
    before: before[field],
    after: after[field],
  }));
}

const HEADER_FIELDS = ["name", "type", "mode", "uid", "gid", "uname", "gname", "size", "mtime", "target"] as const;

function textsOf(entry: TarEntry): Readonly<Record<HeaderField["field"], string>> {
  const { type, mode, uid, gid, uname, gname, size, mtime, name, linkName } = entry;
  return {
    name: shownName(name),
    type,
    mode: mode.toString(8).padStart(4, "0"),
    uid: String(uid),
    gid: String(gid),
    uname: displayBytes(uname),
    gname: displayBytes(gname),
    size: String(size),
    mtime: String(mtime),
    target: shownName(linkName),
  };
}

/** All is known: nothing more need be read. */
class Enough extends Error {}

/** Two streams that wait for each other, so that neither is ever held. */
class Comparison {
  sides: readonly [Side, Side] | undefined;
  /** Bytes that are the same. */
  #same = 0;
  differsAt: number | undefined;
  /** Nobody compares any more. */
  isOver = false;

  /** Compares what both sides have, as often as there is something. */
  step(): void {
    const [a, b] = this.sides as readonly [Side, Side];
    while (!this.isOver && this.differsAt === undefined) {
      const count = Math.min(a.waiting.length, b.waiting.length);
      if (count === 0) {
        const isLonger = (a.waiting.length > 0 && b.hasEnded) || (b.waiting.length > 0 && a.hasEnded);
        if (isLonger) this.differsAt = this.#same;
        break;
      }
      const same = commonStart(a.waiting.subarray(0, count), b.waiting.subarray(0, count));
      a.pass(same);
      b.pass(same);
      this.#same += same;
      if (same < count) this.differsAt = this.#same;
    }
    for (const side of [a, b])
      if (this.isOver || this.differsAt !== undefined || side.waiting.length === 0) side.goOn();
  }
}

/** Where bytes first differ, or their length. */
function commonStart(a: Buffer, b: Buffer): number {
  if (a.equals(b)) return a.length;
  let low = 0;
  for (let high = a.length; high - low > 1; ) {
    const middle = (low + high) >>> 1;
    if (a.subarray(low, middle).equals(b.subarray(low, middle))) low = middle;
    else high = middle;
  }
  return low;
}

/** One of the streams, and the entry that it is at. */
class Side implements ByteSink {
  waiting: Buffer = Buffer.alloc(0);
  hasEnded = false;
  /** The entry that the first difference is in, or that begins there; undefined where the archive ends. */
  entry: TarEntry | undefined;
  /** Whether the difference is in the contents of {@link entry}. */
  isInside = false;
  #next: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  /** The difference is found, and what follows is only read up to the entry that it is in. */
  #isSearching = false;
  readonly #comparison: Comparison;
  readonly #tar: TarEntries;

  constructor(comparison: Comparison, title: string) {
    this.#comparison = comparison;
    const open = (entry: TarEntry) => {
      if (!this.#isSearching || this.entry === undefined) this.entry = entry;
      return false;
    };
    const close = () => {
      if (!this.#isSearching) this.entry = undefined;
    };
    this.#tar = new TarEntries({ open, close }, title);
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      this.#next = { resolve, reject };
      this.#comparison.step();
    });
  }

  /** Takes bytes that both sides have. */
  pass(count: number): void {
    this.#tar.write(this.waiting.subarray(0, count));
    this.waiting = this.waiting.subarray(count);
  }

  end(): void {
    this.hasEnded = true;
    this.#comparison.step();
  }

  /** Lets the stream bring its next bytes, or ends it. */
  goOn(): void {
    const next = this.#next;
    if (next === undefined) return;
    this.#next = undefined;
    const { isOver, differsAt } = this.#comparison;
    if (!isOver && differsAt !== undefined) {
      this.#search();
      this.waiting = Buffer.alloc(0);
    }
    if (isOver || (differsAt !== undefined && this.entry !== undefined)) next.reject(new Enough());
    else next.resolve();
  }

  #search(): void {
    if (!this.#isSearching) this.isInside = this.entry !== undefined;
    this.#isSearching = true;
    if (this.entry === undefined) this.#tar.write(this.waiting);
  }
}
