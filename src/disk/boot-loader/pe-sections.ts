import { OciNixError } from "../../core/errors.js";

/** A section to be added; its name has at most 8 bytes. */
export interface PeSection {
  readonly name: string;
  readonly size: number;
}

/** Where things are in a PE file, from the COFF header on (PE format, "COFF File Header", "Optional Header", "Section Table"). */
const COFF_LENGTH = 24;
const SECTION_HEADER_LENGTH = 40;
/** Initialised data that is read. */
const READ_ONLY_DATA = 0x40000040;
const PAGE = 4096;

export interface ExtendedPe {
  /** The stub with its new headers, up to where the first added section's bytes begin. */
  readonly head: Buffer;
  /** Where each of the added sections' bytes begin, in bytes of the file, in the order given. */
  readonly offsets: readonly number[];
  readonly fileSize: number;
}

/**
 * Adds sections at the end of a PE file for x86-64, in memory and in the file.
 * @param file its name, for messages
 * @throws OciNixError `invalid-input` for another kind of file, `unsupported` for a signed one or one whose headers have no room, `limit`
 */
export function addPeSections(stub: Buffer, sections: readonly PeSection[], file: string): ExtendedPe {
  const pe = stub.length >= 0x40 ? stub.readUInt32LE(0x3c) : stub.length;
  const optional = pe + COFF_LENGTH;
  // The longest field of the optional header that is used below ends at 112 + 8 × 5.
  const isPe =
    stub.length >= optional + 152 &&
    stub.toString("latin1", pe, pe + 4) === "PE\0\0" &&
    stub.readUInt16LE(pe + 4) === 0x8664;
  if (!isPe || stub.readUInt16LE(optional) !== 0x20b) {
    throw new OciNixError("invalid-input", `${file} is no UEFI program for x86-64`);
  }
  if (stub.readUInt32LE(optional + 112 + 8 * 4) !== 0) {
    throw new OciNixError("unsupported", `${file} is signed: its signature would not hold with a kernel in it`);
  }
  const count = stub.readUInt16LE(pe + 6);
  const table = optional + stub.readUInt16LE(pe + 20);
  const tableEnd = table + count * SECTION_HEADER_LENGTH;
  const headersSize = stub.readUInt32LE(optional + 60);
  if (tableEnd + sections.length * SECTION_HEADER_LENGTH > Math.min(headersSize, stub.length)) {
    throw new OciNixError("unsupported", `${file} has no room for ${sections.length} more sections in its headers`, {
      hint: "take the stub of another version of systemd",
    });
  }
  const memoryAlignment = Math.max(stub.readUInt32LE(optional + 32), PAGE);
  const fileAlignment = stub.readUInt32LE(optional + 36);
  let memoryEnd = stub.readUInt32LE(optional + 56);
  for (let at = table; at < tableEnd; at += SECTION_HEADER_LENGTH) {
    memoryEnd = Math.max(memoryEnd, stub.readUInt32LE(at + 12) + stub.readUInt32LE(at + 8));
  }
  let fileEnd = roundUp(stub.length, fileAlignment);
  const head = Buffer.alloc(fileEnd);
  stub.copy(head);
  const offsets: number[] = [];
  let added = 0;
  for (const [index, { name, size }] of sections.entries()) {
    const at = tableEnd + index * SECTION_HEADER_LENGTH;
    const [address, rawSize] = [roundUp(memoryEnd, memoryAlignment), roundUp(size, fileAlignment)];
    [memoryEnd, added] = [address + size, added + rawSize];
    if (Math.max(memoryEnd, fileEnd + rawSize) > LARGEST) {
      throw new OciNixError("limit", `a unified kernel image has at most ${LARGEST} bytes, ${name} is too large`);
    }
    head.fill(0, at, at + SECTION_HEADER_LENGTH);
    head.write(name, at, 8, "latin1");
    head.writeUInt32LE(size, at + 8);
    head.writeUInt32LE(address, at + 12);
    head.writeUInt32LE(rawSize, at + 16);
    head.writeUInt32LE(fileEnd, at + 20);
    head.writeUInt32LE(READ_ONLY_DATA, at + 36);
    offsets.push(fileEnd);
    fileEnd += rawSize;
  }
  head.writeUInt16LE(count + sections.length, pe + 6);
  head.writeUInt32LE((stub.readUInt32LE(optional + 8) + added) % 2 ** 32, optional + 8);
  head.writeUInt32LE(roundUp(memoryEnd, memoryAlignment), optional + 56);
  // No checksum: firmware does not ask for one, and who signs the file makes one.
  head.writeUInt32LE(0, optional + 64);
  return { head, offsets, fileSize: fileEnd };
}

/** A file on FAT has less than 4 GiB; firmware gives memory below for less than half of it. */
const LARGEST = 2 ** 31;

const roundUp = (value: number, to: number) => Math.ceil(value / to) * to;
