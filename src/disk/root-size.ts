import type { EntryList } from "../tar/entry-list.js";
import { planTree } from "./ext4/plan.js";

const BLOCK = 4096;
const MIB = 2 ** 20;

/** Bytes of a root file system that holds a tree, by make-disk-image's formula. */
export function ext4Bytes(
  entries: EntryList,
  { minimise = false, additionalSpace = 0 }: { readonly minimise?: boolean; readonly additionalSpace?: number },
): number {
  const { inodes, blocks } = planTree(entries);
  if (minimise) return Math.ceil(((blocks + inodes / 16) * BLOCK + 64 * MIB) / MIB) * MIB;
  return Math.ceil(((blocks + 2 * inodes) * BLOCK * 1.052) / MIB) * MIB + additionalSpace;
}
