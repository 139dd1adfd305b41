import { type ByteString, displayBytes } from "../../../core/byte-string.js";
import { OciNixError } from "../../../core/errors.js";
import type { GeneratedObject, SpecialFile } from "../../../core/generated-object.js";
import type { Ownership } from "../../../core/ownership.js";
import { type FakedFile, fileKey, type RecordedFile } from "./fakeroot-record.js";
import type { Listed, Said } from "./joined-root.js";

/** Bits of st_mode that say what a file is. */
const TYPE_BITS = 0o170000;
const CHARACTER = 0o020000;
const BLOCK = 0o060000;
const FIFO = 0o010000;

/** The owner of everything after `extraCommands`: whom the spec says of a path, as long as the commands left it what it was. */
export function settled(
  listed: readonly Listed[],
  said: ReadonlyMap<ByteString, Said>,
  owner: Ownership,
): readonly Settled[] {
  return listed.map((object) => {
    const { path, stat } = object;
    const before = said.get(path);
    const type = stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "file";
    return before?.type === type ? { ...object, owner: before.owner } : { ...object, owner };
  });
}

/** With what the image is to have. */
export interface Settled extends Listed {
  readonly owner: Ownership;
}

/** What fakeroot is to know of it before it runs anything. */
export function recordOf(objects: readonly Settled[]): readonly RecordedFile[] {
  const files = new Map<string, RecordedFile>();
  for (const { stat, mode, owner } of objects) {
    const { dev, ino } = stat;
    const key = fileKey(stat);
    const known = files.get(key);
    // Of several names of a file the first one decides.
    if (known !== undefined) continue;
    files.set(key, { dev, ino, mode: Number(stat.mode & BigInt(TYPE_BITS)) | mode, uid: owner.uid, gid: owner.gid });
  }
  return [...files.values()];
}

/** Mode, owner and type of everything as programs under fakeroot saw it. What it knows nothing of belongs to root. */
export function faked(
  listed: readonly Listed[],
  record: ReadonlyMap<string, FakedFile>,
  said: ReadonlyMap<ByteString, Said>,
): readonly (Settled & { readonly faked: FakedFile | undefined })[] {
  return listed.map((object) => {
    const { path, stat } = object;
    const found = record.get(fileKey(stat));
    const { uid, gid } = found ?? { uid: 0, gid: 0 };
    const before = said.get(path)?.owner;
    const owner =
      before?.uid === uid && before.gid === gid ? before : { uid, gid, uname: nameOf(uid), gname: nameOf(gid) };
    const mode = found === undefined ? object.mode : modeOf(object, found);
    return { ...object, owner, mode, faked: found };
  });
}

/** Whatever else they are called is another's business. */
function nameOf(id: number): string {
  return id === 0 ? "root" : "";
}

/**
 * fakeroot really gives files the permissions that it records, and those that their owner needs. Where that is not so, a program changed them that
 * fakeroot could not see.
 */
function modeOf({ stat, mode }: Listed, { mode: recorded }: FakedFile): number {
  const lent = stat.isDirectory() ? 0o700 : 0o600;
  const isReal = !(stat.isDirectory() || stat.isFile()) || isSpecial(recorded);
  const agrees = [recorded, recorded | lent].some((each) => (each & 0o777) === (mode & 0o777));
  return isReal || agrees ? recorded & 0o7777 : mode;
}

function isSpecial(mode: number): boolean {
  return [CHARACTER, BLOCK, FIFO].includes(mode & TYPE_BITS);
}

/**
 * What commands left as objects for a layer.
 * @param options.left paths that are only there to mount something on, where nothing is in them
 * @throws OciNixError `invalid-input` for something in the store; `unsupported` for a socket, or a name that a layer cannot hold
 */
export function objectsOf(
  found: readonly (Settled & { readonly faked?: FakedFile | undefined })[],
  options: { readonly root: ByteString; readonly storeDir: ByteString; readonly left: ReadonlySet<ByteString> },
): readonly (GeneratedObject | SpecialFile)[] {
  const { root, storeDir, left } = options;
  // From below, so that what holds nothing but such places is left out, too.
  const kept: Settled[] = [];
  const needed = new Set<ByteString>();
  for (const object of [...found].reverse()) {
    const { path } = object;
    if ((left.has(path) || path === storeDir) && !needed.has(path) && object.stat.isDirectory()) continue;
    if (path.startsWith(`${storeDir}/`)) throw inStore(path);
    needed.add(path.slice(0, path.lastIndexOf("/")));
    kept.push(object);
  }
  return kept.reverse().map((object) => objectOf(object, root));
}

function objectOf(
  { path, mode, owner, stat, linkTarget, faked: recorded }: Settled & { readonly faked?: FakedFile | undefined },
  root: ByteString,
): GeneratedObject | SpecialFile {
  if (path.slice(path.lastIndexOf("/") + 1).startsWith(".wh.")) {
    throw new OciNixError(
      "unsupported",
      `the commands made ${displayBytes(path)}: in a layer, .wh. before a name deletes it`,
      {
        hint: "rename it, or remove it",
      },
    );
  }
  const common = { path, mode, owner, source: SOURCE };
  if (stat.isDirectory()) return { ...common, type: "directory" };
  if (stat.isSymbolicLink()) return { ...common, mode: 0o777, type: "symlink", linkTarget };
  const kind = (recorded?.mode ?? 0) & TYPE_BITS;
  if (recorded !== undefined && kind === CHARACTER) return { ...common, type: "character", device: recorded.device };
  if (recorded !== undefined && kind === BLOCK) return { ...common, type: "block", device: recorded.device };
  if (stat.isFIFO() || kind === FIFO) return { ...common, type: "fifo" };
  if (stat.isFile()) return { ...common, type: "file", copyOf: root + path, size: Number(stat.size) };
  throw new OciNixError(
    "unsupported",
    `the commands made ${displayBytes(path)}, a ${stat.isSocket() ? "socket" : "device"}`,
    {
      hint: "a layer cannot hold it: remove it",
    },
  );
}

/** What errors call where such an object comes from. */
const SOURCE = "the commands";

function inStore(path: ByteString): OciNixError {
  return new OciNixError(
    "invalid-input",
    `the commands made ${displayBytes(path)}, in the store, which holds store paths only`,
    {
      hint: "put it elsewhere; what is to be in the store is built by Nix and given as a root",
    },
  );
}
