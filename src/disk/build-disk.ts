import { statSync } from "node:fs";
import { OciNixError } from "../core/errors.js";
import { publishFile } from "../core/output-file.js";
import { bootEntryFor } from "./boot-entry-for.js";
import { type BootLoaderParts, bootLoaderFor } from "./boot-loader/boot-loader.js";
import { checkDiskConflicts } from "./check-disk-spec.js";
import { Companions, checkNoCompanion, type PublishedImage } from "./companions.js";
import type { DiskObserver } from "./disk-observer.js";
import type { DiskSpec } from "./disk-spec.js";
import { convertImage, type DiskFormat, formatExtension } from "./format/convert.js";
import { type Identifiers, identifiersOf } from "./identifiers.js";
import { checkOutputApart } from "./inputs.js";
import { type InstalledBootLoader, installedBootLoader } from "./installed-boot-loader.js";
import type { DiskLayout, Partition, TableName } from "./layout.js";
import { runPostScript } from "./post-script.js";
import { diskFile, makeRawFile, withName } from "./raw-file.js";
import { makeRootTree } from "./root-tree.js";
import { finalLayout, layoutOf } from "./spec-layout.js";
import { DiskTools } from "./tools.js";
import type { Accelerator } from "./vm/qemu.js";
import { type DiskContents, writeDisk } from "./write-disk.js";

const MIB = 2 ** 20;
const EFI_VARIABLES = "efi-vars.fd";

/** Where a disk image goes, and who is told of it. */
export interface DiskBuildOptions {
  /** The file, which appears whole; in a directory it is called as the spec says. */
  readonly to: string;
  /** Files that are read besides those that the spec names, as the spec itself is: the image takes the place of none of them. */
  readonly inputs?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly observer?: DiskObserver | undefined;
}

/** A disk image that was made, and what came with it. */
export interface DiskSummary {
  /** The image; undefined where `postVM` removed it. */
  readonly file: string | undefined;
  /** What came with it: the variables of UEFI, and what `postVM` left. */
  readonly companions: readonly string[];
  readonly format: DiskFormat;
  readonly partitionTableType: TableName;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Of the file, in bytes. */
  readonly fileSize: number | undefined;
  /** By number; none without a table. */
  readonly partitions: readonly Partition[];
  readonly root: { readonly label: string; readonly uuid: string; readonly entries: number };
  readonly storePaths: number;
  /** What ran the virtual machine, where there was one. */
  readonly accelerator: Accelerator | undefined;
  /** Program → version: what the bytes depend on besides the spec and this program. */
  readonly madeWith: Readonly<Record<string, string>>;
}

/**
 * Makes a disk image. It needs no mount and no rights but to read what goes in, and a virtual machine only for `installBootLoader`.
 * @param spec as `checkDiskSpec` gives it
 * @throws OciNixError for anything wrong with the spec, the closure or the image; `invalid-input` or `limit` for a disk that is too small, `invalid-input`
 *   for an installer or a script that fails; `not-found` for a tool that is not installed; `conflict` where something has the name of what comes with
 *   the image; `usage` where the image would replace what it is made of; `output` where it cannot be written. Then there is no file.
 */
export async function buildDiskImage(spec: DiskSpec, options: DiskBuildOptions): Promise<DiskSummary> {
  checkDiskConflicts(spec, "the disk");
  const { signal } = options;
  const { format = "raw", baseName = "nixos" } = spec;
  const path = diskFile(options.to, `${baseName}.${formatExtension(format)}`);
  checkOutputApart(path, spec, options.inputs);
  if (spec.touchEFIVars === true) checkNoCompanion(path, EFI_VARIABLES);
  const tools = new DiskTools({ signal });
  try {
    return await build(spec, { ...options, path, tools, format });
  } catch (error) {
    throw withName(error, path);
  } finally {
    tools.close();
  }
}

interface Build extends Omit<DiskBuildOptions, "to" | "inputs"> {
  readonly path: string;
  readonly tools: DiskTools;
  readonly format: DiskFormat;
}

