import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import type { Descriptor } from "../../oci/manifest.js";
import { checkName, fullName } from "../../oci/reference.js";
import type { Repository } from "./repository.js";
import type { UploadSession } from "./upload-session.js";

/** Which repositories are known to have a blob. */
export interface KnownLocations {
  /** The best one first. */
  repositoriesOf(host: string, digest: Digest): readonly string[];
  remember(host: string, digest: Digest, repository: string): void;
}

/** How many repositories are asked for a blob. */
const MAX_SOURCES = 3;

/** Gets blobs from other repositories of the same registry. */
export class Mounts {
  readonly #repository: Repository;
  readonly #sources: readonly string[];
  readonly #locations: KnownLocations | undefined;
  readonly #onLeft: (session: UploadSession) => void;
  readonly #sessions = new Map<Digest, UploadSession>();
  /** Whether the registry may find a blob by itself. One that did not does not, and one that fails is not asked again. */
  #mayBeAnonymous = true;

  /** @param options.onLeft cancels a session that is of no use; does not fail */
  constructor(
    repository: Repository,
    options: {
      readonly from?: readonly string[] | undefined;
      readonly locations?: KnownLocations | undefined;
      readonly onLeft: (session: UploadSession) => void;
    },
  ) {
    this.#repository = repository;
    this.#sources = (options.from ?? []).map((source) => repositoryOf(source, repository.host));
    this.#locations = options.locations;
    this.#onLeft = options.onLeft;
  }

  /**
   * Gets a blob from wherever it may be. Does not fail where that cannot be done.
   * @param repository the one of these mounts, within some attempts
   * @returns whether the repository has the blob now
   */
  async mount({ digest }: Descriptor, repository: Repository): Promise<boolean> {
    const sources = this.#sourcesOf(digest);
    for (const source of sources) {
      const result = await this.#ask(repository, digest, source);
      if (result !== "refused") return result === "mounted";
    }
    if (sources.length > 0 || !this.#mayBeAnonymous) return false;
    this.#mayBeAnonymous = false;
    const isMounted = (await this.#ask(repository, digest, undefined)) === "mounted";
    if (isMounted) this.#mayBeAnonymous = true;
    return isMounted;
  }

  /** As {@link mount}, from one repository. */
  async mountFrom(digest: Digest, source: string): Promise<boolean> {
    return (await this.#ask(this.#repository, digest, source)) === "mounted";
  }

  /** Whether a repository that may have the blob has it, as far as that can be asked. */
  async wouldMount({ digest }: Descriptor): Promise<boolean> {
    for (const source of this.#sourcesOf(digest)) {
      try {
        if (await this.#repository.other(source).hasBlob({ digest })) return true;
      } catch (error) {
        // What may not be asked for may not be mounted.
        if (!(error instanceof OciNixError) || error.code !== "denied") throw error;
      }
    }
    return false;
  }

  /** The session that a registry opened as it did not mount the blob. */
  takeSession(digest: Digest): UploadSession | undefined {
    const session = this.#sessions.get(digest);
    this.#sessions.delete(digest);
    return session;
  }

  /** Gives back the sessions that nobody took. */
  close(): void {
    for (const session of this.#sessions.values()) this.#onLeft(session);
    this.#sessions.clear();
  }

  /** Repositories that may have the blob. */
  #sourcesOf(digest: Digest): readonly string[] {
    const { host, name } = this.#repository;
    const known = [...this.#sources, ...(this.#locations?.repositoriesOf(host, digest) ?? [])];
    return [...new Set(known)].filter((source) => source !== name).slice(0, MAX_SOURCES);
  }

  /** `failed` where asking for other repositories would fail as well. */
  async #ask(
    repository: Repository,
    digest: Digest,
    source: string | undefined,
  ): Promise<"mounted" | "refused" | "failed"> {
    let result: Awaited<ReturnType<Repository["mount"]>>;
    try {
      result = await repository.mount(digest, source);
    } catch (error) {
      // It can be uploaded all the same; what is wrong with the registry itself shows then.
      if (error instanceof OciNixError && error.code === "unavailable") return "failed";
      if (error instanceof OciNixError && error.code === "denied") return "refused";
      throw error;
    }
    if (result === "mounted") return "mounted";
    if (result !== undefined) {
      const other = this.takeSession(digest);
      if (other !== undefined) this.#onLeft(other);
      this.#sessions.set(digest, result);
    }
    return "refused";
  }
}

/** @throws OciNixError `usage` for what is no repository of the registry */
function repositoryOf(source: string, host: string): string {
  const name = source.startsWith(`${host}/`) ? source.slice(host.length + 1) : source;
  if (name !== fullName(`${name}:0`).slice(0, -2) || host === "docker.io") {
    try {
      return checkName(name, "--mount-from");
    } catch (error) {
      if (!(error instanceof OciNixError)) throw error;
      throw new OciNixError("usage", error.message, { hint: "a repository without registry and tag: team/app" });
    }
  }
  throw new OciNixError("usage", `--mount-from: ${JSON.stringify(source)} is in another registry than ${host}`, {
    hint: "layers are mounted within one registry only",
  });
}
