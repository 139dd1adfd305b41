import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { hexSha256 } from "./confs.js";

/** All below a directory, one line each; names of one file are told by the first of them. */
export function listing(root: string): readonly string[] {
  const lines: string[] = [];
  const inodes = new Map<number, string>();
  // Names are bytes.
  const at = (path: string) => Buffer.from(join(root, path), "latin1");
  const visit = (directory: string): void => {
    for (const name of readdirSync(at(directory), "latin1").sort()) {
      const path = join(directory, name);
      const stat = lstatSync(at(path));
      const owner = `${stat.uid}:${stat.gid} ${(stat.mode & 0o7777).toString(8)}`;
      const first = inodes.get(stat.ino) ?? path;
      inodes.set(stat.ino, first);
      if (stat.isDirectory()) {
        lines.push(`${path}/ ${owner}`);
        visit(path);
      } else if (stat.isSymbolicLink()) {
        lines.push(`${path} ${stat.uid}:${stat.gid} -> ${readlinkSync(at(path))}`);
      } else {
        const contents = stat.isFile() ? hexSha256(readFileSync(at(path))) : "FIFO";
        lines.push(`${path} ${owner} ${stat.mtimeMs} (${first}) ${contents}`);
      }
    }
  };
  visit("");
  return lines;
}
