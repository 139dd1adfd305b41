import { lstatSync } from "node:fs";
import { fsPath } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import { EntryCursor, type EntryList } from "../../tar/entry-list.js";
import { BLOCK } from "./block-file.js";
import { isZero } from "./file-contents.js";
import type { TreePlan } from "./plan.js";

const SECTORS_PER_BLOCK = 8;

/** What a file system has for a tree. */
interface Room {
  readonly inodes: number;
  readonly blocks: number;
}

/**
 * Refuses a tree that is too large, where that shows without reading files: those with holes may need less than their size says, and are
 * found too large only when they are written.
 * @throws OciNixError `limit`
 */
export function checkRoom(entries: EntryList, plan: TreePlan, room: Room): void {
  if (plan.inodes > room.inodes) {
    throw new OciNixError(
      "limit",
      `the tree has ${plan.inodes} files, and the file system has ${room.inodes} inodes for them`,
      {
        hint: "make it larger",
      },
    );
  }
  const blocks = plan.blocks > room.blocks ? plan.blocks - holesOf(entries) : plan.blocks;
  if (blocks > room.blocks) {
    throw new OciNixError(
      "limit",
      `the tree needs ${blocks * BLOCK} bytes, and the file system has ${room.blocks * BLOCK} for it`,
      {
        hint: `make it larger by ${(blocks - room.blocks) * BLOCK} bytes and what a file system needs to describe them`,
      },
    );
  }
}

/** Blocks of files that take no space where they are now. */
function holesOf(entries: EntryList): number {
  let holes = 0;
  const cursor = new EntryCursor(entries);
  while (cursor.next()) {
    const { type, size, contents, source } = cursor;
    if (type !== "file" || size < BLOCK) continue;
    if (contents !== undefined) {
      for (let at = 0; at < size; at += BLOCK) if (isZero(contents, at)) holes++;
    } else {
      // One that is not there is an error when it is read.
      const stored = lstatSync(fsPath(source), { throwIfNoEntry: false })?.blocks ?? 0;
      holes += Math.max(0, Math.ceil(size / BLOCK) - Math.ceil(stored / SECTORS_PER_BLOCK));
    }
  }
  return holes;
}
