import { createHash } from "node:crypto";
import { type Digest, hexOf } from "../core/digest.js";

export interface LayerEntry {
  /** Digest of everything that decides the layer's bytes. */
  readonly key: Digest;
  /** Of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** For people: what the layer holds. */
  readonly title: string;
}

export interface BlobEntry {
  readonly diffId: Digest;
  readonly codec: string;
  /** Of the packed bytes. */
  readonly digest: Digest;
  readonly size: number;
}

/** A row of a table, as it was found: anything may be in it. */
export type Row = Readonly<Record<string, unknown>>;

/** The text as it is after it was stored: lone surrogates have no UTF-8. */
export function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

/** Undefined where the row is not as it was written. */
export function layerOf(row: Row): LayerEntry | undefined {
  const { size, title } = row;
  const key = digestOf(row.key);
  const diffId = digestOf(row.diff_id);
  if (key === undefined || diffId === undefined || !isSize(size) || typeof title !== "string") return undefined;
  const entry = { key, diffId, size, title };
  return isChecksum(row.checksum, layerChecksum(entry)) ? entry : undefined;
}

/** Undefined where the row is not as it was written. */
export function blobOf(row: Row): BlobEntry | undefined {
  const { size, codec } = row;
  const diffId = digestOf(row.diff_id);
  const digest = digestOf(row.digest);
  if (diffId === undefined || digest === undefined || !isSize(size) || typeof codec !== "string") return undefined;
  const entry = { diffId, codec, digest, size };
  return isChecksum(row.checksum, blobChecksum(entry)) ? entry : undefined;
}

/** Of all that a row says, besides its last use. */
export function layerChecksum({ key, diffId, size, title }: LayerEntry): Buffer {
  return checksum(["layer", key, diffId, size, title]);
}

/** Of all that a row says, besides its last use. */
export function blobChecksum({ diffId, codec, digest, size }: BlobEntry): Buffer {
  return checksum(["blob", diffId, codec, digest, size]);
}

function checksum(values: readonly (string | number)[]): Buffer {
  return createHash("sha256").update(JSON.stringify(values)).digest().subarray(0, 16);
}

function isChecksum(value: unknown, expected: Buffer): boolean {
  return Buffer.isBuffer(value) && value.equals(expected);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function digestOf(value: unknown): Digest | undefined {
  return Buffer.isBuffer(value) && value.length === 32 ? `sha256:${value.toString("hex")}` : undefined;
}

/** A digest as it is stored. */
export function bytesOf(digest: Digest): Buffer {
  return Buffer.from(hexOf(digest), "hex");
}
