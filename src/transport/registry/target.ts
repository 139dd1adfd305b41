import { statSync } from "node:fs";
import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import { type Descriptor, kindOfMediaType } from "../../oci/manifest.js";
import type { BlobFate, BlobSink, Document, FinishedImage, ImageTarget } from "../image.js";
import { fileBody, type UploadBody, WindowBody } from "./body.js";
import { deferred } from "./deferred.js";
import { ofFile } from "./failure.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "./http.js";
import { LeftSessions } from "./left-sessions.js";
import { type KnownLocations, Mounts } from "./mounts.js";
import { formatRegistryName, type RegistryName } from "./reference.js";
import { Repository, type UploadSession } from "./repository.js";
import { Slots } from "./slots.js";
import { uploadBlob } from "./upload.js";

export interface RegistryTargetOptions extends RegistryOptions {
  /** More tags for the image. */
  readonly tags?: readonly string[] | undefined;
  /** Repositories of the same registry that may have blobs of the image. */
  readonly mountFrom?: readonly string[] | undefined;
  readonly locations?: KnownLocations | undefined;
  /** How requests are sent; by default with connections of the target's own. */
  readonly open?: ((host: string, options: RegistryOptions) => RegistryHttp) | undefined;
}

const UPLOADS = 4;
const QUESTIONS = 8;
/** A blob that ends before is known when it is sent: then it may turn out to be there. */
const SMALL = 1 << 20;

/**
 * Writes to a registry's repository: blobs that it lacks, several at once and in the background, then manifests, then tags. Without a
 * tag images are there by their digests.
 * @throws OciNixError from its methods: `denied`, `unavailable`, `limit`, `verification`, `output`; the signal's reason
 */
export function openRegistryTarget(name: RegistryName, options: RegistryTargetOptions = {}): ImageTarget {
  return new RegistryTarget(name, options);
}

class RegistryTarget implements ImageTarget {
  readonly title: string;
  /** Tags are one image's. */
  readonly takesOne = true;
  readonly #name: RegistryName;
  readonly #options: RegistryTargetOptions;
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #http: RegistryHttp;
  readonly #repository: Repository;
  readonly #mounts: Mounts;
  readonly #uploads = new Slots(UPLOADS);
  readonly #questions = new Slots(QUESTIONS);
  /** What is under way; does not fail. */
  readonly #running = new Set<Promise<void>>();
  readonly #there = new Set<Digest>();
  readonly #coming = new Set<Digest>();
  readonly #lost: Descriptor[] = [];
  readonly #left = new LeftSessions();
  readonly #onLeft = (session: UploadSession) => this.#left.add(session);
  readonly #manifests = new Map<Digest, Document>();
  #failure: unknown;

  constructor(name: RegistryName, options: RegistryTargetOptions) {
    const { signal } = options;
    this.title = `docker://${formatRegistryName(name)}`;
    this.#name = name;
    this.#options = options;
    this.#signal = signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal]);
    ({ http: this.#http, repository: this.#repository } = this.#open(this.#signal));
    const { mountFrom: from, locations } = options;
    this.#mounts = new Mounts(this.#repository, { from, locations, onLeft: this.#onLeft });
  }

  refuses(): undefined {
    return undefined;
  }

  async has(blob: Descriptor): Promise<boolean> {
    this.#check();
    // It is written again, to be there when it gets its tag.
    if (isManifest(blob)) return false;
    if (this.#there.has(blob.digest) || this.#coming.has(blob.digest)) return true;
    const isThere = await this.#questions.run(
      async () => (await this.#repository.hasBlob(blob)) || (await this.#mounts.mount(blob)),
    );
    if (isThere) this.#there.add(blob.digest);
    return isThere;
  }

  async foresee(blob: Descriptor): Promise<BlobFate> {
    return await this.#questions.run(async () => {
      if (await this.#repository.hasBlob(blob)) return "exists";
      for (const name of this.#mounts.sourcesOf(blob)) {
        const { host } = this.#repository;
        const source = new Repository(this.#http, { host, name, access: "pull", signal: this.#signal });
        try {
          if (await source.hasBlob(blob)) return "mounts";
        } catch (error) {
          // What may not be asked for may not be mounted.
          if (!(error instanceof OciNixError) || error.code !== "denied") throw error;
        }
      }
      return "uploads";
    });
  }

  async link(blob: Descriptor, file: string): Promise<boolean> {
    this.#check();
    if (isManifest(blob) || statSync(file, { throwIfNoEntry: false })?.size !== blob.size) return false;
    this.#start(async () => {
      const giveBack = await this.#uploads.take();
      try {
        if (this.#signal.aborted) return;
        const known = { known: blob, blob: Promise.resolve(blob) };
        await this.#send(fileBody(file, blob.size), known).catch((error: unknown) => {
          throw ofFile(error, file);
        });
      } finally {
        giveBack();
      }
    });
    this.#coming.add(blob.digest);
    return true;
  }

