import { statSync } from "node:fs";
import { dirname } from "node:path";
import type { WriteProgress } from "../core/block-writer.js";
import { syncDirectory, syncFile } from "../core/output-file.js";
import { bootEntryFor } from "./boot-entry-for.js";
import { type BootLoaderParts, bootLoaderFor } from "./boot-loader/boot-loader.js";
import { checkDiskConflicts, type DiskSpec } from "./disk-spec.js";
import { makeExt4 } from "./ext4/make-ext4.js";
import { ext4Bytes, leastExt4Bytes } from "./ext4/size.js";
import { makeFat } from "./fat.js";
import { convertImage, type DiskFormat, formatExtension } from "./format/convert.js";
import { type Identifiers, identifiersOf, volumeId, withOwnGuids } from "./identifiers.js";
import { type DiskLayout, type Partition, partitionRegion, planLayout, rootRegion, type TableName } from "./layout.js";
import { diskFile, makeRawFile, withName } from "./raw-file.js";
import { makeRootTree, type RootTree } from "./root-tree.js";
import { writeTable } from "./table.js";
import { DiskTools } from "./tools.js";

const MIB = 2 ** 20;

/** Where a disk image goes, and who is told of it. */
export interface DiskBuildOptions {
  /** The file, which appears whole; in a directory it is called as the spec says. */
  readonly to: string;
  readonly signal?: AbortSignal | undefined;
  readonly observer?: DiskObserver | undefined;
}

export interface DiskObserver {
  /** Counts what is written into the root file system, and what of the disk is converted. */
  readonly progress: WriteProgress;
  /** A step begins. */
  onStep(step: string): void;
}

/** What was made. */
export interface DiskSummary {
  readonly file: string;
  readonly format: DiskFormat;
  readonly partitionTableType: TableName;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Of the file, in bytes. */
  readonly fileSize: number;
  /** By number; none without a table. */
  readonly partitions: readonly Partition[];
  readonly root: { readonly label: string; readonly uuid: string; readonly entries: number };
  readonly storePaths: number;
  /** Program → version: what the bytes depend on besides the spec and this program. */
  readonly madeWith: Readonly<Record<string, string>>;
}

/**
 * Makes a disk image. It needs no virtual machine, no mount and no rights but to read what goes in.
 * @param spec as `checkDiskSpec` gives it
 * @throws OciNixError for anything wrong with the spec, the closure or the image; `invalid-input` or `limit` for a disk that is too small;
 *   `not-found` for a tool that is not installed; `output` where it cannot be written. Then there is no file.
 */
export async function buildDiskImage(spec: DiskSpec, options: DiskBuildOptions): Promise<DiskSummary> {
  checkDiskConflicts(spec, "the disk");
  const { signal } = options;
  const { format = "raw", baseName = "nixos" } = spec;
  const path = diskFile(options.to, `${baseName}.${formatExtension(format)}`);
  const tools = new DiskTools({ signal });
  try {
    return await build(spec, { ...options, path, tools, format });
  } catch (error) {
    throw withName(error, path);
  } finally {
    tools.close();
  }
}

interface Build extends Omit<DiskBuildOptions, "to"> {
  readonly path: string;
  readonly tools: DiskTools;
  readonly format: DiskFormat;
}

interface DiskPlan extends Pick<Build, "tools" | "signal" | "observer"> {
  readonly spec: DiskSpec;
  readonly layout: DiskLayout;
  readonly boot: BootLoaderParts;
  readonly ids: Identifiers;
  readonly root: RootTree;
  /** Of the root file system. */
  readonly label: string;
}

