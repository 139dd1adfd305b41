import type { Digest } from "../core/digest.js";
import { type ErrorCode, OciNixError } from "../core/errors.js";
import type { StoredLayer } from "../transport/image.js";
import { readLayer } from "./layer.js";

/** A layer, and what was found out about it. */
export interface FoundLayer {
  /** Where it is readable, with the diffID that it has, whatever was recorded; its bytes are then given, whatever their digest. */
  readonly layer: StoredLayer;
  /** Of the stored bytes; undefined where nothing says and they were not read. */
  readonly digest: Digest | undefined;
  /** Why it is not what the image says of it. */
  readonly problem?: string;
  /**
   * `readable`: what is in it can be had. `damaged`: its bytes are there, but cannot be unpacked. `unreadable`: they are not, or nobody
   * knows how to unpack them.
   */
  readonly contents: "readable" | "damaged" | "unreadable";
}

/** A layer that is what the image says of it, as far as that shows before it is read. */
export function believedLayer(layer: StoredLayer): FoundLayer {
  return { layer, digest: layer.descriptor?.digest, contents: "readable" };
}

/**
 * Reads a layer whole, and computes its digests again. What is wrong with it is a part of what was found.
 * @param expectedSize bytes that it may unpack to in any case
 * @throws OciNixError where that says nothing of the layer: `unavailable`, `denied`, `interrupted`, `unreadable`; `unsupported` where nothing can be unpacked here
 */
export async function readFoundLayer(
  layer: StoredLayer,
  title: string,
  expectedSize: number,
  signal: AbortSignal | undefined,
): Promise<FoundLayer> {
  const visitor = { open: () => false, close: () => undefined };
  const reading = await readLayer(layer, visitor, title, signal, expectedSize);
  const { blobError, damage, diffId } = reading;
  if (blobError !== undefined && NOT_THE_LAYER.includes(blobError.code)) throw blobError;
  if (damage?.code === "unsupported") throw damage;
  const digest = reading.digest ?? layer.descriptor?.digest;
  const problem = (layer.problem ?? blobError ?? damage)?.message;
  if (blobError !== undefined && blobError.code !== "verification") {
    return { layer, digest, problem: problem as string, contents: "unreadable" };
  }
  if (damage !== undefined) return { layer, digest, problem: problem as string, contents: "damaged" };
  if (problem === undefined && diffId === layer.diffId) return { layer, digest, contents: "readable" };
  const blob = { ...layer.blob, writeTo: lenient(layer.blob.writeTo.bind(layer.blob), diffId) };
  return {
    // Descriptors are wrong about that, too.
    layer: { ...layer, diffId, blob, compression: reading.sniffed ?? "none" },
    digest,
    problem: problem ?? `unpacked it is ${diffId}, but the image config says ${layer.diffId}`,
    contents: "readable",
  };
}

const NOT_THE_LAYER: readonly ErrorCode[] = ["unavailable", "denied", "interrupted", "unreadable"];

type Write = StoredLayer["blob"]["writeTo"];

/** What was found out about the bytes is no reason not to give them. */
function lenient(write: Write, digest: Digest): Write {
  return async (out) => {
    try {
      return await write(out);
    } catch (error) {
      if (error instanceof OciNixError && error.code === "verification") return digest;
      throw error;
    }
  };
}
