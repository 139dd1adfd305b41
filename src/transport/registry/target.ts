import { statSync } from "node:fs";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import { type Descriptor, kindOfMediaType } from "../../oci/manifest.js";
import type { BlobFate, BlobSink, FinishedImage, ImageTarget } from "../image.js";
import { Arrivals } from "./arrivals.js";
import { Background } from "./background.js";
import { fileBody, type UploadBody, WindowBody } from "./body.js";
import { deferred } from "./deferred.js";
import { ofFile } from "./failure.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "./http.js";
import { LeftSessions } from "./left-sessions.js";
import { Manifests } from "./manifests.js";
import { type KnownLocations, Mounts } from "./mounts.js";
import { formatRegistryName, type RegistryName } from "./reference.js";
import { Repository } from "./repository.js";
import { Slots } from "./slots.js";
import { uploadBlob } from "./upload.js";
import type { UploadSession } from "./upload-session.js";

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
  readonly #work: Background;
  readonly #http: RegistryHttp;
  readonly #repository: Repository;
  readonly #mounts: Mounts;
  readonly #manifests: Manifests;
  readonly #uploads = new Slots(UPLOADS);
  readonly #questions = new Slots(QUESTIONS);
  readonly #arrivals = new Arrivals();
  readonly #left = new LeftSessions();
  readonly #onLeft = (session: UploadSession) => this.#left.add(session);
  /** Whether other repositories' blobs may be had: where one may not, the others may not either. */
  #mayFollow = true;

  constructor(name: RegistryName, options: RegistryTargetOptions) {
    this.title = `docker://${formatRegistryName(name)}`;
    this.#name = name;
    this.#options = options;
    this.#work = new Background(options.signal);
    const { signal } = this.#work;
    signal.addEventListener("abort", () => this.#arrivals.end(), { once: true });
    ({ http: this.#http, repository: this.#repository } = this.#open(signal));
    const { mountFrom: from, locations } = options;
    this.#mounts = new Mounts(this.#repository, { from, locations, onLeft: this.#onLeft });
    this.#manifests = new Manifests(this.#repository, this.title);
  }

  refuses(): undefined {
    return undefined;
  }

  checkManifest({ digest }: Descriptor): void {
    const { digest: wanted } = this.#name;
    if (wanted === undefined || digest === wanted) return;
    throw new OciNixError("verification", `${this.title}: the image is ${digest}`, {
      hint: "leave the digest out, or build what it is of",
    });
  }

  async has(blob: Descriptor): Promise<boolean> {
    this.#work.check();
    // It is written again, to be there when it gets its tag.
    if (isManifest(blob)) return false;
    if (this.#arrivals.has(blob.digest)) return true;
    const isThere = await this.#questions.run(async () => {
      const repository = this.#repository.within(this.#repository.attempts());
      return (await repository.hasBlob(blob)) || (await this.#mounts.mount(blob, repository));
    });
    if (isThere) this.#arrivals.arrived(blob.digest);
    return isThere;
  }

  async foresee(blob: Descriptor): Promise<BlobFate> {
    return await this.#questions.run(async () => {
      if (await this.#repository.hasBlob(blob)) return "exists";
      return (await this.#mounts.wouldMount(blob)) ? "mounts" : "uploads";
    });
  }

  follow(other: ImageTarget): ((blob: Descriptor) => void) | undefined {
    if (!(other instanceof RegistryTarget) || other.#name.host !== this.#name.host) return undefined;
    const from = other.#name.repository;
    const isSame = from === this.#name.repository;
    if (!isSame && !this.#mayFollow) return undefined;
    const isGiven = async ({ digest }: Descriptor): Promise<boolean> => {
      if (!(await this.#arrivals.at(other.#arrivals, digest))) return false;
      if (isSame || (await this.#questions.run(() => this.#mounts.mountFrom(digest, from)))) return true;
      this.#mayFollow = false;
      return false;
    };
    return (blob) => {
      if (this.#arrivals.has(blob.digest)) return;
      this.#arrivals.coming(blob.digest);
      this.#work.start(async () => {
        if (await isGiven(blob)) this.#arrivals.arrived(blob.digest);
        else this.#arrivals.lost(blob);
      });
    };
  }

  async link(blob: Descriptor, file: string): Promise<boolean> {
    this.#work.check();
    if (isManifest(blob) || statSync(file, { throwIfNoEntry: false })?.size !== blob.size) return false;
    this.#work.start(async () => {
      const giveBack = await this.#uploads.take();
      try {
        if (this.#work.signal.aborted) return;
        const known = { known: blob, blob: Promise.resolve(blob) };
        await this.#send(fileBody(file, blob.size), known).catch((error: unknown) => {
          throw ofFile(error, file);
        });
      } finally {
        giveBack();
      }
    });
    this.#arrivals.coming(blob.digest);
    return true;
  }

  async begin(known?: Descriptor): Promise<BlobSink> {
    this.#work.check();
    if (known !== undefined && isManifest(known)) return this.#manifests.begin();
    const { signal } = this.#work;
    const giveBack = await this.#uploads.take(true);
    const body = new WindowBody();
    const { promise: blob, resolve: commit, reject } = deferred<Descriptor>();
    const giveUp = (reason: unknown) => {
      body.fail(reason);
      reject(reason);
    };
    const onAbort = () => giveUp(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    let isDiscarded = false;
    this.#work.start(async () => {
      try {
        if (known !== undefined || !(await this.#isSmallAndThere(body, blob))) await this.#send(body, { known, blob });
      } catch (error) {
        // Whoever gives up gets on with it.
        if (isDiscarded) return;
        body.fail(error);
        throw error;
      } finally {
        signal.removeEventListener("abort", onAbort);
        giveBack();
      }
    });
    return {
      write: (bytes) => body.push(bytes),
      commit: async (written) => {
        this.#work.check();
        this.#arrivals.coming(written.digest);
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
    await this.#work.settled();
    return this.#arrivals.takeLost();
  }

  async finish(images: readonly FinishedImage[]): Promise<void> {
    const { tag } = this.#name;
    const tags = [...(tag === undefined ? [] : [tag]), ...(this.#options.tags ?? [])];
    await this.#work.settled();
    for (const { manifest, config, layers } of images) {
      const references = tags.length > 0 ? tags : [manifest.digest];
      for (const reference of references) await this.#manifests.put(manifest.digest, reference);
      const { locations } = this.#options;
      const { host, name } = this.#repository;
      for (const blob of [config, ...layers]) locations?.remember(host, blob.digest, name);
    }
  }

  remains(): string | undefined {
    const { count } = this.#arrivals;
    if (count === 0) return undefined;
    const blobs = count === 1 ? "one blob is" : `${count} blobs are`;
    return `${blobs} at ${this.#repository.title} already and need not be sent again`;
  }

  async close(): Promise<void> {
    await this.#work.end(new OciNixError("interrupted", `${this.title} is closed`));
    this.#mounts.close();
    await this.#left.cancel((signal) => this.#open(signal));
    await this.#http.close().catch(() => undefined);
  }

  #open(signal: AbortSignal): { readonly http: RegistryHttp; readonly repository: Repository } {
    const { host, repository: name } = this.#name;
    const { tlsVerify, deadlineMs, retry, patience, clock, open = openRegistryHttp } = this.#options;
    const http = open(host, { tlsVerify, deadlineMs, retry, patience, clock, signal });
    return { http, repository: new Repository(http, { host, name, access: "pull,push", signal }) };
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
        signal: this.#work.signal,
        onLeft: this.#onLeft,
      });
      if (result === "lost") body.drop?.();
      const sent = await blob;
      if (result === "done") this.#arrivals.arrived(sent.digest);
      else this.#arrivals.lost(sent);
    } finally {
      body.close();
    }
  }

  async #isSmallAndThere(body: WindowBody, blob: Promise<Descriptor>): Promise<boolean> {
    if ((await body.available(SMALL)) === SMALL) return false;
    const written = await blob;
    if (!(await this.#repository.hasBlob(written))) return false;
    this.#arrivals.arrived(written.digest);
    body.close();
    return true;
  }
}

function isManifest({ mediaType }: Descriptor): boolean {
  return kindOfMediaType(mediaType, mediaType) !== undefined;
}
