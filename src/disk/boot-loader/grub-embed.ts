import { OciNixError } from "../../core/errors.js";
import { writeBootCode } from "./boot-code.js";

const SECTOR = 512;
/** Code of an MBR; what follows is the disk's identifier and its table. */
const CODE_LENGTH = 440;
/** Fields of boot.img: the core's first sector (64 bits), and a jump that is for floppy disks. */
const CORE_SECTOR_AT = 0x5c;
const DRIVE_CHECK_AT = 0x66;
/** In the core's first sector: where the rest of it is (64 bits of sector, 16 of count, 16 of memory segment). */
const BLOCK_LIST_AT = SECTOR - 12;
const LOAD_SEGMENT = 0x820;

/** Room for a core outside of file systems, in bytes. */
export interface CorePlace {
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

/** GRUB for BIOS, ready to be written into a disk. */
export interface GrubBootCode {
  readonly code: Buffer;
  readonly core: Buffer;
  readonly place: CorePlace;
}

/**
 * Links boot.img, which a BIOS starts, with the core image that it loads from a place on the same disk.
 * @throws OciNixError `invalid-input` for files that are not GRUB 2's, `limit` for a core that is larger than its place
 */
export function linkGrub(bootImage: Buffer, coreImage: Buffer, place: CorePlace): GrubBootCode {
  const sectors = Math.ceil(coreImage.length / SECTOR);
  const isBootImage = bootImage.length === SECTOR && bootImage.readUInt16LE(SECTOR - 2) === 0xaa55;
  const isCore =
    coreImage.length > SECTOR &&
    coreImage.readUInt16LE(BLOCK_LIST_AT + 8) === sectors - 1 &&
    coreImage.readUInt16LE(BLOCK_LIST_AT + 10) === LOAD_SEGMENT;
  if (!isBootImage || !isCore) {
    const what = isBootImage ? "grub-mkimage's core image" : "boot.img";
    throw new OciNixError("invalid-input", `${what} is not of GRUB 2`, { hint: "2.06 and 2.12 are known to work" });
  }
  if (sectors * SECTOR > place.size) {
    throw new OciNixError("limit", `GRUB has ${sectors * SECTOR} bytes, but ${place.name} has room for ${place.size}`, {
      hint: "let the first partition begin later, at 1 MiB, or make the partition larger",
    });
  }
  const first = BigInt(place.start / SECTOR);
  const code = Buffer.from(bootImage.subarray(0, CODE_LENGTH));
  code.writeBigUInt64LE(first, CORE_SECTOR_AT);
  // Trust the drive number that the BIOS gives: on hard disks it is checked by two bytes of no operation.
  code.fill(0x90, DRIVE_CHECK_AT, DRIVE_CHECK_AT + 2);
  const core = Buffer.alloc(sectors * SECTOR);
  coreImage.copy(core);
  core.writeBigUInt64LE(first + 1n, BLOCK_LIST_AT);
  return { code, core, place };
}

/** Writes the code into the disk image, which has its partition table already. */
export function embedGrub(file: string, { code, core, place }: GrubBootCode): void {
  writeBootCode(file, [
    { position: place.start, bytes: core },
    { position: 0, bytes: code },
  ]);
}
