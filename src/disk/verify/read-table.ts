import type { Findings } from "../../examine/findings.js";
import type { DiskTools } from "../tools.js";
import { failureOf, jsonOf } from "./failure.js";
import { type FoundPartition, type FoundTable, PROTECTIVE, SECTOR } from "./found-table.js";
import { hasGptHeader, readGpt } from "./gpt.js";

const MIB = 1024 * 1024;
const BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649";
const EXTENDED = ["5", "f", "85"];

/** Which partition table a disk has, by its first two sectors; of the second one it may have only a part. */
export function tableKind(head: Buffer): "dos" | "gpt" | undefined {
  // The boot sector of a file system ends like an MBR.
  const withoutMbr = hasGptHeader(head) ? "gpt" : undefined;
  if (head.readUInt16LE(510) !== 0xaa55) return withoutMbr;
  const entries = [446, 462, 478, 494].map((at) => ({ status: head[at] as number, type: head[at + 4] as number }));
  if (entries.some(({ status }) => status !== 0 && status !== 0x80)) return withoutMbr;
  if (entries.every(({ type }) => type === 0)) return withoutMbr;
  return entries.some(({ type }) => type === PROTECTIVE) ? "gpt" : "dos";
}

/** Reads the partition table of a disk and looks whether it is sound. Undefined where it cannot be read. */
export async function readTable(
  kind: "dos" | "gpt",
  disk: { readonly fd: number; readonly file: string; readonly size: number },
  tools: DiskTools,
  findings: Findings,
): Promise<FoundTable | undefined> {
  const table = kind === "gpt" ? readGpt(disk, findings) : await readMbr(disk.file, tools, findings);
  for (const partition of table?.partitions ?? []) checkPlace(partition, disk.size, findings);
  checkOverlaps(table?.partitions ?? [], findings);
  return table;
}

async function readMbr(file: string, tools: DiskTools, findings: Findings): Promise<FoundTable | undefined> {
  try {
    return parse(await tools.run("sfdisk", ["--json", file]), file);
  } catch (error) {
    findings.add("error", "table", "table", failureOf(error, tools));
    return undefined;
  }
}

interface SfdiskPartition {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly bootable?: boolean;
}

function parse(words: string, file: string): FoundTable {
  const { partitiontable: table } = jsonOf(words, "sfdisk") as {
    readonly partitiontable: {
      readonly id: string;
      readonly partitions?: readonly SfdiskPartition[];
    };
  };
  const partitions = (table.partitions ?? []).map(
    ({ node, start, size, type, bootable = false }): FoundPartition => ({
      number: Number(node.slice(file.length)),
      start: start * SECTOR,
      size: size * SECTOR,
      type,
      bootable,
    }),
  );
  return { label: "dos", diskId: table.id, partitions: partitions.sort((a, b) => a.number - b.number) };
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