async function build(spec: DiskSpec, { path, tools, format, signal, observer }: Build): Promise<DiskSummary> {
  const { partitionTableType: table = "legacy" } = spec;
  const { label = spec.onlyNixStore === true ? "nix-store" : "nixos" } = spec;
  const step = (name: string) => observer?.onStep(name);
  const ids = identifiersOf(spec);
  // What boots is decided by where partitions begin, not by how large the root file system will be.
  const sketch = layoutOf(spec, ids, { rootBytes: MIB });
  step("making the boot loader");
  const boot = await bootLoader(spec, sketch, ids, tools);
  step("listing the root file system");
  const root = await makeRootTree(spec, {
    directory: tools.directory,
    bootFiles: boot.root,
    signal,
  });
  const layout = await finalLayout(spec, ids, root, sketch, tools);
  const raw = makeRawFile(path, layout.size);
  try {
    await fill(raw.path, { ...{ spec, layout, boot, ids, root, label }, tools, signal, observer });
    if (format === "raw") {
      step("finishing");
      await syncFile(raw.fd, path);
      raw.commit(path);
      syncDirectory(dirname(path));
    } else {
      step(`converting it to ${format}`);
      const onProgress = (part: number) => {
        if (observer !== undefined) observer.progress.bytes = Math.round(part * layout.size);
      };
      await convertImage(raw.path, path, format, tools, { compression: spec.compression, onProgress });
    }
  } finally {
    raw.discard();
  }
  return {
    ...{ file: path, format, partitionTableType: table, size: layout.size },
    fileSize: statSync(path).size,
    partitions: layout.partitions,
    root: { label, uuid: ids.rootUuid, entries: root.entries.count },
    storePaths: root.storePaths,
    madeWith: Object.fromEntries(tools.versions),
  };
}

/** Writes all that is on the disk. @param file of the disk's size, and empty */
async function fill(file: string, { tools, signal, observer, ...plan }: DiskPlan): Promise<void> {
  const { spec, layout, boot, ids, root, label } = plan;
  const step = (name: string) => observer?.onStep(name);
  step("writing the partition table");
  await writeTable(file, layout, tools);
  step("writing the root file system");
  const { minimise } = spec;
  const ext4 = { label, uuid: ids.rootUuid, minimise, links: root.links, signal, progress: observer?.progress };
  await makeExt4(rootRegion(file, layout), root.entries, ext4, tools);
  for (const partition of layout.partitions) {
    const volume = VOLUMES[partition.role];
    if (volume === undefined) continue;
    step(`writing the ${volume.title}`);
    const fat = { label: volume.label, id: volumeId(ids.rootUuid, partition.role) };
    await makeFat(partitionRegion(file, partition), boot[volume.files], fat, tools);
  }
  boot.embed?.(file);
}

/** FAT file systems by the role of their partition. */
const VOLUMES: Readonly<
  Partial<Record<Partition["role"], { readonly label: string; readonly title: string; readonly files: "esp" | "boot" }>>
> = {
  esp: { label: "ESP", title: "EFI system partition", files: "esp" },
  boot: { label: "BOOT", title: "boot partition", files: "boot" },
  xbootldr: { label: "BOOT", title: "boot partition", files: "boot" },
};

function layoutOf(
  spec: DiskSpec,
  ids: Identifiers,
  size: { readonly rootBytes: number; readonly diskBytes?: number | undefined },
): DiskLayout {
  const { partitionTableType: table = "legacy", bootSize: bootEnd } = spec;
  return withOwnGuids(planLayout({ table, bootEnd, ...size, rootGuid: ids.rootGuid, diskGuid: ids.diskGuid }), spec);
}

/** The layout of the whole disk. */
async function finalLayout(
  spec: DiskSpec,
  ids: Identifiers,
  { entries, links }: RootTree,
  sketch: DiskLayout,
  tools: DiskTools,
): Promise<DiskLayout> {
  const { diskSize = "auto", minimise = false, additionalSpace = minimise ? 0 : 512 * MIB } = spec;
  const isFixed = diskSize !== "auto";
  const least = isFixed || minimise;
  const rootBytes =
    (least ? await leastExt4Bytes(entries, tools, links) : ext4Bytes(entries)) + (isFixed ? 0 : additionalSpace);
  const layout = layoutOf(spec, ids, { rootBytes, ...(isFixed ? { diskBytes: diskSize } : {}) });
  // Identifiers stay, where they are made anew each time.
  const partitions = layout.partitions.map((each, i) => ({ ...each, uuid: sketch.partitions[i]?.uuid ?? each.uuid }));
  return { ...layout, partitions };
}

async function bootLoader(
  spec: DiskSpec,
  layout: DiskLayout,
  { rootUuid }: Identifiers,
  tools: DiskTools,
): Promise<BootLoaderParts> {
  const { kind = "none" } = spec.bootLoader ?? {};
  if (kind === "none") return { root: [], esp: [], boot: [], embed: undefined };
  const entry = bootEntryFor(spec, layout, rootUuid);
  return await bootLoaderFor(layout, { ...spec.bootLoader, kind, entry, rootUuid }, tools);
}
