import type { BlobSource } from "../core/blob.js";
import { BlockWriter, BULK_BLOCK_SIZE } from "../core/block-writer.js";
import { nullSink } from "../core/byte-sink.js";
import { OciNixError } from "../core/errors.js";
import { storePathsOf } from "../layers/plan.js";
import { readLocalClosure } from "../nix/local-database.js";
import { narHash } from "../nix/nar.js";
import type { StorePath } from "../nix/store-path.js";
import { type FileTreeOptions, rootPrefix } from "./file-tree.js";
import type { PlannedLayer } from "./image-plan.js";
import type { LayerDigest } from "./pipeline/shared.js";

export type StoreLayer = Extract<PlannedLayer, { kind: "store" }>;

/** Which layer of the image it is, from 1, and where its files are. */
export type LayerPlace = Pick<FileTreeOptions, "storeRoot" | "signal"> & { readonly number: number };

/**
 * The blob, which must be what was recorded for the layer, if anything was: a wrong size is found before its first byte goes out, a wrong
 * digest with its last.
 * @throws OciNixError as {@link verifyLayer}
 */
export async function verifiedBlob<T extends BlobSource>(blob: T, layer: StoreLayer, place: LayerPlace): Promise<T> {
  const { size } = blob;
  if (layer.recorded === undefined) return blob;
  if (size !== layer.recorded.size) {
    const out = new BlockWriter(nullSink, { blockSize: BULK_BLOCK_SIZE, signal: place.signal });
    await verifyLayer({ diffId: await blob.writeTo(out), size }, layer, place);
  }
  return {
    ...blob,
    async writeTo(out: BlockWriter) {
      const diffId = await blob.writeTo(out);
      await verifyLayer({ diffId, size }, layer, place);
      return diffId;
    },
  };
}

/**
 * @throws OciNixError `verification` where a layer is not what was recorded for it, naming the store paths that are not what the Nix
 *   database says; all of the layer's where it does not tell
 */
export async function verifyLayer(found: LayerDigest, layer: StoreLayer, place: LayerPlace): Promise<void> {
  const { recorded } = layer;
  if (recorded === undefined || (found.diffId === recorded.diffId && found.size === recorded.size)) return;
  if (found.diffId === recorded.diffId && recorded.forget === undefined) {
    throw new OciNixError(
      "verification",
      `layer ${place.number} is ${found.size} bytes long, but ${recorded.size} were recorded; its digest is the recorded one`,
      { hint: "the record is wrong, not the store: make it again" },
    );
  }
  const paths = storePathsOf(layer.plan);
  const damaged = await damagedPaths(paths, layer, place);
  const isDamaged = damaged !== undefined && damaged.length > 0;
  // A record of what the paths were before they were damaged is right.
  if (!isDamaged) recorded.forget?.();
  const cached = isDamaged ? "is in the digest cache" : "is in the digest cache, which has dropped it now";
  const by = recorded.forget === undefined ? "was recorded" : cached;
  const what = `layer ${place.number} is ${found.diffId} (${found.size} bytes), but ${recorded.diffId} (${recorded.size} bytes) ${by}: `;
  if (isDamaged) {
    throw new OciNixError(
      "verification",
      `${what}${damaged.join(", ")} changed: the NAR hash is not ${layer.objects === undefined ? "the Nix database's" : "the closure's"}`,
      {
        hint: "nix-store --repair-path fetches or builds it again",
      },
    );
  }
  const same = damaged === undefined ? "" : ", though all have their NAR hashes";
  if (recorded.forget !== undefined) {
    throw new OciNixError("verification", `${what}the content is not what it was then of ${paths.join(", ")}${same}`, {
      hint: "nix-store --verify-path says whether a path is damaged; if none is, the entry was wrong: run it again",
    });
  }
  throw new OciNixError("verification", `${what}the content is not what it was then of ${paths.join(", ")}${same}`, {
    hint: "where another build gave other bytes, make the layers file again; nix-store --verify-path says whether a path is damaged",
  });
}

/** Those that do not have their NAR hash any more; undefined where neither the closure nor a Nix database at hand knows them all. */
export async function damagedPaths(
  paths: readonly StorePath[],
  layer: StoreLayer,
  { storeRoot, signal }: Omit<LayerPlace, "number">,
): Promise<readonly StorePath[] | undefined> {
  try {
    const objects = layer.objects ?? (await readLocalClosure(paths, { storeRoot })).objects;
    const damaged: StorePath[] = [];
    for (const path of paths) {
      const recorded = objects.get(path)?.narHash;
      if (recorded === undefined) return undefined;
      if ((await narHash(rootPrefix(storeRoot) + path, signal)) !== recorded) damaged.push(path);
    }
    return damaged;
  } catch (error) {
    // It only says more of an error that is there anyway.
    if (error instanceof OciNixError && error.code !== "interrupted") return undefined;
    throw error;
  }
}
