#!/usr/bin/env node
// Makes an ext4 file system of a directory in a new file: what a disk image costs beside its partition table and boot loader. For benchmarks.
//
//   make-ext4 DIRECTORY FILE     prints the size of the file system

import { closeSync, ftruncateSync, lstatSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { makeExt4 } from "../../dist/disk/ext4/make-ext4.js";
import { ext4Bytes } from "../../dist/disk/ext4/size.js";
import { DiskTools } from "../../dist/disk/tools.js";
import { EntryList } from "../../dist/tar/entry-list.js";

const UUID = "f222513b-ded1-49fa-b591-20ce86a2fe7f";
const ROOT = { uid: 0, gid: 0, uname: "", gname: "" };
const ADDITIONAL_SPACE = 512 * 1024 * 1024;

const [root, file] = process.argv.slice(2);
if (root === undefined || file === undefined) {
  process.stderr.write("usage: make-ext4 DIRECTORY FILE\n");
  process.exitCode = 2;
} else {
  const entries = new EntryList();
  list(entries, Buffer.from(root).toString("latin1"), 0);
  const size = Math.ceil((ext4Bytes(entries) + ADDITIONAL_SPACE) / 2 ** 20) * 2 ** 20;
  const fd = openSync(file, "w");
  ftruncateSync(fd, size);
  closeSync(fd);
  const tools = new DiskTools();
  await makeExt4({ file, offset: 0, size }, entries, { label: "nixos", uuid: UUID }, tools);
  tools.close();
  process.stdout.write(`${size}\n`);
}

/** @param {EntryList} entries @param {string} directory @param {number} depth */
function list(entries, directory, depth) {
  for (const name of readdirSync(Buffer.from(directory, "latin1"), "latin1").sort()) {
    const source = `${directory}/${name}`;
    const path = Buffer.from(source, "latin1");
    const stat = lstatSync(path);
    const type = stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "file";
    entries.append({
      depth,
      name,
      type,
      mode: stat.mode & 0o7777,
      owner: ROOT,
      size: type === "file" ? stat.size : 0,
      linkTarget: type === "symlink" ? readlinkSync(path, "latin1") : "",
      source: depth === 0 ? source : undefined,
    });
    if (type === "directory") list(entries, source, depth + 1);
  }
}
