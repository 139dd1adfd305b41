import { crc32 } from "node:zlib";
import { readRange } from "../../core/file-range.js";
import type { Findings } from "../../examine/findings.js";
import { type FoundPartition, type FoundTable, PROTECTIVE, SECTOR } from "./found-table.js";

const FIRST_COPY = 1;
const MAGIC = "EFI PART";
const SHORTEST_HEADER = 92;
const SHORTEST_ENTRY = 128;
/** Eight times what there usually is. */
const LONGEST_ENTRIES = 2 ** 17;
const NO_TYPE = "00000000-0000-0000-0000-000000000000";

/** One of the two; all places are sector numbers. */
interface Copy {
  /** Its own place, and that of its entries, left out: what the other one has to say, too. */
  readonly shared: Buffer;
  readonly other: number;
  readonly firstUsable: number;
  readonly lastUsable: number;
  readonly diskId: string;
  readonly entries: Buffer;
  readonly entrySize: number;
}

interface Disk {
  readonly fd: number;
  readonly file: string;
  /** Bytes. */
  readonly size: number;
}

/** Whether a disk begins with a GPT's header, behind its MBR. */
export function hasGptHeader(head: Buffer): boolean {
  return head.toString("latin1", SECTOR, SECTOR + MAGIC.length) === MAGIC;
}

/** Reads a GPT and looks whether both its copies are sound. Undefined where neither is; what the sound one says otherwise. */
export function readGpt(disk: Disk, findings: Findings): FoundTable | undefined {
  const fault = (message: string) => findings.add("error", "gpt", "table", message);
  if (!isProtective(readRange(disk.fd, { offset: 0, size: SECTOR }, disk.file))) {
    fault("the MBR does not protect the GPT: it has no partition of type EE that begins at sector 1");
  }
  const end = Math.floor(disk.size / SECTOR) - 1;
  const first = readCopy(disk, FIRST_COPY);
  if (typeof first === "string") fault(`the first copy of the GPT, in sector ${FIRST_COPY}: ${first}`);
  const place = typeof first === "string" ? end : first.other;
  if (place > end) {
    findings.add(
      "error",
      "cut-off",
      "disk",
      `the second copy of the GPT is in sector ${place}, but the last one is ${end}`,
    );
    return typeof first === "string" ? undefined : tableOf(first, fault);
  }
  if (place < end) fault(`the second copy of the GPT is in sector ${place}, not in the last one, ${end}`);
  const second = readCopy(disk, place);
  if (typeof second === "string") fault(`the second copy of the GPT, in sector ${place}: ${second}`);
  else if (second.other !== FIRST_COPY)
    fault(`the second copy of the GPT says that the first is in sector ${second.other}`);
  const sound = typeof first === "string" ? second : first;
  if (typeof sound === "string") return undefined;
  if (typeof second !== "string" && !sound.shared.equals(second.shared)) {
    fault("the two copies of the GPT do not say the same");
  }
  return tableOf(sound, fault);
}

function isProtective(mbr: Buffer): boolean {
  const entries = [446, 462, 478, 494];
  return (
    mbr.readUInt16LE(510) === 0xaa55 &&
    entries.some((at) => mbr[at + 4] === PROTECTIVE && mbr.readUInt32LE(at + 8) === FIRST_COPY)
  );
}

/** A copy of a GPT, or what is wrong with it. */
function readCopy({ fd, file, size }: Disk, sector: number): Copy | string {
  const sectors = Math.floor(size / SECTOR);
  if (sector >= sectors) return "it is behind the end of the disk";
  const header = readRange(fd, { offset: sector * SECTOR, size: SECTOR }, file);
  if (header.toString("latin1", 0, MAGIC.length) !== MAGIC) return "there is no header";
  const length = header.readUInt32LE(12);
  if (length < SHORTEST_HEADER || length > SECTOR) return `its header says that it is ${length} bytes long`;
  if (checksum(header.subarray(0, length)) !== header.readUInt32LE(16)) {
    return "the checksum of its header is not the one that it says";
  }
  const number = (at: number) => Number(header.readBigUInt64LE(at));
  if (number(24) !== sector) return `it says that it is in sector ${number(24)}`;
  const place = number(72);
  const entrySize = header.readUInt32LE(84);
  const bytes = header.readUInt32LE(80) * entrySize;
  if (entrySize < SHORTEST_ENTRY || entrySize % 8 !== 0 || bytes === 0 || bytes > LONGEST_ENTRIES) {
    return `it says that it has ${header.readUInt32LE(80)} entries of ${entrySize} bytes`;
  }
  const behind = place + Math.ceil(bytes / SECTOR);
  if (place < 2 || behind > sectors) return `its entries are in the sectors ${place} to ${behind - 1} of ${sectors}`;
  const [firstUsable, lastUsable] = [number(40), number(48)];
  if (place <= lastUsable && behind > firstUsable) return "its entries are where partitions may be";
  const entries = readRange(fd, { offset: place * SECTOR, size: bytes }, file);
  if (crc32(entries) !== header.readUInt32LE(88)) return "the checksum of its entries is not the one that it says";
  return {
    shared: Buffer.concat([header.subarray(40, 72), header.subarray(80, SHORTEST_HEADER)]),
    other: number(32),
    firstUsable,
    lastUsable,
    diskId: guidAt(header, 56),
    entries,
    entrySize,
  };
}

/** Its own place in the header counts as zeros. */
function checksum(header: Buffer): number {
  const bytes = Buffer.from(header);
  bytes.fill(0, 16, 20);
  return crc32(bytes);
}

function tableOf(copy: Copy, fault: (message: string) => void): FoundTable {
  const { entries, entrySize, firstUsable, lastUsable, diskId } = copy;
  const partitions: FoundPartition[] = [];
  for (let at = 0; at < entries.length; at += entrySize) {
    const type = guidAt(entries, at);
    if (type === NO_TYPE) continue;
    const number = at / entrySize + 1;
    const start = Number(entries.readBigUInt64LE(at + 32));
    const last = Number(entries.readBigUInt64LE(at + 40));
    if (last < start) {
      fault(`partition ${number} ends before it begins`);
      continue;
    }
    if (start < firstUsable || last > lastUsable) {
      fault(
        `partition ${number} has the sectors ${start} to ${last}, but partitions may be in sectors ${firstUsable} to ${lastUsable}`,
      );
    }
    const name = entries.toString("utf16le", at + 56, at + SHORTEST_ENTRY).replace(/\0.*$/su, "");
    partitions.push({
      number,
      start: start * SECTOR,
      size: (last - start + 1) * SECTOR,
      type,
      uuid: guidAt(entries, at + 16),
      name,
      bootable: false,
    });
  }
  return { label: "gpt", diskId, partitions };
}

/** In it the first three numbers have their last byte first. */
function guidAt(bytes: Buffer, at: number): string {
  const part = (from: number, to: number) => bytes.toString("hex", at + from, at + to);
  const turned = (from: number, to: number) =>
    Buffer.from(bytes.subarray(at + from, at + to))
      .reverse()
      .toString("hex");
  return [turned(0, 4), turned(4, 6), turned(6, 8), part(8, 10), part(10, 16)].join("-").toUpperCase();
}
