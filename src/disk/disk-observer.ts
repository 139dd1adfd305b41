import type { WriteProgress } from "../core/block-writer.js";

/** Is told what is done while a disk is made. */
export interface DiskObserver {
  /** Counts what is written into the root file system. */
  readonly progress: WriteProgress;
  /** A step begins. */
  onStep(step: string): void;
  /** What a virtual machine's console shows, and what a script of the spec says, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}
