import { createHash } from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { OciNixError } from "../../core/errors.js";

/** A converted image, open for reading and writing. */
export interface ConvertedImage {
  readonly fd: number;
  /** Bytes */
  readonly size: number;
}

/**
 * Gives a converted image the ids that follow from `seed`, and fixed times and names, in place of those that qemu-img makes up anew each time; what
 * has a checksum gets that, too. Done again with another seed it leaves nothing of the first.
 * @throws OciNixError `unsupported` where the file is not as qemu-img makes it
 */
export type GiveIdentity = (image: ConvertedImage, seed: Uint8Array) => void;

/** `mixed`: the first three fields are little-endian, as Microsoft has them. */
type ByteOrder = "big-endian" | "mixed";

/** A UUID of version 8 that follows from a seed and from what it is for. */
export function uuid(seed: Uint8Array, purpose: string, order: ByteOrder): Buffer {
  const bytes = createHash("sha256").update(`${purpose}\0`).update(seed).digest().subarray(0, 16);
  const version = order === "mixed" ? 7 : 6;
  bytes[version] = ((bytes[version] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}

/** @throws OciNixError `unsupported` past the end of the file */
export function readBytes({ fd, size }: ConvertedImage, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (offset + length > size || readSync(fd, bytes, 0, length, offset) !== length) throw unknownForm("it is too short");
  return bytes;
}

export function writeBytes({ fd }: ConvertedImage, offset: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
}

export function unknownForm(what: string): OciNixError {
  return new OciNixError("unsupported", `what qemu-img made is not of the form that was expected: ${what}`, {
    hint: "its version is not one that was tested; the formats raw and qcow2 do not depend on it",
  });
}
