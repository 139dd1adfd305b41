import { type GiveIdentity, readBytes, unknownForm, uuid, writeBytes } from "./identity.js";

const FOOTER = 512;
const TIME_AT = 24;
const CHECKSUM_AT = 64;
const UUID_AT = 68;

/** A dynamic VHD has its footer at both ends. The time is in seconds since 2000. */
export const identifyVpc: GiveIdentity = (image, seed) => {
  for (const at of [0, image.size - FOOTER]) {
    const footer = readBytes(image, at, FOOTER);
    if (footer.toString("latin1", 0, 8) !== "conectix") throw unknownForm(`there is no VHD footer at ${at}`);
    footer.writeUInt32BE(0, TIME_AT);
    footer.set(uuid(seed, "vhd", "big-endian"), UUID_AT);
    footer.writeUInt32BE(0, CHECKSUM_AT);
    const sum = footer.reduce((total, byte) => total + byte, 0);
    footer.writeUInt32BE(~sum >>> 0, CHECKSUM_AT);
    writeBytes(image, at, footer);
  }
};
