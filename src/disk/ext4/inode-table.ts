import { BLOCK, type BlockFile } from "./block-file.js";
import type { BlockGroups } from "./groups.js";
import { INODE_SIZE, settleInode } from "./inode.js";

/** The inode tables of a file system. Inodes that come in ascending order are written a block at once. */
export class InodeTable {
  readonly #file: BlockFile;
  readonly #groups: BlockGroups;
  readonly #block = Buffer.alloc(BLOCK);
  /** The block that is being filled. */
  #at = -1;

  constructor(file: BlockFile, groups: BlockGroups) {
    this.#file = file;
    this.#groups = groups;
  }

  put(inode: number, bytes: Buffer): void {
    const { block, offset } = this.#groups.inodePlace(inode);
    if (block !== this.#at) {
      this.flush();
      this.#file.read(block, 1).copy(this.#block);
      this.#at = block;
    }
    this.#block.set(bytes, offset);
  }

  /** Flush first what was put there. */
  read(inode: number): Buffer {
    const { block, offset } = this.#groups.inodePlace(inode);
    return this.#file.read(block, 1).subarray(offset, offset + INODE_SIZE);
  }

  flush(): void {
    if (this.#at !== -1) this.#file.writeWithin(this.#at, 0, this.#block);
    this.#at = -1;
  }

  /** Takes from the inodes up to this one what depends on when they were made. */
  settleReserved(last: number): void {
    for (let inode = 1; inode <= last; inode++) {
      const { block, offset } = this.#groups.inodePlace(inode);
      const bytes = this.read(inode);
      if (bytes.some((byte) => byte !== 0))
        this.#file.writeWithin(block, offset, settleInode(bytes, inode, this.#groups.seed));
    }
  }
}
