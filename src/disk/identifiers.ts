import { createHash, randomUUID } from "node:crypto";
import type { DiskSpec } from "./disk-spec.js";
import type { DiskLayout } from "./layout.js";

/** What make-disk-image calls the root partition and its file system. */
const ROOT_GUID = "f222513b-ded1-49fa-b591-20ce86a2fe7f";

/** What tells a disk from others. */
export interface Identifiers {
  readonly rootGuid: string;
  /** Of the root file system, in lower case. */
  readonly rootUuid: string;
  /** By default always the same. */
  readonly diskGuid?: string | undefined;
}

export function identifiersOf({ rootGPUID, rootFSUID, deterministic = true }: DiskSpec): Identifiers {
  const rootGuid = rootGPUID ?? (deterministic ? ROOT_GUID : randomUUID());
  const rootUuid = (rootFSUID ?? rootGuid).toLowerCase();
  return { rootGuid, rootUuid, ...(deterministic ? {} : { diskGuid: randomUUID() }) };
}

/** Gives partitions that nobody named a GUID of their own, on disks that are not always to be the same. */
export function withOwnGuids(layout: DiskLayout, { deterministic = true }: DiskSpec): DiskLayout {
  if (deterministic || layout.label !== "gpt") return layout;
  const own = (partition: DiskLayout["partitions"][number]) =>
    partition.role === "root" ? partition : { ...partition, uuid: randomUUID().toUpperCase() };
  return { ...layout, partitions: layout.partitions.map(own) };
}

/** The id of a FAT volume: eight hexadecimal digits that follow from the root file system's UUID. */
export function volumeId(rootUuid: string, role: string): string {
  return createHash("sha256").update(`${rootUuid} ${role}`).digest("hex").slice(0, 8);
}
