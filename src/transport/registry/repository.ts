import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { Descriptor } from "../../oci/manifest.js";
import { failureOf } from "./failure.js";
import type { RegistryHttp, RegistryRequest, RegistryResponse } from "./http.js";
import type { Attempts } from "./retry.js";
import { receivedOf, sessionOf, type UploadSession, withDigest } from "./upload-session.js";

/** A range of bytes, `end` being the first one behind it. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

type Bytes = { readonly stream: AsyncIterable<Uint8Array>; readonly length?: number | undefined };

/** Client errors that say nothing of what was asked for. */
const STATES: ReadonlySet<number> = new Set([401, 403, 408, 429]);

/** Registries read a blob that arrived once more before they answer; larger ones than this for minutes. */
const LARGE = 16 << 20;

const OCTETS = { "Content-Type": "application/octet-stream" } as const;

export interface RepositoryOptions {
  /** As messages call it. */
  readonly host: string;
  readonly name: string;
  readonly access: "pull" | "pull,push";
  readonly signal?: AbortSignal | undefined;
}

/** The requests of the distribution-spec, to one repository. All throw {@link RegistryFailure} for answers that are no answer. */
export class Repository {
  readonly #http: RegistryHttp;
  readonly #options: RepositoryOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #attempts: Attempts | undefined;
  readonly #scope: string;
  readonly #path: string;
  /** `registry.example/app` */
  readonly title: string;
  readonly host: string;
  readonly name: string;

  constructor(http: RegistryHttp, options: RepositoryOptions, attempts?: Attempts) {
    this.#http = http;
    this.#options = options;
    this.#attempts = attempts;
    this.#signal = options.signal;
    this.host = options.host;
    this.name = options.name;
    this.title = `${options.host}/${options.name}`;
    this.#scope = `repository:${options.name}:${options.access}`;
    this.#path = `/v2/${options.name}`;
  }

  /** For requests that belong together. */
  attempts(): Attempts {
    return this.#http.attempts();
  }

  /** The repository for requests that belong together. */
  within(attempts: Attempts): Repository {
    return new Repository(this.#http, this.#options, attempts);
  }

  /** Another one of the registry, to read from. */
  other(name: string): Repository {
    return new Repository(this.#http, { ...this.#options, name, access: "pull" });
  }

  async hasBlob({ digest }: Pick<Descriptor, "digest">): Promise<boolean> {
    const what = `cannot ask ${this.title} for the blob ${digest}`;
    const response = await this.#send(
      { method: "HEAD", url: `${this.#path}/blobs/${digest}`, isRepeatable: true },
      what,
    );
    return await this.#is(response, what);
  }

  /** A blob from a byte on; status 200 where the registry gives all of it all the same. */
  async readBlob(digest: Digest, offset: number): Promise<RegistryResponse> {
    const what = `cannot read the blob ${digest} of ${this.title}`;
    const response = await this.#send(
      {
        method: "GET",
        url: `${this.#path}/blobs/${digest}`,
        headers: { "Accept-Encoding": "identity", ...(offset > 0 && { Range: `bytes=${offset}-` }) },
        isRepeatable: true,
      },
      what,
    );
    return await this.#expect(response, offset > 0 ? [200, 206] : [200], what);
  }

  /** Undefined where there is none. @param reference a tag or a digest */
  async manifestDigest(reference: string): Promise<string | undefined> {
    const what = `cannot ask for ${this.#manifestTitle(reference)}`;
    const response = await this.#send(
      {
        method: "HEAD",
        url: `${this.#path}/manifests/${reference}`,
        headers: { Accept: MANIFEST_TYPES },
        isRepeatable: true,
      },
      what,
    );
    const digest = response.header("docker-content-digest");
    return (await this.#is(response, what)) ? digest : undefined;
  }

