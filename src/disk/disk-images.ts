import type { RootRunner } from "../build/customisation/root-script.js";
import type { DiskBuildOptions, DiskSummary } from "./build-disk.js";
import type { DiskSpec } from "./disk-spec.js";
import type { VerifiedImage, VerifyDiskOptions } from "./verify-image.js";

// What this room does is loaded when it is asked for: most runs make no disk, and a third of all modules are here.

/** As `buildDiskImage` of `build-disk`. */
export async function buildDiskImage(spec: DiskSpec, options: DiskBuildOptions): Promise<DiskSummary> {
  return await (await import("./build-disk.js")).buildDiskImage(spec, options);
}

/** As `verifyDiskImage` of `verify-image`. */
export async function verifyDiskImage(file: string, options: VerifyDiskOptions = {}): Promise<VerifiedImage> {
  return await (await import("./verify-image.js")).verifyDiskImage(file, options);
}

/** As `runInVirtualMachine` of `vm/root-runner`. */
export const runInVirtualMachine: RootRunner = async (run) =>
  await (await import("./vm/root-runner.js")).runInVirtualMachine(run);
