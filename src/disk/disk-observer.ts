import type { WriteProgress } from "../core/block-writer.js";

/** Told how far a disk image is. */
export interface DiskObserver {
  /** Counts what is written into the root file system, and what of the disk is converted. */
  readonly progress: WriteProgress;
  /** A step begins. */
  onStep(step: string): void;
  /** What a virtual machine's console shows, and what a script of the spec says, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}
