import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { EntryType, Xattrs } from "../../tar/entry-list.js";
import { crc32c } from "../crc32c.js";
import { encodeAcl, isPlain, parseAcl, withMode } from "./acl.js";
import { BLOCK } from "./block-file.js";

const MAGIC = 0xea020000;
/** Bytes of an inode behind its fields. */
const IN_INODE = 96;
const INODE_HEADER = 4;
const BLOCK_HEADER = 32;
const CHECKSUM = 16;
/** Of an attribute, without its name and value. */
const FIXED = 16;
/** Zeros after the last one. */
const END = 4;
const INODE_ROOM = IN_INODE - INODE_HEADER - END;
const BLOCK_ROOM = BLOCK - BLOCK_HEADER - END;
/** Linux has no longer ones. */
const LONGEST_NAME = 255;

const ACCESS_ACL = "system.posix_acl_access";
const DEFAULT_ACL = "system.posix_acl_default";
/** What names begin with, and the numbers that stand for it. */
const PREFIXES: readonly (readonly [prefix: string, index: number])[] = [
  ["user.", 1],
  ["trusted.", 4],
  ["security.", 6],
];
/** Names that are numbers as a whole. */
const WHOLE: ReadonlyMap<ByteString, number> = new Map([
  [ACCESS_ACL, 2],
  [DEFAULT_ACL, 3],
]);

/** Extended attributes as they are stored. */
export interface StoredXattrs {
  /** What follows the fields of the inode. */
  readonly inode: Buffer;
  /** A block for those that do not fit there, but for its checksum; undefined where all do. */
  readonly block: Buffer | undefined;
}

interface Attribute {
  readonly name: ByteString;
  /** What stands for the begin of the name, and the rest of it. */
  readonly index: number;
  readonly rest: ByteString;
  readonly value: Buffer;
  /** Bytes that it takes. */
  readonly size: number;
}

/** What has attributes. */
interface Owner {
  readonly path: ByteString;
  readonly type: EntryType;
  readonly mode: number;
  readonly xattrs?: Xattrs | undefined;
}

/** Whether ext4 as Linux reads it has attributes whose names begin like this one. */
export function isKnownXattr(name: ByteString): boolean {
  return WHOLE.has(name) || PREFIXES.some(([prefix]) => name.startsWith(prefix));
}

/**
 * Extended attributes as the kernel would store them: in the inode as far as there is room, the largest first, the others in one block.
 * @returns undefined where there are none
 * @throws OciNixError `invalid-input` for what Linux refuses; `unsupported` where there is too little room
 */
export function storeXattrs(owner: Owner): StoredXattrs | undefined {
  const { xattrs } = owner;
  if (xattrs === undefined) return undefined;
  const attributes = attributesOf(owner, xattrs);
  if (attributes.length === 0) return undefined;
  const inInode = new Set<Attribute>();
  let room = INODE_ROOM;
  // A stable sort: of the same size, those that are stored first come first.
  for (const attribute of [...attributes].sort((a, b) => b.size - a.size)) {
    if (attribute.size > room) continue;
    inInode.add(attribute);
    room -= attribute.size;
  }
  const others = attributes.filter((attribute) => !inInode.has(attribute));
  checkBlockRoom(owner, others);
  const inode = Buffer.alloc(IN_INODE);
  if (inInode.size > 0) {
    inode.writeUInt32LE(MAGIC, 0);
    writeAttributes(
      inode,
      INODE_HEADER,
      INODE_HEADER,
      [...attributes].filter((each) => inInode.has(each)),
    );
  }
  return { inode, block: others.length === 0 ? undefined : blockOf(others) };
}

/** Sets the checksum of a block of attributes, which depends on where it is. @param seed the file system's */
export function sealXattrBlock(bytes: Buffer, block: number, seed: number): Buffer {
  const number = Buffer.alloc(8);
  number.writeBigUInt64LE(BigInt(block));
  bytes.writeUInt32LE(0, CHECKSUM);
  bytes.writeUInt32LE(crc32c(crc32c(seed, number), bytes), CHECKSUM);
  return bytes;
}

/** Sorted as the kernel looks for them. */
function attributesOf(owner: Owner, xattrs: Xattrs): readonly Attribute[] {
  const attributes: Attribute[] = [];
  for (const [name, text] of xattrs) {
    const { index, rest } = nameOf(owner, name);
    const value = WHOLE.has(name) ? aclOf(owner, name, text) : Buffer.from(text, "latin1");
    if (value === undefined) continue;
    attributes.push({ name, index, rest, value, size: FIXED + padded(rest.length) + padded(value.length) });
  }
  return attributes.sort(
    (a, b) => a.index - b.index || a.rest.length - b.rest.length || compareStrings(a.rest, b.rest),
  );
}

