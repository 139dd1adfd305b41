import { symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { openForReading, readRange } from "../../core/file-range.js";
import type { Findings } from "../../examine/findings.js";
import type { DiskTools } from "../tools.js";
import { failureOf } from "./failure.js";

/** What a disk image's file is, by its first bytes; what is none of the others is raw. */
export type ImageFormat = "raw" | "qcow2" | "vdi" | "vpc" | "vmdk" | "vhdx";

/** The disk that is in an image's file. */
export interface RawView {
  readonly format: ImageFormat;
  /** The disk, or a copy of it, under a plain name in the tools' directory; undefined where it cannot be had. */
  readonly file: string | undefined;
}

/** The end of a VHD of fixed size, which begins as a raw disk does, is its footer. */
const FOOTER = 512;
const HEAD = 512;

/**
 * Finds out an image's format, has qemu-img check it and gives the disk that is in it. A format of its own is not asked of qemu-img, and an image
 * that says that a part of it is in another file is refused: that may be any file of this machine.
 * @throws OciNixError `not-found`, `unreadable`; as {@link DiskTools.run} where the machine is to blame
 */
export async function viewRaw(path: string, tools: DiskTools, findings: Findings): Promise<RawView> {
  const { format, usesOtherFile, isCutOff } = probe(path);
  // File names have a meaning to some tools: `?offset=` of an ext4 in a file.
  const link = join(tools.directory, "image");
  symlinkSync(resolve(path), link);
  if (format === "raw") return { format, file: link };
  // qemu-img reads zeros there.
  if (isCutOff) findings.add("error", "cut-off", "image", `the end of this ${format} image is missing`);
  const damaged = (code: string, error: unknown) => findings.add("error", code, "image", failureOf(error, tools));
  try {
    if (usesOtherFile || (await hasBackingFile(link, format, tools))) {
      findings.add(
        "error",
        "other-file",
        "image",
        `a part of this ${format} image is in another file, which is not looked at`,
      );
      return { format, file: undefined };
    }
    // It knows no checks for this one.
    if (format !== "vpc") await check(link, format, tools, findings);
  } catch (error) {
    damaged("image-format", error);
  }
  const file = join(tools.directory, "disk");
  try {
    await tools.run("qemu-img", ["convert", "-f", format, "-O", "raw", link, file]);
    return { format, file };
  } catch (error) {
    damaged("image-format", error);
    return { format, file: undefined };
  }
}

interface Probe {
  readonly format: ImageFormat;
  readonly usesOtherFile: boolean;
  readonly isCutOff: boolean;
}

function probe(path: string): Probe {
  const { fd, size, close } = openForReading(path);
  try {
    const head = readRange(fd, { offset: 0, size: Math.min(HEAD, size) }, path);
    const tail = readRange(fd, { offset: Math.max(0, size - FOOTER), size: Math.min(FOOTER, size) }, path);
    const starts = (bytes: Buffer, magic: string, at = 0) => bytes.toString("latin1", at, at + magic.length) === magic;
    const result = { usesOtherFile: false, isCutOff: false };
    if (starts(head, "QFI\xfb")) return { ...result, format: "qcow2", usesOtherFile: qcow2UsesOtherFile(head) };
    if (starts(head, "\x7f\x10\xda\xbe", 64)) return { ...result, format: "vdi", isCutOff: isVdiCutOff(head, size) };
    const hasFooter = starts(tail, "conectix");
    if (hasFooter || starts(head, "conectix")) return { ...result, format: "vpc", isCutOff: !hasFooter };
    if (starts(head, "KDMV")) return { ...result, format: "vmdk" };
    return { ...result, format: starts(head, "vhdxfile") ? "vhdx" : "raw" };
  } finally {
    close();
  }
}

/** Its header says where its blocks begin, how large they are, and how many are in the file. */
function isVdiCutOff(head: Buffer, size: number): boolean {
  if (head.length < HEAD) return true;
  return head.readUInt32LE(344) + head.readUInt32LE(376) * head.readUInt32LE(388) > size;
}

/** To ask qemu-img would have it open that file. */
function qcow2UsesOtherFile(head: Buffer): boolean {
  if (head.length < 104) return false;
  const hasBacking = head.readBigUInt64BE(8) !== 0n;
  const hasFeatures = head.readUInt32BE(4) >= 3;
  const hasDataFile = hasFeatures && (head.readBigUInt64BE(72) & 4n) !== 0n;
  return hasBacking || hasDataFile;
}

async function hasBackingFile(link: string, format: ImageFormat, tools: DiskTools): Promise<boolean> {
  const info = await tools.run("qemu-img", ["info", "--output=json", "-f", format, link]);
  return "backing-filename" in (JSON.parse(info) as object);
}

const CHECK_STATUS = [0, 2, 3];

async function check(link: string, format: ImageFormat, tools: DiskTools, findings: Findings): Promise<void> {
  const words = await tools.run("qemu-img", ["check", "--output=json", "-f", format, link], { okStatus: CHECK_STATUS });
  let counts: Readonly<Record<string, unknown>>;
  try {
    counts = JSON.parse(words) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new OciNixError("invalid-input", "qemu-img check gave no result", { cause });
  }
  const { corruptions = 0, leaks = 0, "check-errors": errors = 0 } = counts;
  if (corruptions !== 0 || errors !== 0) {
    findings.add("error", "image-format", "image", `qemu-img finds ${corruptions} corruptions and ${errors} errors`);
  }
  if (leaks !== 0)
    findings.add("warning", "image-leaks", "image", `qemu-img finds ${leaks} clusters that nothing uses`);
}
