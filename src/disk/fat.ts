import { closeSync, openSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { compareStrings, describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { readRange } from "../core/file-range.js";
import { type FatFile, type FatTree, fatTree } from "./fat-tree.js";
import type { Region } from "./region.js";
import type { DiskTools } from "./tools.js";

const SECTOR = 512;
const MIB = 1024 * 1024;
const SMALLEST = 4 * MIB;
/** FAT32 is what has at least 65,525 clusters; some readers are strict about it, and mkfs.vfat rounds. */
const FAT32_CLUSTERS = 66_200;
const ENTRY_BYTES = 32;
/** Directories in one call: there is an end to the arguments of a program. */
const AT_ONCE = 200;

export interface FatOptions {
  /** At most eleven capital letters, digits, `_` and `-`. */
  readonly label: string;
  /** The volume's id: eight hexadecimal digits. */
  readonly id: string;
}

/**
 * Makes a FAT file system with these files in a region that holds nothing else: FAT32, or FAT16 below 33 MiB. It needs no rights and no mount, and
 * is the same for the same files, sizes and place on the disk.
 * @throws OciNixError `invalid-input` where the files do not fit, with what is missing, for names that FAT or mtools cannot have, or label or id that are
 *   none; `conflict` for two files of one name; `not-found`, `unreadable`; as {@link DiskTools.run}
 */
export async function makeFat(
  region: Region,
  files: readonly FatFile[],
  { label, id }: FatOptions,
  tools: DiskTools,
): Promise<void> {
  const tree = fatTree(files);
  const sizes = new Map(files.map((file) => [file, sizeOf(file)]));
  const image = resolve(region.file);
  const at = region.offset / SECTOR;
  await tools.run("mkfs.vfat", [
    "--invariant",
    ...geometry(region.size),
    ...["-i", checkId(id)],
    ...["-n", checkLabel(label)],
    ...["-h", String(at)],
    `--offset=${at}`,
    image,
    String(region.size / 1024),
  ]);
  checkRoom(region, tree, sizes);
  const drive = ["-i", `${image}@@${region.offset}`];
  const directories = [...tree.directories.keys()].filter((path) => path !== "").sort(compareStrings);
  // A directory follows the one that it is in, and mtools takes its arguments in order.
  for (let at = 0; at < directories.length; at += AT_ONCE) {
    const paths = directories.slice(at, at + AT_ONCE).map((path) => `::/${path}`);
    await tools.run("mmd", [...drive, ...paths]);
  }
  const inOrder = [...tree.files].sort(([a], [b]) => compareStrings(a, b));
  for (const [path, file] of inOrder) {
    const from = "source" in file ? resolve(file.source) : "-";
    const stdin = "source" in file ? undefined : file.contents;
    await tools.run("mcopy", ["-o", ...drive, from, `::/${path}`], {
      stdin,
      over: "source" in file ? from : undefined,
    });
  }
}

/** Which FAT, and how many sectors a cluster has: the largest clusters of at most 4 KiB that make a FAT32. */
function geometry(size: number): readonly string[] {
  if (size < SMALLEST) {
    throw new OciNixError(
      "invalid-input",
      `a FAT file system of ${size} bytes is too small by ${SMALLEST - size} bytes`,
    );
  }
  const clusters = (sectors: number) => (size - 64 * SECTOR) / (sectors * SECTOR + 8);
  const sectors = [8, 4, 2, 1].find((each) => clusters(each) >= FAT32_CLUSTERS);
  if (sectors !== undefined) return ["-F", "32", "-s", String(sectors)];
  return ["-F", "16", "-s", clusters(1) > 64_000 ? "2" : "1"];
}

function checkId(id: string): string {
  if (/^[0-9a-f]{8}$/i.test(id)) return id;
  throw new OciNixError("invalid-input", `the FAT volume id ${JSON.stringify(id)} is not eight hexadecimal digits`);
}

function checkLabel(label: string): string {
  if (/^[0-9A-Z_-]{1,11}$/.test(label)) return label;
  throw new OciNixError("invalid-input", `the FAT label ${JSON.stringify(label)} is none`, {
    hint: "at most eleven capital letters, digits, _ and -",
  });
}

const LARGEST_FILE = 2 ** 32 - 1;

function sizeOf(file: FatFile): number {
  if (!("source" in file)) return file.contents.length;
  let stat: ReturnType<typeof statSync>;
  try {
    stat = statSync(file.source);
  } catch (error) {
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
    throw new OciNixError(code, `cannot read ${file.source}: ${describeErrno(error)}`, { cause: error });
  }
  if (!stat.isFile())
    throw new OciNixError("invalid-input", `${file.source} is no regular file, for ${file.path} on FAT`);
  if (stat.size <= LARGEST_FILE) return stat.size;
  throw new OciNixError("invalid-input", `${file.source} is too large for FAT: ${stat.size} bytes`);
}

/** Asks the file system that was made, whether it has room: mtools would stop half way. */
function checkRoom(region: Region, tree: FatTree, sizes: ReadonlyMap<FatFile, number>): void {
  const { clusterBytes, clusters, rootEntries } = readGeometry(region);
  const inClusters = (bytes: number) => Math.ceil(bytes / clusterBytes);
  let needed = 0;
  for (const size of sizes.values()) needed += inClusters(size);
  for (const [path, entries] of tree.directories) {
    if (path !== "" || rootEntries === 0) needed += Math.max(1, inClusters(entries * ENTRY_BYTES));
    else if (entries > rootEntries) {
      throw new OciNixError("invalid-input", `FAT16 has no room for so many files outside of directories`, {
        hint: "make the boot partition larger than 33 MiB",
      });
    }
  }
  if (needed <= clusters) return;
  throw new OciNixError(
    "invalid-input",
    `a FAT file system of ${region.size} bytes is too small by ${(needed - clusters) * clusterBytes} bytes: its files need ` +
      `${needed * clusterBytes}, and it has ${clusters * clusterBytes}`,
    { hint: "make the boot partition larger: bootSize is the offset at which it ends" },
  );
}

interface Geometry {
  readonly clusterBytes: number;
  readonly clusters: number;
  /** Of the root directory; 0 where it grows as others do. */
  readonly rootEntries: number;
}

function readGeometry({ file, offset }: Region): Geometry {
  const fd = openSync(file, "r");
  let boot: Buffer;
  try {
    boot = readRange(fd, { offset, size: SECTOR }, file);
  } finally {
    closeSync(fd);
  }
  const sectorsPerCluster = boot.readUInt8(13);
  const rootEntries = boot.readUInt16LE(17);
  const total = boot.readUInt16LE(19) || boot.readUInt32LE(32);
  const perFat = boot.readUInt16LE(22) || boot.readUInt32LE(36);
  const before = boot.readUInt16LE(14) + boot.readUInt8(16) * perFat + (rootEntries * ENTRY_BYTES) / SECTOR;
  return {
    clusterBytes: sectorsPerCluster * SECTOR,
    clusters: Math.floor((total - before) / sectorsPerCluster),
    rootEntries,
  };
}
