import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { readPieces } from "../../core/file-range.js";
import { createFile, publishFile } from "../../core/output-file.js";
import type { DiskTools } from "../tools.js";
import type { GiveIdentity } from "./identity.js";
import { identifyVdi } from "./vdi.js";
import { identifyVhdx } from "./vhdx.js";
import { identifyVmdk } from "./vmdk.js";
import { identifyVpc } from "./vpc.js";

interface Conversion {
  /** What qemu-img calls the format, and what it is told besides. */
  readonly args: readonly string[];
  /** What make-disk-image's file names end in; `.img` is its name for raw. */
  readonly extension: string;
  /** Absent where qemu-img makes up nothing. */
  readonly identify?: GiveIdentity;
}

const CONVERSIONS = {
  raw: { args: ["raw"], extension: "img" },
  qcow2: { args: ["qcow2"], extension: "qcow2" },
  "qcow2-compressed": { args: ["qcow2", "-c"], extension: "qcow2" },
  vdi: { args: ["vdi"], extension: "vdi", identify: identifyVdi },
  // Else the disk grows to a number of whole cylinders, and its second GPT is not at its end.
  vpc: { args: ["vpc", "-o", "force_size=on"], extension: "vhd", identify: identifyVpc },
  vmdk: { args: ["vmdk"], extension: "vmdk", identify: identifyVmdk },
  vhdx: { args: ["vhdx"], extension: "vhdx", identify: identifyVhdx },
} as const satisfies Readonly<Record<string, Conversion>>;

export type DiskFormat = keyof typeof CONVERSIONS;

export const DISK_FORMATS = Object.keys(CONVERSIONS) as readonly DiskFormat[];

/** What the name of a file of this format ends in, without a dot. */
export function formatExtension(format: DiskFormat): string {
  return CONVERSIONS[format].extension;
}

export interface ConvertOptions {
  /** Of qcow2-compressed; zlib, which all readers know, by default. */
  readonly compression?: "zlib" | "zstd" | undefined;
  /** Is told which part of the disk is done, from 0 to 1. */
  readonly onProgress?: ((part: number) => void) | undefined;
}

/**
 * Makes a disk image of a raw one, which stays. Its bytes depend on the disk's contents alone: ids are made from them. The file is whole, or not there
 * at all; what is empty on the disk takes no space.
 * @param to the image's file; one that is there is replaced
 * @throws OciNixError `not-found`, `output`; `unsupported` where qemu-img's result is of an unknown form; as {@link DiskTools.run}
 */
export async function convertImage(
  raw: string,
  to: string,
  format: DiskFormat,
  tools: DiskTools,
  { compression, onProgress }: ConvertOptions = {},
): Promise<void> {
  const { args, identify }: Conversion = CONVERSIONS[format];
  const type =
    format === "qcow2-compressed" && compression !== undefined ? ["-o", `compression_type=${compression}`] : [];
  const file = createFile(dirname(resolve(to)));
  try {
    const onOutput = (text: string) => {
      const percent = /([\d.]+)\/100%/.exec(text)?.[1];
      if (percent !== undefined) onProgress?.(Number(percent) / 100);
    };
    const convert = ["convert", "-p", "-f", "raw", "-O", ...args, ...type, resolve(raw), file.path];
    await tools.run("qemu-img", convert, { over: raw, onOutput });
    if (identify !== undefined) await giveIdentity(file.path, identify);
    await publishFile(file, resolve(to));
  } finally {
    file.discard();
  }
}

async function giveIdentity(path: string, identify: GiveIdentity): Promise<void> {
  const fd = openSync(path, "r+");
  try {
    const image = { fd, size: fstatSync(fd).size };
    identify(image, new Uint8Array());
    const hash = createHash("sha256");
    for await (const piece of readPieces(fd, path)) hash.update(piece);
    identify(image, hash.digest());
  } finally {
    closeSync(fd);
  }
}
