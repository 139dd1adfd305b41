/** One member of a cpio archive; its owner is root. */
export interface CpioMember {
  /** Relative; a directory stands before what is in it. */
  readonly path: string;
  /** st_mode with the type. */
  readonly mode: number;
  readonly contents?: Uint8Array | undefined;
  /** Of a device. */
  readonly device?: { readonly major: number; readonly minor: number } | undefined;
}

export const DIRECTORY = 0o040755;
export const PROGRAM = 0o100755;
export const FILE = 0o100644;
export const CHARACTER_DEVICE = 0o020600;

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
const ALIGNMENT = 4;

/** An archive in the `newc` format that Linux unpacks at its start. The bytes follow from the members alone. */
export function cpioArchive(members: readonly CpioMember[]): Buffer {
  const pieces = members.flatMap((member, index) => memberPieces(member, index + 1));
  return Buffer.concat([...pieces, ...memberPieces({ path: TRAILER, mode: 0 }, 0)]);
}

function memberPieces({ path, mode, contents = new Uint8Array(), device }: CpioMember, inode: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const links = mode === DIRECTORY ? 2 : 1;
  const [uid, gid, time, checksum] = [0, 0, 0, 0];
  const size = contents.length;
  const own = [0, 0];
  const special = [device?.major ?? 0, device?.minor ?? 0];
  const fields = [inode, mode, uid, gid, links, time, size, ...own, ...special, name.length, checksum];
  const header = Buffer.from(MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join(""));
  return [header, name, padding(header.length + name.length), contents, padding(size)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);
}
