import type { BootLoaderParts } from "./boot-loader/boot-loader.js";
import type { DiskObserver } from "./disk-observer.js";
import { makeExt4 } from "./ext4/make-ext4.js";
import { makeFat } from "./fat.js";
import { type Identifiers, volumeId } from "./identifiers.js";
import { type DiskLayout, type Partition, partitionRegion, rootRegion } from "./layout.js";
import type { RootTree } from "./root-tree.js";
import { writeTable } from "./table.js";
import type { DiskTools } from "./tools.js";

/** All that is on a disk. */
export interface DiskContents {
  readonly layout: DiskLayout;
  readonly ids: Identifiers;
  readonly root: RootTree;
  /** Of the root file system. */
  readonly label: string;
  /** As for `makeExt4`. */
  readonly minimise?: boolean | undefined;
  /** The files that are in `root` already count for nothing. */
  readonly boot: Omit<BootLoaderParts, "root">;
}

/** FAT file systems by the role of their partition. */
const VOLUMES: Readonly<
  Partial<Record<Partition["role"], { readonly label: string; readonly title: string; readonly files: "esp" | "boot" }>>
> = {
  esp: { label: "ESP", title: "EFI system partition", files: "esp" },
  boot: { label: "BOOT", title: "boot partition", files: "boot" },
  xbootldr: { label: "BOOT", title: "boot partition", files: "boot" },
};

/**
 * Writes all that is on a disk.
 * @param file of the disk's size, and empty
 * @throws OciNixError as `writeTable`, `makeExt4` and `makeFat`
 */
export async function writeDisk(
  file: string,
  { layout, ids, root, label, minimise, boot }: DiskContents,
  {
    tools,
    signal,
    observer,
  }: {
    readonly tools: DiskTools;
    readonly signal?: AbortSignal | undefined;
    readonly observer?: DiskObserver | undefined;
  },
): Promise<void> {
  const step = (name: string) => observer?.onStep(name);
  step("writing the partition table");
  await writeTable(file, layout, tools);
  step("writing the root file system");
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
