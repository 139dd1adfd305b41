import type { Findings } from "../../examine/findings.js";
import type { DiskTools } from "../tools.js";
import { failureOf, jsonOf } from "./failure.js";

const SECTOR = 512;
const MIB = 1024 * 1024;
const BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649";
const EXTENDED = ["5", "f", "85"];

/** A partition as it is in a table; bytes. */
export interface FoundPartition {
  readonly number: number;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  /** Of a GPT. */
  readonly uuid?: string;
  readonly name?: string;
  readonly bootable: boolean;
}

export interface FoundTable {
  readonly label: "dos" | "gpt";
  readonly diskId: string;
  /** By number. */
  readonly partitions: readonly FoundPartition[];
}

/** Whether a disk begins with a partition table, by its first two sectors. */
export function tableKind(head: Buffer): "dos" | "gpt" | undefined {
  if (head.toString("latin1", SECTOR, SECTOR + 8) === "EFI PART") return "gpt";
  if (head.readUInt16LE(510) !== 0xaa55) return undefined;
  const entries = [446, 462, 478, 494].map((at) => ({ status: head[at] as number, type: head[at + 4] as number }));
  // The boot sector of a file system ends like an MBR.
  if (entries.some(({ status }) => status !== 0 && status !== 0x80)) return undefined;
  if (entries.every(({ type }) => type === 0)) return undefined;
  // Of a GPT whose first copy is damaged this is left.
  return entries.some(({ type }) => type === 0xee) ? "gpt" : "dos";
}

/** Reads the partition table of a disk and looks whether it is sound. Undefined where it cannot be read. */
export async function readTable(
  file: string,
  size: number,
  tools: DiskTools,
  findings: Findings,
): Promise<FoundTable | undefined> {
  let table: FoundTable;
  try {
    table = parse(await tools.run("sfdisk", ["--json", file]), file);
  } catch (error) {
    findings.add("error", "table", "table", failureOf(error, tools));
    return undefined;
  }
  for (const partition of table.partitions) checkPlace(partition, size, findings);
  checkOverlaps(table.partitions, findings);
  if (table.label === "gpt") await checkGpt(file, tools, findings);
  return table;
}

interface SfdiskPartition {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly uuid?: string;
  readonly name?: string;
  readonly bootable?: boolean;
}

function parse(words: string, file: string): FoundTable {
  const { partitiontable: table } = jsonOf(words, "sfdisk") as {
    readonly partitiontable: {
      readonly label: "dos" | "gpt";
      readonly id: string;
      readonly partitions?: readonly SfdiskPartition[];
    };
  };
  const partitions = (table.partitions ?? []).map(
    ({ node, start, size, type, uuid, name, bootable = false }): FoundPartition => ({
      number: Number(node.slice(file.length)),
      start: start * SECTOR,
      size: size * SECTOR,
      type,
      ...(uuid === undefined ? {} : { uuid }),
      ...(name === undefined ? {} : { name }),
      bootable,
    }),
  );
  return { label: table.label, diskId: table.id, partitions: partitions.sort((a, b) => a.number - b.number) };
}

function checkPlace({ number, start, size, type }: FoundPartition, diskSize: number, findings: Findings): void {
  const where = `partition ${number}`;
  if (start + size > diskSize) {
    findings.add("error", "outside", where, `it ends ${start + size - diskSize} bytes behind the end of the disk`);
  }
  if (start % MIB === 0) return;
  // What is in it is read by nobody but a boot loader.
  const severity = type === BIOS_BOOT ? "note" : "warning";
  findings.add(severity, "alignment", where, `it begins at sector ${start / SECTOR}, at no whole MiB`);
}

function checkOverlaps(partitions: readonly FoundPartition[], findings: Findings): void {
  const inOrder = partitions.filter(({ type }) => !EXTENDED.includes(type)).sort((a, b) => a.start - b.start);
  for (const [index, partition] of inOrder.entries()) {
    const next = inOrder[index + 1];
    if (next === undefined || partition.start + partition.size <= next.start) continue;
    findings.add("error", "overlap", `partition ${next.number}`, `it begins within partition ${partition.number}`);
  }
}

async function checkGpt(file: string, tools: DiskTools, findings: Findings): Promise<void> {
  let words: string;
  try {
    words = await tools.run("sgdisk", ["--verify", file]);
  } catch (error) {
    findings.add("error", "gpt", "table", failureOf(error, tools));
    return;
  }
  if (/^No problems found/m.test(words) && !/^(?:Warning|Problem)/m.test(words)) return;
  const lines = words.split("\n").map((line) => line.trim());
  findings.add(
    "error",
    "gpt",
    "table",
    `sgdisk: ${lines.filter((line) => line !== "" && !/^\*+$/.test(line)).join(" ")}`,
  );
}
