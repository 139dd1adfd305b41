import { readRange } from "../../core/file-range.js";
import type { Region } from "../region.js";

/** What else may be in a partition of Linux, and the bytes that show it. */
const KINDS: readonly { readonly name: string; readonly at: number; readonly magic: string }[] = [
  { name: "XFS", at: 0, magic: "XFSB" },
  { name: "Btrfs", at: 0x10040, magic: "_BHRfS_M" },
  { name: "F2FS", at: 1024, magic: "\x10\x20\xf5\xf2" },
  { name: "SquashFS", at: 0, magic: "hsqs" },
  { name: "LUKS", at: 0, magic: "LUKS\xba\xbe" },
  { name: "LVM", at: 512, magic: "LABELONE" },
  { name: "swap", at: 4086, magic: "SWAPSPACE2" },
];

/** What is in a region that is no file system that is looked into, by its first bytes; undefined where that is unknown. */
export function otherContentAt(fd: number, { file, offset, size }: Region): string | undefined {
  return KINDS.find(({ at, magic }) => {
    if (at + magic.length > size) return false;
    return readRange(fd, { offset: offset + at, size: magic.length }, file).equals(Buffer.from(magic, "latin1"));
  })?.name;
}
