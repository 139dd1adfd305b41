import type { DiskSpec } from "./disk-spec.js";
import { automaticExt4Bytes, leastExt4Bytes } from "./ext4/size.js";
import { type Identifiers, withOwnGuids } from "./identifiers.js";
import { type DiskLayout, planLayout } from "./layout.js";
import type { RootTree } from "./root-tree.js";
import type { DiskTools } from "./tools.js";

const MIB = 2 ** 20;

/** The layout that a spec asks for, for a root file system of a size; on a disk of a size, where it has one. */
export function layoutOf(
  spec: DiskSpec,
  ids: Identifiers,
  size: { readonly rootBytes: number; readonly diskBytes?: number | undefined },
): DiskLayout {
  const { partitionTableType: table = "legacy", bootSize: bootEnd } = spec;
  return withOwnGuids(planLayout({ table, bootEnd, ...size, rootGuid: ids.rootGuid, diskGuid: ids.diskGuid }), spec);
}

/** A layout with the identifiers of another one of the same spec, which may be made anew each time. */
export function withUuidsOf(sketch: DiskLayout, layout: DiskLayout): DiskLayout {
  const partitions = layout.partitions.map((each, i) => ({ ...each, uuid: sketch.partitions[i]?.uuid ?? each.uuid }));
  return { ...layout, partitions };
}

/** The layout of the whole disk. @param sketch a layout of the spec with the identifiers that the disk is to have */
export async function finalLayout(
  spec: DiskSpec,
  ids: Identifiers,
  { entries, links }: RootTree,
  sketch: DiskLayout,
  tools: DiskTools,
): Promise<DiskLayout> {
  const { diskSize = "auto", minimise = false, additionalSpace = minimise ? 0 : 512 * MIB } = spec;
  const isFixed = diskSize !== "auto";
  const rootBytes =
    isFixed || minimise
      ? (await leastExt4Bytes(entries, tools, links)) + (isFixed ? 0 : additionalSpace)
      : await automaticExt4Bytes(entries, additionalSpace, tools, links);
  return withUuidsOf(sketch, layoutOf(spec, ids, { rootBytes, ...(isFixed ? { diskBytes: diskSize } : {}) }));
}
