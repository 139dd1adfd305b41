import { closeSync, openSync, writeSync } from "node:fs";
import { openForReading, readRange } from "../../core/file-range.js";
import type { DiskLayout } from "../layout.js";

/** Code of an MBR; what follows is the disk's identifier and its table. */
const CODE_LENGTH = 440;
const SECTOR = 512;

/** Bytes of a disk that a BIOS starts, and what they load from outside of file systems. */
export type BootCode = readonly { readonly position: number; readonly bytes: Buffer }[];

/**
 * Reads the boot code of a raw disk: that of its MBR, and its BIOS boot partition or, in an MBR, the gap before the first partition. It knows its
 * place by number of sector.
 * @throws OciNixError `unreadable`
 */
export function readBootCode(file: string, { label, partitions }: DiskLayout): BootCode {
  if (label === undefined) return [];
  const reserved = partitions.find(({ role }) => role === "bios-grub");
  const first = Math.min(...partitions.map(({ start }) => start));
  const gap = label === "dos" ? { start: SECTOR, size: first - SECTOR } : reserved;
  const places = [{ start: 0, size: CODE_LENGTH }, ...(gap === undefined ? [] : [gap])];
  const { fd, close } = openForReading(file);
  try {
    return places.flatMap(({ start: position, size }) => {
      const bytes = readRange(fd, { offset: position, size }, file);
      const last = bytes.findLastIndex((byte) => byte !== 0);
      return last === -1 ? [] : [{ position, bytes: bytes.subarray(0, last + 1) }];
    });
  } finally {
    close();
  }
}

/** Writes boot code into a raw disk of the same partitions, whose table is there and whose places for it are empty. */
export function writeBootCode(file: string, code: BootCode): void {
  const fd = openSync(file, "r+");
  try {
    for (const { position, bytes } of code) {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, bytes.length - done, position + done);
      }
    }
  } finally {
    closeSync(fd);
  }
}
