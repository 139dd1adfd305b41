import type { ByteString } from "../../core/byte-string.js";

interface AclEntry {
  readonly tag: number;
  /** Three bits, as in a mode. */
  readonly permissions: number;
  /** Of the user or group, where the tag is about one by number. */
  readonly id: number;
}

export type Acl = readonly AclEntry[];

const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;

const OWNER = 1;
const USER = 2;
const OWNING_GROUP = 4;
const GROUP = 8;
const MASK = 16;
const OTHER = 32;

/** One letter a tag, so that an order can be said. */
const LETTERS: ReadonlyMap<number, string> = new Map([
  [OWNER, "U"],
  [USER, "u"],
  [OWNING_GROUP, "G"],
  [GROUP, "g"],
  [MASK, "m"],
  [OTHER, "O"],
]);
/** What Linux takes: by tag, and with a mask where users or groups are named. */
const ORDER = /^U(?:u*Gg*m|G)O$/;
const NOBODY = 2 ** 32 - 1;

/** An ACL as extended attributes hold it; empty where it says nothing, undefined where Linux would not take it. */
export function parseAcl(value: ByteString): Acl | undefined {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < HEADER || bytes.readUInt32LE(0) !== VERSION || bytes.length % ENTRY !== HEADER) return undefined;
  const acl = Array.from({ length: Math.floor(bytes.length / ENTRY) }, (_, i) => {
    const at = HEADER + i * ENTRY;
    return { tag: bytes.readUInt16LE(at), permissions: bytes.readUInt16LE(at + 2), id: bytes.readUInt32LE(at + 4) };
  });
  const order = acl.map(({ tag }) => LETTERS.get(tag) ?? "?").join("");
  const isSound = acl.every((entry) => entry.permissions <= 7 && !(hasId(entry) && entry.id === NOBODY));
  return isSound && (order === "" || ORDER.test(order)) ? acl : undefined;
}

/** Whether an ACL of a file says no more than its mode: Linux keeps none then. */
export function isPlain(acl: Acl): boolean {
  return acl.every(({ tag }) => tag === OWNER || tag === OWNING_GROUP || tag === OTHER);
}

/** An ACL of a file whose mode was set after it, as chmod would leave it. */
export function withMode(acl: Acl, mode: number): Acl {
  const group = isPlain(acl) ? OWNING_GROUP : MASK;
  const shifts = new Map([
    [OWNER, 6],
    [group, 3],
    [OTHER, 0],
  ]);
  return acl.map((entry) => {
    const shift = shifts.get(entry.tag);
    return shift === undefined ? entry : { ...entry, permissions: (mode >> shift) & 7 };
  });
}

/** In ext4's own form, which has numbers only where there are any. */
export function encodeAcl(acl: Acl): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(1);
  return Buffer.concat([
    header,
    ...acl.map((entry) => {
      const bytes = Buffer.alloc(hasId(entry) ? 8 : 4);
      bytes.writeUInt16LE(entry.tag, 0);
      bytes.writeUInt16LE(entry.permissions, 2);
      if (hasId(entry)) bytes.writeUInt32LE(entry.id, 4);
      return bytes;
    }),
  ]);
}

function hasId({ tag }: AclEntry): boolean {
  return tag === USER || tag === GROUP;
}