function nameOf(owner: Owner, name: ByteString): Pick<Attribute, "index" | "rest"> {
  const whole = WHOLE.get(name);
  if (whole !== undefined) return { index: whole, rest: "" };
  const [prefix, index] = PREFIXES.find(([each]) => name.startsWith(each)) ?? ["", 0];
  const rest = name.slice(prefix.length);
  if (index === 0 || rest === "" || rest.includes("\0") || name.length > LONGEST_NAME) {
    throw refused(owner, name, "Linux has no such name");
  }
  if (prefix === "user." && owner.type !== "file" && owner.type !== "directory") {
    throw refused(owner, name, "Linux has such ones of files and directories alone");
  }
  return { index, rest };
}

/** Undefined where Linux would keep none. */
function aclOf(owner: Owner, name: ByteString, value: ByteString): Buffer | undefined {
  if (owner.type === "symlink" || (name === DEFAULT_ACL && owner.type !== "directory")) {
    throw refused(owner, name, `Linux has none of a ${owner.type}`);
  }
  const acl = parseAcl(value);
  if (acl === undefined) throw refused(owner, name, "it is no well-formed ACL");
  if (acl.length === 0 || (name === ACCESS_ACL && isPlain(acl))) return undefined;
  return encodeAcl(name === ACCESS_ACL ? withMode(acl, owner.mode) : acl);
}

function checkBlockRoom({ path }: Owner, attributes: readonly Attribute[]): void {
  const size = attributes.reduce((sum, each) => sum + each.size, 0);
  if (size <= BLOCK_ROOM) return;
  const [{ name, value }] = [...attributes].sort((a, b) => b.size - a.size) as [Attribute];
  const among =
    attributes.length === 1
      ? "the"
      : `${attributes.length} extended attributes that its inode has no room for, the largest`;
  throw new OciNixError(
    "unsupported",
    `/${displayBytes(path)} has ${among} extended attribute ${displayBytes(name)} of ${value.length} bytes, which take ${size} in all, and ext4 has room for ${BLOCK_ROOM}`,
    { hint: "make the image without it" },
  );
}

function blockOf(attributes: readonly Attribute[]): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.writeUInt32LE(MAGIC, 0);
  // References to it, blocks of it.
  block.writeUInt32LE(1, 4);
  block.writeUInt32LE(1, 8);
  const hashes = writeAttributes(block, BLOCK_HEADER, 0, attributes, hashOf);
  block.writeUInt32LE(hashes.includes(0) ? 0 : hashes.reduce((hash, each) => mix(hash, each, 16), 0), 12);
  return block;
}

/**
 * Writes names from `at` on, and values from the end on.
 * @param base what places of values are counted from
 * @param hash of each; in an inode there is none
 * @returns the hashes, in order
 */
function writeAttributes(
  bytes: Buffer,
  from: number,
  base: number,
  attributes: readonly Attribute[],
  hash: (attribute: Attribute) => number = () => 0,
): readonly number[] {
  let at = from;
  let end = bytes.length;
  return attributes.map((attribute) => {
    const { index, rest, value } = attribute;
    const hashed = hash(attribute);
    bytes[at] = rest.length;
    bytes[at + 1] = index;
    if (value.length > 0) {
      end -= padded(value.length);
      bytes.set(value, end);
      bytes.writeUInt16LE(end - base, at + 2);
    }
    bytes.writeUInt32LE(value.length, at + 8);
    bytes.writeUInt32LE(hashed, at + 12);
    bytes.write(rest, at + FIXED, "latin1");
    at += FIXED + padded(rest.length);
    return hashed;
  });
}

/** Of the name without its begin, byte by byte, and of the value, by four bytes. */
function hashOf({ rest, value }: Attribute): number {
  let hash = 0;
  for (let i = 0; i < rest.length; i++) hash = mix(hash, rest.charCodeAt(i), 5);
  const words = Buffer.alloc(padded(value.length));
  words.set(value);
  for (let at = 0; at < words.length; at += 4) hash = mix(hash, words.readUInt32LE(at), 16);
  return hash;
}

function mix(hash: number, value: number, shift: number): number {
  return ((hash << shift) ^ (hash >>> (32 - shift)) ^ value) >>> 0;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function refused({ path }: Owner, name: ByteString, why: string): OciNixError {
  return new OciNixError(
    "invalid-input",
    `/${displayBytes(path)} cannot be in a file system: of its extended attribute ${displayBytes(name)}: ${why}`,
  );
}
