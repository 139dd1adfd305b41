import { lstatSync } from "node:fs";
import type { BlobSource } from "../core/blob.js";
import { type ByteString, displayBytes, fsPath } from "../core/byte-string.js";
import type { Compression, CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { type LayerPlan, storePathsOf } from "../layers/plan.js";
import type { Closure } from "../nix/closure.js";
import type { StorePath } from "../nix/store-path.js";
import type { Descriptor } from "../oci/manifest.js";
import type { TransportName } from "../transport/transport.js";
import { type FileTreeOptions, rootPrefix, type SettledPlan } from "./file-tree.js";
import type { LayerDigest } from "./pipeline/shared.js";

/** A layer of an image before anything of it is read: to be made from the store, or at hand already. */
export type PlannedLayer =
  | {
      readonly kind: "store";
      readonly plan: SettledPlan;
      /** Sum of the NAR sizes, where known: about what there is to read. */
      readonly narSize?: number | undefined;
      /** What somebody recorded for it, if it must be that. */
      readonly recorded?: RecordedLayer | undefined;
      /** Digest of everything that decides its bytes, where that is all immutable: the digest cache knows the layer by it. */
      readonly key?: Digest | undefined;
      /** What is known of its store paths, where that is more than the Nix database may know. */
      readonly objects?: Closure["objects"] | undefined;
    }
  | {
      readonly kind: "ready";
      /** The layer, or what gets it ready when its turn comes. */
      readonly blob: BlobSource | (() => Promise<BlobSource>);
      /** How the blob is packed; by default not at all. */
      readonly compression?: CompressionName;
      /** SHA-256 of the unpacked tar, where the blob is packed. */
      readonly diffId?: Digest;
      /** Of the blob, where it is known. */
      readonly descriptor?: Descriptor | undefined;
      /** What the history says it holds. */
      readonly paths: readonly string[];
    };

/** What a layer was when somebody looked before. */
export interface RecordedLayer extends LayerDigest {
  /** Drops the record; there where it is the digest cache's. */
  readonly forget?: () => void;
}

/** How a docker-archive is written by whoever streams it. */
export interface ArchiveForm {
  /** Of the archive as a whole; undefined for none. */
  readonly compression: Exclude<CompressionName, "none"> | undefined;
  /** Whether it has `repositories`, as archives of Docker before 1.10 have. */
  readonly repositories: boolean;
}

/** Everything that decides an image's bytes, decided. */
export interface ImagePlan {
  /** `name:tag` each. */
  readonly repoTags: readonly string[];
  /** Bottom first. */
  readonly layers: readonly PlannedLayer[];
  readonly files: Omit<FileTreeOptions, "signal">;
  /** Modification time of every entry, in seconds. */
  readonly mtime: number;
  /** Where its lowest layers come from, if it is made on top of another image. */
  readonly base?: TransportName | undefined;
  /** How layers made from the store are to be packed, where somebody said so. */
  readonly compression?: Compression | undefined;
  /** By default not packed, and without `repositories`. */
  readonly archive?: ArchiveForm | undefined;
  /** The image config's bytes, from the diffIDs of {@link layers}. */
  formatConfig(diffIds: readonly Digest[]): string;
  /** Gives back open files. */
  close(): void;
}

/** What a layer holds, as its history entry says it. */
export function pathsOf(layer: PlannedLayer): readonly string[] {
  return layer.kind === "store" ? storePathsOf(layer.plan) : layer.paths;
}

/** Sum of the NAR sizes of what a layer holds, in bytes; undefined where one is unknown. */
export function narSizeOf(plan: LayerPlan, closure: Closure): number | undefined {
  let sum = 0;
  for (const { storePath } of plan.contents) {
    const size = closure.objects.get(storePath)?.narSize;
    if (size === undefined) return undefined;
    sum += size;
  }
  return sum;
}

const SHOWN = 5;

/**
 * Checks that every store path to be read is there, so that a missing one is found before the first byte goes out.
 * @throws OciNixError `not-found` naming the first few; `unreadable` where one cannot be looked at
 */
export function checkStorePathsExist(plans: readonly LayerPlan[], storeRoot: string): void {
  const missing: StorePath[] = [];
  const prefix = rootPrefix(storeRoot);
  for (const plan of plans) {
    for (const storePath of storePathsOf(plan)) {
      if (!isThere(prefix + storePath)) missing.push(storePath);
    }
  }
  if (missing.length === 0) return;
  const shown = missing.slice(0, SHOWN).join(", ");
  const more = missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : "";
  const where = prefix === "" ? "" : ` under ${storeRoot}`;
  throw new OciNixError("not-found", `store paths are missing${where}: ${shown}${more}`, {
    hint: "realise them with nix-store --realise, or say with --store-root where the store is",
  });
}

function isThere(path: ByteString): boolean {
  try {
    lstatSync(fsPath(path));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw new OciNixError("unreadable", `cannot read ${displayBytes(path)}: ${describeErrno(error)}`, { cause: error });
  }
}
