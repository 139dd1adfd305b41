import type { Digest } from "../../core/digest.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { LayerPlan } from "../../layers/plan.js";
import type { FileTreeOptions } from "../file-tree.js";
import type { DigesterData } from "./shared.js";
import { WorkerTeam } from "./worker-team.js";

/** What hashing a layer gives. */
export interface LayerDigest {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

/**
 * Hashes whole layers side by side, each in one thread from its files to its digest, in the order given.
 * @returns the digests in the same order
 * @throws OciNixError what a thread failed of, or the signal's reason
 */
export async function digestApart(
  plans: readonly LayerPlan[],
  options: FileTreeOptions & { readonly mtime: number; readonly threads: number },
): Promise<readonly LayerDigest[]> {
  const { signal, profile, mtime, storeRoot, owner, threads } = options;
  const digests: LayerDigest[] = [];
  let left = plans.length;
  let end!: (failure?: Error) => void;
  const done = new Promise<void>((resolve, reject) => {
    end = (failure) => (failure === undefined ? resolve() : reject(failure));
  });
  const team = new WorkerTeam((report) => {
    if (report.kind !== "digested") return;
    digests[report.index] = { diffId: report.digest, size: report.size };
    if (--left === 0) end();
  }, end);
  const abort = () => end(abortReason(signal as AbortSignal));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const control = team.control.buffer as SharedArrayBuffer;
    const data: DigesterData = { role: "digester", control, plans, storeRoot, owner, profile: profile.name, mtime };
    for (let i = 0; i < Math.min(threads, plans.length); i++) team.start(data);
    if (left === 0) end();
    await done;
    return digests;
  } finally {
    signal?.removeEventListener("abort", abort);
    await team.close();
  }
}
