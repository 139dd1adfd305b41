import type { MessagePort } from "node:worker_threads";
import type { Digest } from "../../core/digest.js";
import { type ErrorCode, OciNixError } from "../../core/errors.js";
import type { EntryListParts, Ownership } from "../../tar/entry-list.js";
import type { TarProfile } from "../../tar/profiles.js";
import { type LayerPart, layerParts, type SettledPlan } from "../file-tree.js";

/** Layers are cut into segments of this many bytes (the last one shorter): what one thread generates at a time. */
export const SEGMENT = 512 * 1024;
/** Segments held at once, generated and not yet taken. */
export const SLOTS = 8;
/** Store paths that one thread lists at a time. */
const PART_LENGTH = 16;
/** KiB of file lists held, before listing waits for the writing; one layer's lists may be larger. */
export const MAX_LISTS_KIB = 16 * 1024;

/** Cells of the control array, 32-bit integers that all threads share. */
export const Cell = {
  /** Changes whenever a waiting thread may have something to do. */
  tick: 0,
  /** 1 once everybody shall stop. */
  stop: 1,
  /** Parts of layers that some thread has taken on to list. */
  listing: 2,
  /** KiB of the lists of layers that are not written yet. */
  listsKiB: 3,
  /** Layers, and their segments, that can be generated. */
  publishedLayers: 4,
  publishedSegments: 5,
  /** Segments that some thread has taken on. */
  claimed: 6,
  /** Segments whose bytes have been taken; their slots are free. */
  consumed: 7,
  /** Layers apart that some thread has taken on. */
  digesting: 8,
  /** First of the slots' cells: one more than the segment that it holds. */
  slots: 9,
} as const;

/** A slot's second cell: tar entries that begin in it, for progress. */
export const startedCell = (slot: number): number => Cell.slots + SLOTS + slot;
export const CONTROL_LENGTH = Cell.slots + 2 * SLOTS;

/** Memory that all threads share, as each sees it. */
export interface Shared {
  /** See {@link Cell}. */
  readonly control: Int32Array;
  readonly slots: Buffer;
}

/** What is wanted. */
export interface Work {
  /** Layers whose bytes are wanted, in this order. */
  readonly inTurn: readonly SettledPlan[];
  /** Layers of which only the digest is wanted, in the order in which they are taken on. */
  readonly apart: readonly SettledPlan[];
}

/** What a thread is given: the work, and what decides the bytes. */
export interface WorkerData extends Work {
  readonly control: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly storeRoot: string;
  readonly owner: Ownership;
  readonly profile: TarProfile["name"];
  readonly mtime: number;
  /** Brings a {@link ListedLayer} for each published layer, in order. */
  readonly port: MessagePort;
}

/** A part of a layer: what one thread lists at a time. */
export interface Unit {
  readonly layer: number;
  readonly index: number;
  readonly part: LayerPart;
}

/** All parts of all layers, in order; every thread comes to the same ones. */
export function unitsOf(plans: readonly SettledPlan[], options: Parameters<typeof layerParts>[1]): readonly Unit[] {
  return plans.flatMap((plan, layer) =>
    layerParts(plan, options, PART_LENGTH).map((part, index) => ({ layer, index, part })),
  );
}

/** A layer whose files are listed, from the main thread to the generators. */
export interface ListedLayer {
  readonly lists: readonly EntryListParts[];
  /** As {@link SettledPlan.tarProfile}. */
  readonly tarProfile: string | undefined;
  readonly size: number;
  /** Number of its first segment, counted through all layers. */
  readonly firstSegment: number;
}

/** What hashing a layer gives. */
export interface LayerDigest {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

/** From any thread to the main one. */
export type Report =
  | {
      readonly kind: "listed";
      readonly layer: number;
      readonly part: number;
      readonly list: EntryListParts;
      /** Bytes that the entries take in the archive. */
      readonly size: number;
    }
  | { readonly kind: "digested"; readonly index: number; readonly digest: LayerDigest }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode | undefined;
      readonly message: string;
      readonly hint: string | undefined;
    };

export function segmentsOf(size: number): number {
  return Math.ceil(size / SEGMENT);
}

/** KiB of memory that a list takes. */
export function listKiB(list: EntryListParts): number {
  return Math.ceil(list.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0) / 1024);
}

export function reportOf(error: unknown): Report {
  const known = error instanceof OciNixError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failed", code: known?.code, message, hint: known?.hint };
}

/** Takes on the next of a counted kind of work, if it is free: its number. */
export function claim(control: Int32Array, cell: number, isFree: (claimed: number) => boolean): number | undefined {
  for (;;) {
    const claimed = Atomics.load(control, cell);
    if (!isFree(claimed)) return undefined;
    if (Atomics.compareExchange(control, cell, claimed, claimed + 1) === claimed) return claimed;
  }
}
