import type { ByteString } from "./byte-string.js";

/** Who a file system object belongs to. */
export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  /** UTF-8. */
  readonly uname: ByteString;
  readonly gname: ByteString;
}
