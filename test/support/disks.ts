import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { DiskTools } from "../../src/disk/tools.js";

const open: (() => void)[] = [];

/** Tools and directories of a test file; they are gone after each test. */
export function cleanUpDisks(): void {
  afterEach(() => {
    for (const close of open.splice(0)) close();
  });
}

export function diskTools(signal?: AbortSignal): DiskTools {
  const tools = new DiskTools({ signal });
  open.push(() => tools.close());
  return tools;
}

export function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "oci-nix-disk-"));
  open.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file of a size with nothing in it. */
export function emptyDisk(size: number, file = join(directory(), "disk.img")): string {
  const fd = openSync(file, "w");
  ftruncateSync(fd, size);
  closeSync(fd);
  return file;
}
