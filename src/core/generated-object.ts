import type { ByteString } from "./byte-string.js";

/** placeholder until merged */
export interface GeneratedObject {
  readonly path: ByteString;
  readonly type: "file" | "directory" | "symlink";
  readonly mode: number;
  readonly owner: {
    readonly uid: number;
    readonly gid: number;
    readonly uname: ByteString;
    readonly gname: ByteString;
  };
  readonly contents: Uint8Array;
  readonly linkTarget: ByteString;
}
