import { closeSync, openSync } from "node:fs";
import { basename } from "node:path";
import { readRange } from "../../core/file-range.js";
import type { Findings } from "../../examine/findings.js";
import type { Region } from "../region.js";
import type { DiskTools } from "../tools.js";
import { failureOf } from "./failure.js";

/** The file systems that are looked into. */
export type FileSystemKind = "ext4" | "fat";

const HEAD = 2048;
const SUPERBLOCK = 1024;
const EXT_MAGIC = 0xef53;

/** fsck.vfat has all FATs in memory, and more: of a FAT with a hundred million clusters more than tools are given. */
const MOST_CLUSTERS = 2 ** 26;

/** What file system begins at a region. ext4 stands for the older ones, too, which have the same checks. */
export function fileSystemAt(fd: number, { file, offset, size }: Region): FileSystemKind | undefined {
  if (size < HEAD) return undefined;
  const head = readRange(fd, { offset, size: HEAD }, file);
  if (head.readUInt16LE(SUPERBLOCK + 56) === EXT_MAGIC) return "ext4";
  const isFat = [54, 82].some((at) => head.toString("latin1", at, at + 3) === "FAT");
  return isFat && head.readUInt16LE(510) === 0xaa55 ? "fat" : undefined;
}

/** Has the file system's own tool look at it, and looks whether it is larger than its place. The region's file is in the tools' directory. */
export async function checkFileSystem(
  kind: FileSystemKind,
  region: Region,
  { where, tools, findings }: { readonly where: string; readonly tools: DiskTools; readonly findings: Findings },
): Promise<void> {
  const fd = openSync(region.file, "r");
  try {
    const head = readRange(fd, { ...region, size: HEAD }, region.file);
    const length = (kind === "ext4" ? extLength : fatLength)(head);
    if (length > region.size) {
      findings.add(
        "error",
        "file-system-size",
        where,
        `its file system is ${length - region.size} bytes larger than it`,
      );
    }
    const clusters = kind === "fat" ? Math.floor(length / clusterSize(head)) : 0;
    if (clusters > MOST_CLUSTERS) {
      const message = `its ${clusters} clusters are too many: a FAT of up to ${MOST_CLUSTERS} is looked at`;
      findings.add("error", "file-system", where, message);
    } else if (kind === "ext4") {
      await tools.run("e2fsck", ["-fn", `${basename(region.file)}?offset=${region.offset}`], { over: region.file });
    } else {
      // fsck.vfat knows no offset. qemu-img passes over what is empty without reading it.
      const source = `driver=raw,offset=${region.offset},size=${wholeSectors(region.size)},file.filename=${basename(region.file)}`;
      await tools.run("qemu-img", ["convert", "--image-opts", "-O", "raw", source, "fat"], { over: region.file });
      await tools.run("fsck.vfat", ["-n", "fat"], { over: region.file });
    }
  } catch (error) {
    findings.add("error", "file-system", where, failureOf(error, tools));
  } finally {
    closeSync(fd);
  }
}

function extLength(head: Buffer): number {
  const has64Bit = (head.readUInt32LE(SUPERBLOCK + 96) & 0x80) !== 0;
  const blocks = head.readUInt32LE(SUPERBLOCK + 4) + (has64Bit ? head.readUInt32LE(SUPERBLOCK + 336) * 2 ** 32 : 0);
  return blocks * 2 ** (10 + head.readUInt32LE(SUPERBLOCK + 24));
}

function fatLength(head: Buffer): number {
  return (head.readUInt16LE(19) || head.readUInt32LE(32)) * head.readUInt16LE(11);
}

function clusterSize(head: Buffer): number {
  return head.readUInt16LE(11) * (head[13] as number) || 1;
}

function wholeSectors(bytes: number): number {
  return bytes - (bytes % 512);
}
