import { BLOCK, MAX_OCTAL_11, putHeader, TYPE_FILE } from "./header.js";

/**
 * The header of a file in an archive that holds an image (not of a file in a layer): one block whatever the size, so that it can be written
 * before the size is known and again afterwards. Sizes from 8 GiB on are in base 256, as GNU tar writes them and every reader takes them.
 * @param name ASCII, at most 100 characters
 */
export function memberHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const isLarge = size > MAX_OCTAL_11;
  putHeader(header, 0, {
    name,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: isLarge ? 0 : size,
    mtime: 1,
    type: TYPE_FILE,
    linkName: "",
    uname: "",
    gname: "",
    device: "0000000",
    prefix: "",
  });
  if (isLarge) putBase256(header, size);
  return header;
}

const SIZE = 124;
const CHECKSUM = 148;

function putBase256(header: Buffer, size: number): void {
  header.fill(0, SIZE, SIZE + 12);
  header.writeBigUInt64BE(BigInt(size), SIZE + 4);
  header[SIZE] = 0x80;
  header.fill(" ", CHECKSUM, CHECKSUM + 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, CHECKSUM, "latin1");
}
