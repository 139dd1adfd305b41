import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { EntryList } from "../../tar/entry-list.js";
import { makeExt4 } from "../ext4/make-ext4.js";
import { leastExt4Bytes } from "../ext4/size.js";
import type { DiskTools } from "../tools.js";
import { readChanges, type TreeChanges } from "./changes.js";
import { makeGuestDisk } from "./guest-disk.js";
import { type Job, type JobResult, runJob } from "./run-job.js";

export interface RootRun extends Pick<Job, "script" | "deadlineMs" | "system" | "accelerators" | "signal" | "onLine"> {
  /** All that the script finds at its start, the store paths that it needs included. */
  readonly tree: EntryList;
  /** Default: 512. */
  readonly memoryMiB?: number | undefined;
  /** Room for what the script writes. Default: 1024. */
  readonly diskMiB?: number | undefined;
}

export interface RootRunResult extends TreeChanges, Omit<JobResult, "status"> {}

const DEFAULT_MEMORY_MIB = 512;
const DEFAULT_DISK_MIB = 1024;
const MIB = 1024 * 1024;
const UUID = "00000000-0000-4000-8000-000000000000";
const LAST_LINES = 10;

/**
 * Runs a script as root in a virtual machine, in a tree that it may change, and gives what it changed. Files with the contents of changed files
 * are in the tools' directory. Not kept are times, sockets, extended attributes, hard links (each is a file of its own), and what is in
 * `/dev`, `/proc`, `/sys` and `/tmp`.
 * @throws OciNixError as {@link runJob}, `makeExt4` and {@link readChanges}; `invalid-input` where the script fails, with its last lines
 */
export async function runAsRoot(run: RootRun, tools: DiskTools): Promise<RootRunResult> {
  const { tree, memoryMiB = DEFAULT_MEMORY_MIB, diskMiB = DEFAULT_DISK_MIB, ...job } = run;
  const directory = mkdtempSync(join(tools.directory, "run-as-root-"));
  const at = (name: string) => join(directory, name);
  const lower = { file: at("lower.img"), offset: 0, size: await leastExt4Bytes(tree, tools) };
  const upper = { file: at("upper.img"), offset: 0, size: diskMiB * MIB };
  // An archive has less around each file than a file system, but its files have no holes.
  const archive = { file: at("changes.tar"), offset: 0, size: 2 * diskMiB * MIB };
  for (const { file, size } of [lower, upper, archive]) makeGuestDisk(file, size);
  const options = { uuid: UUID, signal: run.signal };
  await makeExt4(lower, tree, { ...options, label: "lower", minimise: true }, tools);
  await makeExt4(upper, new EntryList(), { ...options, label: "upper" }, tools);
  const { status, log, accelerator, seconds } = await runJob(
    {
      ...job,
      memoryMiB,
      disks: [lower, upper, archive].map(({ file }) => ({ file, access: "write" })),
      mounts: [{ device: "/dev/vda", at: "/", type: "ext4", access: "write" }],
      changes: { upper: "/dev/vdb", archive: "/dev/vdc" },
    },
    tools,
  );
  if (status !== 0) {
    const last = log.trimEnd().split("\n").slice(-LAST_LINES).join("\n");
    throw new OciNixError(
      "invalid-input",
      `the script that runs as root failed (exit ${status}); its last lines:\n${last}`,
    );
  }
  return { ...(await readChanges(archive.file, tree, at("changes"))), log, accelerator, seconds };
}
