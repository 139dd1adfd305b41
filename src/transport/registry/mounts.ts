import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import type { Descriptor } from "../../oci/manifest.js";
import { checkName, fullName } from "../../oci/reference.js";
import type { Repository, UploadSession } from "./repository.js";

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

  /** Repositories that may have the blob. */
  sourcesOf({ digest }: Descriptor): readonly string[] {
    const { host, name } = this.#repository;
    const known = [...this.#sources, ...(this.#locations?.repositoriesOf(host, digest) ?? [])];
    return [...new Set(known)].filter((source) => source !== name).slice(0, MAX_SOURCES);
  }

  /** Whether the repository has the blob now. */
  async mount(blob: Descriptor): Promise<boolean> {
    const { digest } = blob;
    const sources = this.sourcesOf(blob);
    for (const source of sources) if (await this.#mountFrom(digest, source)) return true;
    if (sources.length > 0 || !this.#mayBeAnonymous) return false;
    this.#mayBeAnonymous = false;
    const isMounted = await this.#mountFrom(digest, undefined);
    if (isMounted) this.#mayBeAnonymous = true;
    return isMounted;
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

  async #mountFrom(digest: Digest, source: string | undefined): Promise<boolean> {
    let result: Awaited<ReturnType<Repository["mount"]>>;
    try {
      result = await this.#repository.mount(digest, source);
    } catch (error) {
      // It can be uploaded all the same; what is wrong with the registry itself shows then.
      if (error instanceof OciNixError && (error.code === "unavailable" || error.code === "denied")) return false;
      throw error;
    }
    if (result === "mounted") return true;
    if (result !== undefined) {
      const other = this.takeSession(digest);
      if (other !== undefined) this.#onLeft(other);
      this.#sessions.set(digest, result);
    }
    return false;
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
