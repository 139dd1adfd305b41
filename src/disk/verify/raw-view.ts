import { statfsSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { openForReading, readRange } from "../../core/file-range.js";
import type { Findings } from "../../examine/findings.js";
import type { DiskTools } from "../tools.js";
import { failureOf, jsonOf } from "./failure.js";

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
 * @throws OciNixError `not-found`, `unreadable`; `output` where there is no room for the disk; as {@link DiskTools.run} where the machine is to blame
 */
export async function viewRaw(
  path: string,
  tools: DiskTools,
  findings: Findings,
  onStep: (step: string) => void,
): Promise<RawView> {
  const { format, usesOtherFile, isCutOff } = probe(path);
  // File names have a meaning to some tools: `?offset=` of an ext4 in a file.
  const link = join(tools.directory, "image");
  symlinkSync(resolve(path), link);
  if (format === "raw") return { format, file: link };
  onStep(`checking the ${format} image`);
  // qemu-img reads zeros there.
  if (isCutOff) findings.add("error", "cut-off", "image", `the end of this ${format} image is missing`);
  const nothing = { format, file: undefined };
  try {
    const { size, hasBackingFile } = usesOtherFile
      ? { size: 0, hasBackingFile: true }
      : await askQemu(link, format, tools);
    if (hasBackingFile) {
      const message = `a part of this ${format} image is in another file, which is not looked at`;
      findings.add("error", "other-file", "image", message);
      return nothing;
    }
    if (size > LARGEST) {
      findings.add("error", "image-format", "image", `it is of a disk of ${size} bytes, which is not looked at`);
      return nothing;
    }
    // It knows no checks for this one.
    if (format !== "vpc") await check(link, format, tools, findings);
    const file = join(tools.directory, "disk");
    onStep("unpacking it");
    await checkRoom(link, format, tools);
    await tools.run("qemu-img", ["convert", "-f", format, "-O", "raw", link, file], { over: link });
    return { format, file };
  } catch (error) {
    findings.add("error", "image-format", "image", failureOf(error, tools));
    return nothing;
  }
}

/** What ext4 has room for. To pass over the holes of larger ones takes long. */
const LARGEST = 2 ** 44;

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
    if (starts(head, "KDMV")) return { ...result, format: "vmdk", usesOtherFile: vmdkUsesOtherFile(head) };
    if (starts(head, "# Disk DescriptorFile")) return { ...result, format: "vmdk", usesOtherFile: true };
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

/** What has no sectors of its own is a list of the files that have them, whichever these are. */
function vmdkUsesOtherFile(head: Buffer): boolean {
  return head.length >= HEAD && head.readBigUInt64LE(12) === 0n;
}

/** A small image can be of a large disk that is full. qemu-img knows of no holes in a vhdx. */
async function checkRoom(link: string, format: ImageFormat, tools: DiskTools): Promise<void> {
  if (format === "vhdx") return;
  const measure = ["measure", "--output=json", "-f", format, "-O", "qcow2", link];
  const words = await tools.run("qemu-img", measure, { over: link });
  const { required } = jsonOf(words, "qemu-img measure") as { readonly required: number };
  const { bavail, bsize } = statfsSync(tools.directory);
  if (required <= bavail * bsize) return;
  throw new OciNixError(
    "output",
    `the disk in this ${format} image takes ${required} bytes, and for temporary files there are ${bavail * bsize}`,
    { hint: "set TMPDIR to a directory with more space" },
  );
}

/** The size of the disk in an image, and whether a part of it is in another file, which is not opened. */
async function askQemu(
  link: string,
  format: ImageFormat,
  tools: DiskTools,
): Promise<{ readonly size: number; readonly hasBackingFile: boolean }> {
  const words = await tools.run("qemu-img", ["info", "--output=json", "-f", format, link]);
  const info = jsonOf(words, "qemu-img info") as Readonly<Record<string, unknown>>;
  return { size: Number(info["virtual-size"]), hasBackingFile: "backing-filename" in info };
}

const CHECK_STATUS = [0, 2, 3];

async function check(link: string, format: ImageFormat, tools: DiskTools, findings: Findings): Promise<void> {
  const words = await tools.run("qemu-img", ["check", "--output=json", "-f", format, link], {
    okStatus: CHECK_STATUS,
    over: link,
  });
  const counts = jsonOf(words, "qemu-img check") as Readonly<Record<string, unknown>>;
  const { corruptions = 0, leaks = 0, "check-errors": errors = 0 } = counts;
  if (corruptions !== 0 || errors !== 0) {
    findings.add("error", "image-format", "image", `qemu-img finds ${corruptions} corruptions and ${errors} errors`);
  }
  if (leaks !== 0)
    findings.add("warning", "image-leaks", "image", `qemu-img finds ${leaks} clusters that nothing uses`);
}
