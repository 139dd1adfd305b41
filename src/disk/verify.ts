import { closeSync, openSync, statSync } from "node:fs";
import { readRange } from "../core/file-range.js";
import { type Finding, Findings } from "../examine/findings.js";
import type { Region } from "./region.js";
import type { DiskTools } from "./tools.js";
import { checkFileSystem, type FileSystemKind, fileSystemAt } from "./verify/check-file-system.js";
import { type FoundPartition, SECTOR } from "./verify/found-table.js";
import { otherContentAt } from "./verify/other-content.js";
import { type ImageFormat, viewRaw } from "./verify/raw-view.js";
import { readTable, tableKind } from "./verify/read-table.js";

/** Linux, ESP and extended boot loader, and FAT32 and Linux of an MBR. */
const HOLD_FILE_SYSTEMS: readonly string[] = [
  "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
  "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
  "BC13C2FF-59E6-4262-A352-B275FD6F7172",
  "C",
  "83",
];

/** A partition, and what is in it. */
export interface VerifiedPartition extends FoundPartition {
  /** Absent where it is none that is looked into. */
  readonly fileSystem?: FileSystemKind;
}

export interface VerifiedDisk {
  readonly format: ImageFormat;
  /** What a machine sees of it, in bytes; absent where the image cannot be opened. */
  readonly size?: number;
  readonly label?: "dos" | "gpt";
  readonly diskId?: string;
  /** By number; empty without a table. */
  readonly partitions: readonly VerifiedPartition[];
  /** Of a disk without a table. */
  readonly fileSystem?: FileSystemKind;
  /** Of a disk without an error, which may have warnings and notes. */
  readonly valid: boolean;
  /** `where` is `image`, `table`, `disk` or `partition N`. */
  readonly findings: readonly Finding[];
}

/**
 * Looks whether a disk image is sound: its format, its partition table, and every ext4 and FAT file system in it. Nothing is changed, mounted or run.
 * An image in another format than raw is unpacked into the tools' directory.
 * @throws OciNixError `not-found`, `unreadable`; as {@link DiskTools.run} for a tool that is missing. What is wrong with the image is a finding.
 */
export async function verifyDisk(
  path: string,
  tools: DiskTools,
  onStep: (step: string) => void = () => {},
): Promise<VerifiedDisk> {
  const findings = new Findings();
  const { format, file } = await viewRaw(path, tools, findings, onStep);
  const found = file === undefined ? { partitions: [] } : await look(file, { tools, findings, onStep });
  const all = findings.all();
  return { format, ...found, valid: all.every(({ severity }) => severity !== "error"), findings: all };
}

type Found = Omit<VerifiedDisk, "format" | "valid" | "findings">;

interface Looking {
  readonly tools: DiskTools;
  readonly findings: Findings;
  readonly onStep: (step: string) => void;
}

async function look(file: string, looking: Looking): Promise<Found> {
  const { tools, findings, onStep } = looking;
  const { size } = statSync(file);
  const nothing = { size, partitions: [] };
  if (size % SECTOR !== 0) findings.add("error", "size", "disk", `${size} bytes are no whole sectors`);
  const fd = openSync(file, "r");
  try {
    const whole: Region = { file, offset: 0, size };
    const fileSystem = fileSystemAt(fd, whole);
    const head = readRange(fd, { offset: 0, size: Math.min(size, 2 * SECTOR) }, file);
    const kind = size < SECTOR ? undefined : tableKind(head);
    if (kind === undefined) {
      if (fileSystem === undefined) {
        findings.add("error", "empty", "disk", "there is no partition table on it, and neither ext4 nor FAT");
        return nothing;
      }
      onStep(`checking the file system (${fileSystem})`);
      await checkFileSystem(fileSystem, whole, { where: "disk", tools, findings });
      return { ...nothing, fileSystem };
    }
    onStep("checking the partition table");
    const table = await readTable(kind, { fd, file, size }, tools, findings);
    if (table === undefined) return { ...nothing, label: kind };
    const partitions: VerifiedPartition[] = [];
    for (const partition of table.partitions) {
      partitions.push(await lookInto(partition, { ...looking, fd, disk: whole }));
    }
    return { size, label: table.label, diskId: table.diskId, partitions };
  } finally {
    closeSync(fd);
  }
}

async function lookInto(
  partition: FoundPartition,
  on: Looking & { readonly fd: number; readonly disk: Region },
): Promise<VerifiedPartition> {
  const { fd, disk, tools, findings, onStep } = on;
  const region: Region = { file: disk.file, offset: partition.start, size: partition.size };
  if (region.offset + region.size > disk.size) return partition;
  const fileSystem = fileSystemAt(fd, region);
  if (fileSystem === undefined) {
    if (HOLD_FILE_SYSTEMS.includes(partition.type.toUpperCase())) {
      const where = `partition ${partition.number}`;
      const other = otherContentAt(fd, region);
      if (other === undefined) findings.add("error", "no-file-system", where, "no file system is known in it");
      else findings.add("warning", "no-file-system", where, `${other} is in it, which is not looked into`);
    }
    return partition;
  }
  onStep(`checking the file system of partition ${partition.number} (${fileSystem})`);
  await checkFileSystem(fileSystem, region, { where: `partition ${partition.number}`, tools, findings });
  return { ...partition, fileSystem };
}
