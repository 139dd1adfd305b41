import type { ByteString } from "../core/byte-string.js";
import type { Ownership } from "../core/ownership.js";

export type EntryType = "file" | "directory" | "symlink" | SpecialType;
export type SpecialType = "character" | "block" | "fifo";

/** Extended attributes by their whole names. */
export type Xattrs = ReadonlyMap<ByteString, ByteString>;

/** Records one after the other, and what they refer to. */
export interface PackedEntries {
  readonly chunks: readonly Buffer[];
  readonly chunkLengths: readonly number[];
  readonly owners: readonly Ownership[];
  /** By the index of the entry: few have any, so that no record has room for them. */
  readonly xattrs: ReadonlyMap<number, Xattrs>;
}

/**
 * A record: flags (1 byte), mode (2), index of the owner (2), depth (2), length of the name (2); then, where the flags say so, the size
 * (6), the length of the link target (4) and that of the source (4); then name, link target and source or contents.
 */
export const FIXED = 9;
/** Of the flags, the lowest two bits are the type. Of what is {@link SPECIAL} the rest stands where a link target would. */
export const TYPE_MASK = 3;
export const SPECIAL = 3;
export const PLAIN_NAMES = 4;
export const ASCII_SOURCE = 8;
export const HAS_SIZE = 16;
export const HAS_LINK = 32;
export const OWN_SOURCE = 64;
/** The contents stand where the source would: where `OWN_SOURCE` is set, too. */
export const CONTENTS = 128;
export const SIZE_BYTES = 6;
export const LENGTH_BYTES = 4;
export const TYPES: readonly EntryType[] = ["file", "directory", "symlink"];
export const SPECIAL_TYPES: readonly SpecialType[] = ["character", "block", "fifo"];

/** Bytes of what is only there where the flags say so, texts aside. */
export function optionalLength(flags: number): number {
  return (
    (flags & HAS_SIZE ? SIZE_BYTES : 0) +
    (flags & HAS_LINK ? LENGTH_BYTES : 0) +
    (flags & OWN_SOURCE ? LENGTH_BYTES : 0)
  );
}
