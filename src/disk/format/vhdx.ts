import { crc32c } from "../crc32c.js";
import { type ConvertedImage, type GiveIdentity, readBytes, unknownForm, uuid, writeBytes } from "./identity.js";

const KIB = 1024;
const CREATOR = { at: 8, size: 512 } as const;
/** The one with the higher sequence number is in force. */
const HEADERS = [
  { at: 64 * KIB, sequence: 1n },
  { at: 128 * KIB, sequence: 2n },
] as const;
const HEADER_SIZE = 4 * KIB;
const REGION_TABLE = { at: 192 * KIB, size: 64 * KIB } as const;
const ENTRY = 32;
const METADATA_REGION = "06a27c8b90479a4bb8fe575f050f886e";
const DISK_ID_ITEM = "ab12cabee6b2234593efc309e000c746";
const LARGEST_LOG = 64 * KIB * KIB;

/** GUIDs of file, data and disk, sequence numbers of the headers, and the log, which qemu-img leaves behind although nothing of it is in force. */
export const identifyVhdx: GiveIdentity = (image, seed) => {
  if (readBytes(image, 0, 8).toString("latin1") !== "vhdxfile") throw unknownForm("there is no VHDX header");
  const creator = Buffer.alloc(CREATOR.size);
  // Says the version of QEMU otherwise.
  creator.write("oci-nix", "utf16le");
  writeBytes(image, CREATOR.at, creator);
  for (const header of HEADERS) identifyHeader(image, header, seed);
  const metadata = findEntry(readBytes(image, REGION_TABLE.at, REGION_TABLE.size), "regi", METADATA_REGION);
  const at = Number(metadata.readBigUInt64LE(16));
  const item = findEntry(readBytes(image, at, 64 * KIB), "metadata", DISK_ID_ITEM);
  writeBytes(image, at + item.readUInt32LE(16), uuid(seed, "vhdx disk", "mixed"));
};

function identifyHeader(image: ConvertedImage, { at, sequence }: (typeof HEADERS)[number], seed: Uint8Array): void {
  const header = readBytes(image, at, HEADER_SIZE);
  const log = { guid: header.subarray(48, 64), size: header.readUInt32LE(68), at: Number(header.readBigUInt64LE(72)) };
  if (header.toString("latin1", 0, 4) !== "head" || log.guid.some((byte) => byte !== 0) || log.size > LARGEST_LOG) {
    throw unknownForm(`there is no VHDX header with an empty log at ${at}`);
  }
  header.writeBigUInt64LE(sequence, 8);
  header.set(uuid(seed, "vhdx file", "mixed"), 16);
  header.set(uuid(seed, "vhdx data", "mixed"), 32);
  header.writeUInt32LE(0, 4);
  header.writeUInt32LE(~crc32c(0xffffffff, header) >>> 0, 4);
  writeBytes(image, at, header);
  writeBytes(image, log.at, Buffer.alloc(log.size));
}

/** The entry of a table of regions or of metadata with this GUID, as it is in the file. */
function findEntry(table: Buffer, signature: "regi" | "metadata", guid: string): Buffer {
  const isRegions = signature === "regi";
  const count = isRegions ? table.readUInt32LE(8) : table.readUInt16LE(10);
  const first = isRegions ? 16 : ENTRY;
  if (table.toString("latin1", 0, signature.length) === signature) {
    for (let at = first; at < first + count * ENTRY && at + ENTRY <= table.length; at += ENTRY) {
      const entry = table.subarray(at, at + ENTRY);
      if (entry.toString("hex", 0, 16) === guid) return entry;
    }
  }
  throw unknownForm(`its VHDX table ${signature} is another`);
}
