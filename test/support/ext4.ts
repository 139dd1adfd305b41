import { createHash } from "node:crypto";
import {
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { type Ext4Options, makeExt4 } from "../../src/disk/ext4/make-ext4.js";
import { leastExt4Bytes } from "../../src/disk/ext4/size.js";
import type { Region } from "../../src/disk/region.js";
import { DiskTools } from "../../src/disk/tools.js";
import { EntryList, type EntryType, type Xattrs } from "../../src/tar/entry-list.js";
import { expectOk, runCommand, runOk } from "./command.js";
import { tool } from "./tools.js";
import { xattrsIn } from "./xattrs.js";

export const UUID = "f222513b-ded1-49fa-b591-20ce86a2fe7f";
const MIB = 1024 * 1024;

/** One file as it should be; bytes of path and target as a latin1 string. */
export interface TreeFile {
  readonly path: string;
  readonly type: EntryType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly contents: Buffer;
  /** Where the contents are read, if not in memory. */
  readonly source?: string | undefined;
  readonly target: string;
  readonly device?: { readonly major: number; readonly minor: number } | undefined;
  readonly xattrs?: Xattrs | undefined;
}

export function treeFile(path: string, type: EntryType, rest: Partial<TreeFile> = {}): TreeFile {
  return { path, type, mode: 0o755, uid: 0, gid: 0, contents: Buffer.alloc(0), target: "", ...rest };
}

export function entriesOf(files: readonly TreeFile[]): EntryList {
  const list = new EntryList();
  for (const { path, type, mode, uid, gid, contents, source, target, device, xattrs } of files) {
    list.append({
      depth: 0,
      name: path,
      type,
      mode,
      owner: { uid, gid, uname: "", gname: "" },
      size: contents.length,
      linkTarget: target,
      ...(source === undefined ? (type === "file" ? { contents } : {}) : { source }),
      device,
      xattrs,
    });
  }
  return list;
}

/** A file of so many bytes of zeros that take no space. */
export function zeroFile(path: string, size: number): string {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  closeSync(fd);
  return path;
}

/** A file system of these files in a new file, from 1 MiB on. */
export async function ext4Of(
  file: string,
  files: readonly TreeFile[],
  size: number,
  options: Partial<Ext4Options> = {},
): Promise<Region> {
  const region = { file: zeroFile(file, MIB + size), offset: MIB, size };
  const tools = new DiskTools();
  try {
    await makeExt4(region, entriesOf(files), { label: "nixos", uuid: UUID, ...options }, tools);
  } finally {
    tools.close();
  }
  return region;
}

/** The least size of a file system for these files. */
export async function leastBytes(files: readonly TreeFile[]): Promise<number> {
  const tools = new DiskTools();
  try {
    return await leastExt4Bytes(entriesOf(files), tools);
  } finally {
    tools.close();
  }
}

/** All that e2fsck says about a file system that has no error. @throws Error where it has one */
export async function checkExt4({ file, offset }: Region): Promise<string> {
  const result = await runCommand(tool("e2fsck"), ["-fnv", `${file}?offset=${offset}`]);
  return expectOk({ ...result, stderr: `${result.stdout}${result.stderr}` }, "e2fsck").stdout.toString();
}

/** Mounts a file system for reading as long as it is used. Needs root. */
export async function mounted<T>(region: Region, use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(`${region.file}-mounted-`);
  const options = `loop,ro,noload,offset=${region.offset},sizelimit=${region.size}`;
  await runOk("mount", ["-t", "ext4", "-o", options, region.file, directory]);
  try {
    return await use(directory);
  } finally {
    await runOk("umount", [directory]);
    rmSync(directory, { recursive: true });
  }
}

/** What the kernel finds in a file system, one line a file. Needs root. */
export async function mountedFiles(region: Region): Promise<readonly string[]> {
  return await mounted(region, async (directory) => await filesIn(directory, 1));
}

/** All in a directory, and itself, one line a file. @param time that all times have to be, in seconds */
export async function filesIn(root: string, time?: number): Promise<readonly string[]> {
  const lines: string[] = [];
  const xattrs = await xattrsIn(root);
  const inodes = new Map<number, string>();
  const visit = (path: string): void => {
    const at = Buffer.from(join(root, path), "latin1");
    const stat = lstatSync(at);
    const times = [stat.atimeMs, stat.mtimeMs, stat.ctimeMs, stat.birthtimeMs].map((each) => each / 1000);
    if (time !== undefined && times.some((each) => each !== time)) lines.push(`${path} has the times ${times}`);
    const common = { path, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, xattrs: xattrs.get(path) };
    if (stat.isDirectory()) {
      const names = readdirSync(at, "latin1").sort();
      const directories = names.filter((name) =>
        lstatSync(Buffer.from(join(root, path, name), "latin1")).isDirectory(),
      );
      lines.push(lineOf({ ...common, type: "directory" }));
      if (stat.nlink !== directories.length + 2 && stat.nlink !== 1) lines.push(`${path} has ${stat.nlink} links`);
      for (const name of names) visit(path === "" ? name : `${path}/${name}`);
      return;
    }
    const first = inodes.get(stat.ino);
    inodes.set(stat.ino, first ?? path);
    const linked = { ...common, links: stat.nlink, first };
    if (stat.isSymbolicLink()) {
      lines.push(lineOf({ ...linked, type: "symlink", target: readlinkSync(at, "latin1") }));
    } else if (stat.isFile()) {
      lines.push(lineOf({ ...linked, type: "file", contents: readFileSync(at) }));
    } else {
      const device = {
        major: Number((stat.rdev >> 8) & 0xfff),
        minor: (stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00),
      };
      const type = stat.isCharacterDevice() ? "character" : stat.isBlockDevice() ? "block" : "fifo";
      lines.push(lineOf({ ...linked, type, ...(type === "fifo" ? {} : { device }) }));
    }
  };
  visit("");
  return lines.sort();
}

/** The lines that {@link mountedFiles} gives of these files. */
export function linesOf(files: readonly TreeFile[]): readonly string[] {
  const given = new Set(files.map(({ path }) => path));
  const own = [treeFile("", "directory"), treeFile("lost+found", "directory", { mode: 0o700 })];
  return [...own.filter(({ path }) => !given.has(path)), ...files].map((file) => lineOf(file)).sort();
}

interface Line extends Pick<TreeFile, "path" | "type" | "mode" | "uid" | "gid" | "device" | "xattrs"> {
  readonly contents?: Buffer;
  readonly target?: string;
  readonly links?: number;
  /** Of several names of a file the first one; undefined for that itself. */
  readonly first?: string | undefined;
}

function lineOf({ path, type, mode, uid, gid, contents, target, device, xattrs, links = 1, first }: Line): string {
  const what = {
    file: () =>
      createHash("sha256")
        .update(contents ?? "")
        .digest("hex"),
    symlink: () => JSON.stringify(target),
    directory: () => "",
    character: () => JSON.stringify(device),
    block: () => JSON.stringify(device),
    fifo: () => "",
  };
  const line = `${JSON.stringify(path)} ${type} ${(type === "symlink" ? 0o777 : mode).toString(8)} ${uid}:${gid} ${what[type]()}`;
  const names = links === 1 ? "" : first === undefined ? ` with ${links} names` : ` == ${JSON.stringify(first)}`;
  return `${line}${names}${xattrs === undefined ? "" : ` ${JSON.stringify([...xattrs].sort())}`}`;
}