  async readManifest(reference: string): Promise<RegistryResponse> {
    const what = `cannot read ${this.#manifestTitle(reference)}`;
    const response = await this.#send(
      {
        method: "GET",
        url: `${this.#path}/manifests/${reference}`,
        headers: { Accept: MANIFEST_TYPES },
        isRepeatable: true,
      },
      what,
    );
    return await this.#expect(response, [200], what);
  }

  async writeManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<RegistryResponse> {
    const what = `cannot write ${this.#manifestTitle(reference)}`;
    const response = await this.#send(
      {
        method: "PUT",
        url: `${this.#path}/manifests/${reference}`,
        headers: { "Content-Type": mediaType },
        body: bytes,
        isRepeatable: true,
      },
      what,
    );
    return await this.#done(response, [201, 200, 202], what);
  }

  async startUpload(): Promise<UploadSession> {
    const what = `cannot upload to ${this.title}`;
    // Sent twice, it leaves a session that the registry forgets in time.
    const request = { method: "POST", url: `${this.#path}/blobs/uploads/`, isRepeatable: true } as const;
    return sessionOf(await this.#done(await this.#send(request, what), [202], what), request.url, what);
  }

  /**
   * Asks for a blob of another repository.
   * @param from undefined for any repository that the registry knows it in
   * @returns `mounted`, or the session that a registry opens instead, or undefined where it does neither
   */
  async mount(digest: Digest, from: string | undefined): Promise<"mounted" | UploadSession | undefined> {
    const what = `cannot upload to ${this.title}`;
    const source = from === undefined ? "" : `&from=${encodeURIComponent(from)}`;
    const url = `${this.#path}/blobs/uploads/?mount=${encodeURIComponent(digest)}${source}`;
    const scopes = from === undefined ? [] : [`repository:${from}:pull`];
    const response = await this.#send({ method: "POST", url, isRepeatable: true }, what, scopes);
    await response.discard();
    if (response.status === 201) return "mounted";
    return response.status === 202 && response.header("location") !== undefined
      ? sessionOf(response, url, what)
      : undefined;
  }

  /** The whole blob at once. */
  async putBlob({ location }: UploadSession, { digest, size }: Descriptor, stream: Bytes["stream"]): Promise<void> {
    const what = `cannot upload ${digest} to ${this.title}`;
    const body = { stream, length: size };
    const response = await this.#send(
      {
        method: "PUT",
        url: withDigest(location, digest),
        headers: OCTETS,
        body,
        isRepeatable: false,
        mayTakeLong: size > LARGE,
      },
      what,
    );
    await this.#done(response, [201, 200, 204], what);
  }

  /** A part of a blob. @param span undefined for a first part that ends nobody knows where */
  async patchBlob(
    session: UploadSession,
    stream: Bytes["stream"],
    span: ByteSpan | undefined,
  ): Promise<{ readonly session: UploadSession; readonly received: number | undefined }> {
    const what = `cannot upload a blob to ${this.title}`;
    const length = span && span.end - span.start;
    const headers = { ...OCTETS, ...(span && { "Content-Range": `${span.start}-${span.end - 1}` }) };
    const body = { stream, length };
    const response = await this.#send(
      { method: "PATCH", url: session.location, headers, body, isRepeatable: false },
      what,
    );
    // ECR answers 201.
    await this.#done(response, [202, 201, 204], what);
    return { session: sessionOf(response, session.location, what, session), received: receivedOf(response) };
  }

  /** What the registry has of an upload; undefined where it knows the upload no more, or does not tell. */
  async uploadStatus(
    session: UploadSession,
  ): Promise<{ readonly session: UploadSession; readonly received: number } | undefined> {
    const what = `cannot ask ${this.title} how much of an upload arrived`;
    const response = await this.#send({ method: "GET", url: session.location, isRepeatable: true }, what);
    const { status } = response;
    if (status >= 400 && status < 500 && !STATES.has(status)) {
      await response.discard();
      return undefined;
    }
    await this.#done(response, [204, 200, 202], what);
    return { session: sessionOf(response, session.location, what, session), received: receivedOf(response) ?? 0 };
  }

  /** Ends an upload of which all parts are there. */
  async finishUpload({ location }: UploadSession, { digest, size }: Descriptor): Promise<void> {
    const what = `cannot upload ${digest} to ${this.title}`;
    const response = await this.#send(
      {
        method: "PUT",
        url: withDigest(location, digest),
        headers: OCTETS,
        isRepeatable: false,
        mayTakeLong: size > LARGE,
      },
      what,
    );
    await this.#done(response, [201, 200, 204], what);
  }

  async cancelUpload({ location }: UploadSession): Promise<void> {
    const what = `cannot cancel an upload to ${this.title}`;
    await (await this.#send({ method: "DELETE", url: location, isRepeatable: true }, what)).discard();
  }

  #manifestTitle(reference: string): string {
    return `the manifest ${this.title}${reference.includes(":") ? "@" : ":"}${reference}`;
  }

  async #send(
    request: Omit<RegistryRequest, "scopes">,
    what: string,
    scopes: readonly string[] = [],
  ): Promise<RegistryResponse> {
    if (this.#signal?.aborted) throw abortReason(this.#signal);
    try {
      return await this.#http.request({ ...request, scopes: [this.#scope, ...scopes], attempts: this.#attempts });
    } catch (error) {
      if (this.#signal?.aborted) throw abortReason(this.#signal);
      if (error instanceof OciNixError) throw error;
      throw new OciNixError("unavailable", `${what}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #is(response: RegistryResponse, what: string): Promise<boolean> {
    if (response.status !== 404) await this.#expect(response, [200], what);
    await response.discard();
    return response.status === 200;
  }

  async #done(response: RegistryResponse, statuses: readonly number[], what: string): Promise<RegistryResponse> {
    await this.#expect(response, statuses, what);
    await response.discard();
    return response;
  }

  async #expect(response: RegistryResponse, statuses: readonly number[], what: string): Promise<RegistryResponse> {
    if (statuses.includes(response.status)) return response;
    throw await failureOf(response, what, this.host);
  }
}

const MANIFEST_TYPES = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");
