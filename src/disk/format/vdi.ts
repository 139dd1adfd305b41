import { type GiveIdentity, readBytes, unknownForm, uuid, writeBytes } from "./identity.js";

const SIGNATURE_AT = 64;
const SIGNATURE = 0xbeda107f;
const IMAGE_UUID_AT = 392;
const SNAPSHOT_UUID_AT = 408;

/** VirtualBox does not open two images of one UUID at a time. */
export const identifyVdi: GiveIdentity = (image, seed) => {
  if (readBytes(image, SIGNATURE_AT, 4).readUInt32LE() !== SIGNATURE) throw unknownForm("there is no VDI header");
  writeBytes(image, IMAGE_UUID_AT, uuid(seed, "vdi image", "mixed"));
  writeBytes(image, SNAPSHOT_UUID_AT, uuid(seed, "vdi snapshot", "mixed"));
};