  async begin(known?: Descriptor): Promise<BlobSink> {
    this.#check();
    if (known !== undefined && isManifest(known)) return this.#manifestSink();
    const giveBack = await this.#uploads.take(true);
    const body = new WindowBody();
    const { promise: blob, resolve: commit, reject } = deferred<Descriptor>();
    const giveUp = (reason: unknown) => {
      body.fail(reason);
      reject(reason);
    };
    const onAbort = () => giveUp(abortReason(this.#signal));
    this.#signal.addEventListener("abort", onAbort, { once: true });
    if (this.#signal.aborted) onAbort();
    let isDiscarded = false;
    this.#start(async () => {
      try {
        if (known !== undefined || !(await this.#isSmallAndThere(body, blob))) await this.#send(body, { known, blob });
      } catch (error) {
        // Whoever gives up gets on with it.
        if (isDiscarded) return;
        body.fail(error);
        throw error;
      } finally {
        this.#signal.removeEventListener("abort", onAbort);
        giveBack();
      }
    });
    return {
      write: (bytes) => body.push(bytes),
      commit: async (written) => {
        this.#check();
        this.#coming.add(written.digest);
        body.end();
        commit(written);
      },
      discard: async () => {
        if (body.size !== undefined) return;
        isDiscarded = true;
        giveUp(new OciNixError("interrupted", `${this.title}: a blob was given up`));
      },
    };
  }

  async lost(): Promise<readonly Descriptor[]> {
    await this.#settled();
    return this.#lost.splice(0);
  }

  async finish(images: readonly FinishedImage[]): Promise<void> {
    const { tag, digest } = this.#name;
    const tags = [...(tag === undefined ? [] : [tag]), ...(this.#options.tags ?? [])];
    await this.#settled();
    for (const { manifest } of images) {
      if (digest === undefined || manifest.digest === digest) continue;
      throw new OciNixError("verification", `${this.title}: the image is ${manifest.digest}`, {
        hint: "leave the digest out, or build what it is of",
      });
    }
    for (const image of images) {
      const references = tags.length > 0 ? tags : [image.manifest.digest];
      for (const reference of references) await this.#putManifest(image.manifest, reference);
      const { locations } = this.#options;
      const { host, name } = this.#repository;
      for (const blob of [image.config, ...image.layers]) locations?.remember(host, blob.digest, name);
    }
  }

  remains(): string | undefined {
    const count = this.#there.size;
    if (count === 0) return undefined;
    const blobs = count === 1 ? "one blob is" : `${count} blobs are`;
    return `${blobs} at ${this.#repository.title} already and need not be sent again`;
  }

  async close(): Promise<void> {
    this.#abort.abort(new OciNixError("interrupted", `${this.title} is closed`));
    await Promise.all(this.#running);
    this.#mounts.close();
    await this.#left.cancel((signal) => this.#open(signal));
    await this.#http.close().catch(() => undefined);
  }

  #open(signal: AbortSignal): { readonly http: RegistryHttp; readonly repository: Repository } {
    const { host, repository: name } = this.#name;
    const { tlsVerify, deadlineMs, open = openRegistryHttp } = this.#options;
    const http = open(host, { tlsVerify, deadlineMs, signal });
    return { http, repository: new Repository(http, { host, name, access: "pull,push", signal }) };
  }

  /** @throws what went wrong in the background */
  #check(): void {
    if (this.#options.signal?.aborted) throw abortReason(this.#options.signal);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Runs something in the background; its failure ends everything. */
  #start(job: () => Promise<void>): void {
    const running = job()
      .catch((error: unknown) => {
        this.#failure ??= error;
        this.#abort.abort(error);
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #settled(): Promise<void> {
    await Promise.all(this.#running);
    this.#check();
  }

  async #send(
    body: UploadBody & { drop?(): void },
    { known, blob }: { readonly known: Descriptor | undefined; readonly blob: Promise<Descriptor> },
  ): Promise<void> {
    try {
      const result = await uploadBlob(this.#repository, body, {
        known,
        blob,
        session: known && this.#mounts.takeSession(known.digest),
        signal: this.#signal,
        onLeft: this.#onLeft,
      });
      if (result === "lost") body.drop?.();
      const sent = await blob;
      if (result === "done") this.#there.add(sent.digest);
      else this.#lost.push(sent);
      if (result === "lost") this.#coming.delete(sent.digest);
    } finally {
      body.close();
    }
  }

  async #isSmallAndThere(body: WindowBody, blob: Promise<Descriptor>): Promise<boolean> {
    if ((await body.available(SMALL)) === SMALL) return false;
    const written = await blob;
    if (!(await this.#repository.hasBlob(written))) return false;
    this.#there.add(written.digest);
    body.close();
    return true;
  }

  #manifestSink(): BlobSink {
    const pieces: Buffer[] = [];
    return {
      write: (bytes) => void pieces.push(Buffer.from(bytes)),
      commit: async (descriptor) => {
        this.#manifests.set(descriptor.digest, { descriptor, bytes: Buffer.concat(pieces) });
      },
      discard: async () => undefined,
    };
  }

  async #putManifest({ digest }: Descriptor, reference: string): Promise<void> {
    const { descriptor, bytes } = this.#manifests.get(digest) as Document;
    if ((await this.#repository.manifestDigest(reference)) === digest) return;
    const response = await this.#repository.writeManifest(reference, descriptor.mediaType, bytes);
    const said = response.header("docker-content-digest");
    if (response.status === 201 && said === digest) return;
    // A gateway may answer what the registry never saw.
    const found = (await this.#repository.manifestDigest(reference)) ?? said;
    if (found === digest || (response.status === 201 && found === undefined)) return;
    throw new OciNixError(
      "verification",
      `${this.title}: the registry has ${found ?? "no manifest"}, but ${digest} was sent`,
      {
        hint: "something between here and the registry changes or keeps manifests",
      },
    );
  }
}

function isManifest({ mediaType }: Descriptor): boolean {
  return kindOfMediaType(mediaType, mediaType) !== undefined;
}