async function build(spec: DiskSpec, made: Build): Promise<DiskSummary> {
  const { path, tools, format } = made;
  const { partitionTableType: table = "legacy" } = spec;
  const { label = spec.onlyNixStore === true ? "nix-store" : "nixos" } = spec;
  const ids = identifiersOf(spec);
  // What boots is decided by where partitions begin, not by how large the root file system will be.
  const sketch = layoutOf(spec, ids, { rootBytes: MIB });
  const { root, boot, installed } = await bootable(spec, made, { ids, sketch, label });
  const layout = await finalLayout(spec, ids, root, sketch, tools);
  const contents = { layout, ids, root, label, minimise: spec.minimise, boot };
  const { file, companions } = await published(spec, contents, made, installed?.efiVariables);
  if (file === undefined && companions.length === 0) {
    throw new OciNixError("invalid-input", "postVM removed the image, and left nothing in its place");
  }
  return {
    ...{ file, companions, format, partitionTableType: table, size: layout.size },
    fileSize: file === undefined ? undefined : statSync(path).size,
    partitions: layout.partitions,
    root: { label, uuid: ids.rootUuid, entries: root.entries.count },
    storePaths: root.storePaths,
    accelerator: installed?.accelerator,
    madeWith: Object.fromEntries(tools.versions),
  };
}

interface Bootable extends Pick<DiskContents, "root" | "boot"> {
  readonly installed: InstalledBootLoader | undefined;
}

/** The root file system, and what makes the disk start: ours, or what the system's own installer makes. */
async function bootable(
  spec: DiskSpec,
  { path, tools, signal, observer }: Build,
  planned: { readonly ids: Identifiers; readonly sketch: DiskLayout; readonly label: string },
): Promise<Bootable> {
  const { directory } = tools;
  if (spec.installBootLoader !== true) {
    observer?.onStep("making the boot loader");
    const boot = await bootLoader(spec, planned.sketch, planned.ids, tools);
    observer?.onStep("listing the root file system");
    const root = await makeRootTree(spec, { directory, bootFiles: boot.root, signal });
    return { root, boot, installed: undefined };
  }
  observer?.onStep("listing the root file system");
  const root = await makeRootTree(spec, { directory, signal });
  // A disk that is too small already is not worth a virtual machine.
  await finalLayout(spec, planned.ids, root, planned.sketch, tools);
  const installed = await installedBootLoader({ spec, ...planned, root, path, tools, signal, observer });
  if (installed.root.length === 0) return { root, boot: installed, installed };
  const withBoot = await makeRootTree(spec, { directory, installed: installed.root, signal });
  return { root: withBoot, boot: installed, installed };
}

/** Writes the image, gives it its name, and what comes with it. */
async function published(
  spec: DiskSpec,
  contents: DiskContents,
  made: Build,
  efiVariables: string | undefined,
): Promise<PublishedImage> {
  const { path, tools, signal, observer } = made;
  const { postVM } = spec;
  if (postVM === undefined && efiVariables === undefined) {
    await writeImage(spec, contents, made, path);
    return { file: path, companions: [] };
  }
  const companions = new Companions(path);
  try {
    await writeImage(spec, contents, made, companions.image);
    if (efiVariables !== undefined) companions.add(efiVariables, EFI_VARIABLES);
    if (postVM !== undefined) {
      observer?.onStep("running postVM");
      await runPostScript(postVM, companions, { tools, signal, onLine: observer?.onLine });
    }
    return companions.publish();
  } finally {
    companions.discard();
  }
}

/** @param to where it is whole, or not at all */
async function writeImage(spec: DiskSpec, contents: DiskContents, made: Build, to: string): Promise<void> {
  const { path, tools, format, observer } = made;
  const raw = makeRawFile(path, contents.layout.size);
  try {
    await writeDisk(raw.path, contents, made);
    if (format === "raw") {
      observer?.onStep("finishing");
      await publishFile(raw, to);
    } else {
      observer?.onStep(`converting it to ${format}`);
      const onProgress = (part: number) => {
        if (observer !== undefined) observer.progress.bytes = Math.round(part * contents.layout.size);
      };
      await convertImage(raw.path, to, format, tools, { compression: spec.compression, onProgress });
    }
  } finally {
    raw.discard();
  }
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
