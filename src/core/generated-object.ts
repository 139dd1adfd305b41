import type { ByteString } from "./byte-string.js";
import type { Ownership } from "./ownership.js";

interface Common {
  /** Absolute, without a slash at the end: `/nix/var/nix/db/schema`. Below an image's root, or a directory that stands for it. */
  readonly path: ByteString;
  /** st_mode & 07777; 0777 for a symlink. */
  readonly mode: number;
  readonly owner: Ownership;
}

/** A file system object that is made, not read: it is nowhere until it lands in an image or a directory. */
export type GeneratedObject = Common &
  (
    | { readonly type: "directory" }
    | { readonly type: "file"; readonly contents: Uint8Array }
    | { readonly type: "symlink"; readonly linkTarget: ByteString }
  );
