import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { Descriptor } from "../../oci/manifest.js";
import type { UploadBody } from "./body.js";
import { RegistryFailure } from "./failure.js";
import { Unreachable } from "./network-failure.js";
import type { Repository } from "./repository.js";
import type { Attempts } from "./retry.js";
import type { UploadSession } from "./upload-session.js";

export interface UploadOptions {
  /** What the blob is, where that is known before its bytes end. */
  readonly known: Descriptor | undefined;
  /** What the blob is, once its bytes have ended. */
  readonly blob: Promise<Descriptor>;
  /** One that is open already. */
  readonly session?: UploadSession | undefined;
  readonly signal: AbortSignal;
  /** Cancels a session that is of no use any more. Does not fail. */
  readonly onLeft: (session: UploadSession) => void;
}

const CHUNK = 8 << 20;

/**
 * Uploads a blob: in one request at first, whose end may be unknown; where that fails, from where the registry says, in chunks.
 * @returns `lost` where the registry lost what the body does not have any more
 * @throws RegistryFailure or another OciNixError where it cannot be done; the body's own failure; the signal's reason
 */
export async function uploadBlob(
  repository: Repository,
  body: UploadBody,
  options: UploadOptions,
): Promise<"done" | "lost"> {
  const upload = new Upload(repository, body, options);
  try {
    return await upload.run();
  } catch (error) {
    upload.leave();
    throw body.failure ?? error;
  }
}

class Upload {
  readonly #attempts: Attempts;
  readonly #repository: Repository;
  readonly #body: UploadBody;
  readonly #options: UploadOptions;
  #session: UploadSession | undefined;
  /** Bytes that arrived in this session, as far as is known. */
  #received = 0;
  /** Bytes that arrived in any session: more of them is progress. */
  #most = 0;
  #inChunks = false;
  #wasOtherDigest = false;
  #wasRefused = false;

  constructor(repository: Repository, body: UploadBody, options: UploadOptions) {
    this.#attempts = repository.attempts();
    this.#repository = repository.within(this.#attempts);
    this.#body = body;
    this.#options = options;
    this.#session = options.session;
  }

  async run(): Promise<"done" | "lost"> {
    for (let failure: unknown; ; ) {
      try {
        if (failure !== undefined) {
          if (!(await this.#resync(failure))) return "lost";
          if (await this.#isThere()) return "done";
        }
        await this.#attempt();
        return "done";
      } catch (error) {
        await this.#checkRetry(error);
        failure = error;
      }
    }
  }

  /** Nothing more will be sent. */
  leave(): void {
    if (this.#session !== undefined) this.#options.onLeft(this.#session);
    this.#session = undefined;
  }

  async #attempt(): Promise<void> {
    const { known, blob } = this.#options;
    let session = this.#session ?? (await this.#repository.startUpload());
    this.#session = session;
    if (!this.#inChunks && known !== undefined) {
      await this.#repository.putBlob(session, known, this.#body.read(0, known.size));
      return;
    }
    if (!this.#inChunks) {
      ({ session } = await this.#repository.patchBlob(session, this.#body.read(0), undefined));
      this.#session = session;
    } else {
      session = await this.#sendChunks(session);
    }
    await this.#repository.finishUpload(session, await blob);
  }

  async #sendChunks(from: UploadSession): Promise<UploadSession> {
    let session = from;
    for (;;) {
      const start = this.#received;
      const end = await this.#body.available(start + Math.max(CHUNK, session.minChunk));
      if (end <= start) return session;
      const sent = await this.#repository.patchBlob(session, this.#body.read(start, end), { start, end });
      session = sent.session;
      this.#session = session;
      const { received = end } = sent;
      // Not all registries tell; what is wrong shows in the digest.
      this.#arrived(received > start && received < end ? received : end);
    }
  }

  #arrived(count: number): void {
    this.#received = count;
    if (count <= this.#most) return;
    this.#most = count;
    this.#attempts.progress();
    this.#wasRefused = false;
  }

  /** Waits, where what failed may work when it is done again. @throws what it was told where it may not */
  async #checkRetry(error: unknown): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) throw abortReason(signal);
    if (this.#body.failure !== undefined || !(error instanceof OciNixError)) throw error;
    if (
      !this.#isPassing(error) ||
      !(await this.#attempts.takeLater(error instanceof Unreachable ? error.failure : undefined))
    )
      throw error;
    // Not again what failed: smaller requests may get through where a large one does not.
    if (this.#session !== undefined) this.#inChunks = true;
  }

  #isPassing(error: OciNixError): boolean {
    if (!(error instanceof RegistryFailure)) return error.code === "unavailable";
    const { status, codes } = error;
    if (status === 408 || status === 429 || status >= 500) return true;
    // The session ended, or is elsewhere than was thought.
    if (status === 404 || status === 416) return !codes.includes("NAME_UNKNOWN");
    // A token that ended amid a request that cannot be sent twice.
    if (status === 401) {
      const wasRefused = this.#wasRefused;
      this.#wasRefused = true;
      return !wasRefused;
    }
    // Proxies limit requests, not blobs.
    if (status === 413) return !this.#inChunks;
    if (status !== 400) return false;
    // Some registries append a part that came twice. Where nothing was sent again, the bytes are what is wrong.
    if (codes.includes("DIGEST_INVALID")) return this.#inChunks && !this.#wasOtherDigest;
    return codes.includes("BLOB_UPLOAD_INVALID");
  }

  /** Finds out where to go on. @returns false where that cannot be done */
  async #resync(error: unknown): Promise<boolean> {
    const isOtherDigest = error instanceof RegistryFailure && error.codes.includes("DIGEST_INVALID");
    if (isOtherDigest) {
      this.#wasOtherDigest = true;
      this.leave();
    }
    const status = this.#session && (await this.#repository.uploadStatus(this.#session));
    const { size, first } = this.#body;
    if (status !== undefined && status.received >= first && status.received <= (size ?? status.received)) {
      this.#session = status.session;
      this.#arrived(status.received);
      return true;
    }
    if (status !== undefined) this.leave();
    this.#session = undefined;
    this.#received = 0;
    return first === 0;
  }

  /** Whether the blob arrived all the same, and only the answer did not. */
  async #isThere(): Promise<boolean> {
    const { known, blob } = this.#options;
    if (this.#session !== undefined) return false;
    if (known !== undefined) return await this.#repository.hasBlob(known);
    return this.#body.size !== undefined && (await this.#repository.hasBlob(await blob));
  }
}
