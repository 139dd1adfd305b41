import type { BlobSource } from "../../core/blob.js";
import type { BlockWriter } from "../../core/block-writer.js";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { Descriptor } from "../../oci/manifest.js";
import type { StoredLayer } from "../image.js";
import { describedCompression, type LayerDescription, openLayer, plainLayerProblem } from "../stored-layer.js";
import { RegistryFailure } from "./failure.js";
import type { RegistryResponse } from "./http.js";
import { Unreachable } from "./network-failure.js";
import type { Repository } from "./repository.js";

/**
 * A layer at a registry. It is read when it is written, from where a connection broke. It has a problem, `unsupported` or `verification`,
 * where its descriptor cannot be right.
 */
export function registryLayer(
  repository: Repository,
  layer: LayerDescription,
  signal: AbortSignal | undefined,
): StoredLayer {
  const { descriptor, diffId, where } = layer;
  const title = `${repository.title}@${descriptor.digest}`;
  return openLayer({ title, descriptor, diffId }, () => {
    const compression = describedCompression(descriptor, where);
    const problem = plainLayerProblem(compression, layer);
    const blob: BlobSource = {
      title,
      size: descriptor.size,
      async writeTo(out) {
        out.beginDigest();
        await copyBlob(repository, descriptor, out, signal);
        const digest = out.endDigest();
        if (digest === descriptor.digest) return digest;
        throw new OciNixError("verification", `${title} arrived as ${digest}`, {
          hint: "something between here and the registry changes blobs, or the registry is damaged",
        });
      },
    };
    return { blob, compression, descriptor, diffId, ...(problem && { problem }) };
  });
}

async function copyBlob(
  anyTime: Repository,
  { digest, size }: Descriptor,
  out: BlockWriter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const attempts = anyTime.attempts();
  const repository = anyTime.within(attempts);
  const wrongSize = (words: string) =>
    new OciNixError("verification", `${repository.title}@${digest} ${words}, its descriptor says ${size} bytes`);
  let done = 0;
  // What goes wrong where the bytes go to is no reason to read them again.
  let sinkFailure: { readonly error: unknown } | undefined;
  while (done < size) {
    try {
      const response = await repository.readBlob(digest, done);
      let skip = done - startOf(response, done);
      for await (const piece of response.body) {
        const bytes = piece.subarray(Math.min(skip, piece.length));
        skip -= piece.length - bytes.length;
        const fitting = bytes.subarray(0, size - done);
        done += fitting.length;
        if (bytes.length > 0) attempts.progress();
        await out.pass(fitting).catch((error: unknown) => {
          sinkFailure = { error };
          throw error;
        });
        if (fitting.length < bytes.length) throw wrongSize("is longer");
      }
      if (done === size) return;
      // Not cut off on the way: it is no longer there.
      if (response.status === 200 && response.header("content-length") === String(done)) {
        throw wrongSize(`has ${done} bytes`);
      }
      throw new OciNixError("unavailable", `${repository.title}@${digest} ended after ${done} of ${size} bytes`, {
        hint: "run it again",
      });
    } catch (error) {
      if (sinkFailure !== undefined) throw sinkFailure.error;
      if (signal?.aborted) throw abortReason(signal);
      if (!mayPass(error)) throw error;
      if (!(await attempts.takeLater(error instanceof Unreachable ? error.failure : undefined)))
        throw brokenOff(error, `${repository.title}@${digest}`, done, size);
    }
  }
}

/** Where an answer's bytes begin. @throws OciNixError where that is behind what was asked for */
function startOf(response: RegistryResponse, asked: number): number {
  if (response.status === 200) return 0;
  const range = response.header("content-range");
  const start = /^bytes (\d+)-/.exec(range ?? "")?.[1];
  if (start !== undefined && Number(start) <= asked) return Number(start);
  throw new OciNixError(
    "verification",
    `byte ${asked} was asked for, and the registry answered ${range === undefined ? "without a range" : response.shown(range)}`,
  );
}

function mayPass(error: unknown): boolean {
  if (error instanceof RegistryFailure) return error.code === "unavailable";
  // Streams that break off have errors of their own.
  return !(error instanceof OciNixError) || error.code === "unavailable";
}

function brokenOff(error: unknown, title: string, done: number, size: number): unknown {
  if (error instanceof OciNixError) return error;
  return new OciNixError("unavailable", `${title}: the connection broke after ${done} of ${size} bytes`, {
    hint: "run it again",
    cause: error,
  });
}
