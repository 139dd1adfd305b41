import type { MessagePort } from "node:worker_threads";
import type { Digest } from "../../core/digest.js";
import { type ErrorCode, OciNixError } from "../../core/errors.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { EntryListParts, Ownership } from "../../tar/entry-list.js";
import type { TarProfileName } from "../../tar/profiles.js";

/** Layers are cut into segments of this many bytes (the last one shorter): what one thread generates at a time. */
export const SEGMENT = 512 * 1024;
/** Segments held at once, generated and not yet taken. */
export const SLOTS = 16;
/** KiB of file lists held at most, before listing waits for the writing; one layer's list may be larger. */
export const MAX_LISTS_KIB = 16 * 1024;

/** Cells of the control array, 32-bit integers that all threads share. */
export const Cell = {
  /** Segments that some thread has taken on. */
  claimed: 0,
  /** Segments whose bytes have been taken; their slots are free. */
  consumed: 1,
  /** Layers whose files are listed. */
  listed: 2,
  /** KiB of the lists of layers that are not written yet. */
  listsKiB: 3,
  /** Layers that some digester has taken on. */
  digesting: 5,
  /** 1 once everybody shall stop. */
  stop: 4,
  /** First of the slots' cells: one more than the segment that it holds. */
  slots: 8,
} as const;

/** A slot's second cell: tar entries that begin in it, for progress. */
export const startedCell = (slot: number): number => Cell.slots + SLOTS + slot;
export const CONTROL_LENGTH = Cell.slots + 2 * SLOTS;

/** What decides the bytes of the layers, as it crosses to another thread. */
export interface LayerData {
  readonly storeRoot: string;
  readonly owner: Ownership;
  readonly profile: TarProfileName;
  readonly mtime: number;
}

/** What a digester is given. */
export interface DigesterData extends LayerData {
  readonly role: "digester";
  readonly control: SharedArrayBuffer;
  readonly plans: readonly LayerPlan[];
}

/** What the lister is given. */
export interface ListerData extends LayerData {
  readonly role: "lister";
  readonly control: SharedArrayBuffer;
  readonly plans: readonly LayerPlan[];
  /** One for each generator. */
  readonly ports: readonly MessagePort[];
}

/** What each generator is given. */
export interface GeneratorData {
  readonly role: "generator";
  readonly control: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly profile: TarProfileName;
  readonly mtime: number;
  readonly layers: number;
  readonly port: MessagePort;
}

export type WorkerData = ListerData | GeneratorData | DigesterData;

/** A listed layer, from the lister to the generators. */
export interface ListedLayer {
  readonly entries: EntryListParts;
  readonly size: number;
  /** Number of its first segment, counted through all layers. */
  readonly firstSegment: number;
}

/** From any thread to the main one. */
export type Report =
  | { readonly kind: "listed"; readonly index: number; readonly size: number; readonly listKiB: number }
  | { readonly kind: "digested"; readonly index: number; readonly size: number; readonly digest: Digest }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode | undefined;
      readonly message: string;
      readonly hint: string | undefined;
    };

export function segmentsOf(size: number): number {
  return Math.ceil(size / SEGMENT);
}

export function reportOf(error: unknown): Report {
  const known = error instanceof OciNixError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failed", code: known?.code, message, hint: known?.hint };
}
