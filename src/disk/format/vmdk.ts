import { type GiveIdentity, readBytes, unknownForm, uuid, writeBytes } from "./identity.js";

const SECTOR = 512;
const DESCRIPTOR_AT = 28;
const DESCRIPTOR_SECTORS_AT = 36;
const LONGEST_DESCRIPTOR = 1024 * 1024;

/** Its text says a content id, and the name that the file had when it was written; readers of a file in one piece pass over that. */
export const identifyVmdk: GiveIdentity = (image, seed) => {
  const header = readBytes(image, 0, SECTOR);
  const at = Number(header.readBigUInt64LE(DESCRIPTOR_AT)) * SECTOR;
  const size = Number(header.readBigUInt64LE(DESCRIPTOR_SECTORS_AT)) * SECTOR;
  if (header.toString("latin1", 0, 4) !== "KDMV" || at === 0 || size > LONGEST_DESCRIPTOR) {
    throw unknownForm("there is no VMDK header with a descriptor");
  }
  const text = readBytes(image, at, size).toString("latin1").replace(/\0+$/, "");
  // fffffffe and ffffffff are no ids.
  const id = uuid(seed, "vmdk", "big-endian").readUInt32BE() & 0x7fffffff;
  const changed = text
    .replace(/^CID=[0-9a-f]+$/m, `CID=${id.toString(16).padStart(8, "0")}`)
    .replace(/^(RW \d+ SPARSE) "[^"\n]*"$/m, '$1 "disk.vmdk"');
  if (!changed.includes('SPARSE "disk.vmdk"') || !/^CID=[0-9a-f]{8}$/m.test(changed) || changed.length > size) {
    throw unknownForm("its VMDK descriptor is another");
  }
  const bytes = Buffer.alloc(size);
  bytes.write(changed, "latin1");
  writeBytes(image, at, bytes);
};
