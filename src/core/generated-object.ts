import type { ByteString } from "./byte-string.js";
import type { Ownership } from "./ownership.js";

interface Common {
  /** Absolute, without a slash at the end: `/nix/var/nix/db/schema`. Below an image's root, or a directory that stands for it. */
  readonly path: ByteString;
  /** st_mode & 07777; 0777 for a symlink. */
  readonly mode: number;
  readonly owner: Ownership;
  /** What errors call where it comes from. */
  readonly source?: string;
}

/** A file system object that is not where it is to be: it lands in an image or a directory. */
export type GeneratedObject = Common &
  (
    | {
        readonly type: "directory";
        /**
         * What its mode and owner count for where others have the directory, too: nothing (`none`), or so much that to differ is an error
         * (`firm`). By default they win over what has no rule.
         */
        readonly claim?: "none" | "firm";
      }
    | { readonly type: "file"; readonly contents: Uint8Array }
    /** A copy of a file, which must stay as it is until it is read. `copiedFrom`: the store path that it is in. */
    | { readonly type: "file"; readonly copyOf: ByteString; readonly size: number; readonly copiedFrom?: string }
    | { readonly type: "symlink"; readonly linkTarget: ByteString }
  );

/** The numbers of a device. */
export interface Device {
  readonly major: number;
  readonly minor: number;
}

/** What mknod makes. It lands in images only. */
export type SpecialFile = Common &
  ({ readonly type: "character" | "block"; readonly device: Device } | { readonly type: "fifo" });
