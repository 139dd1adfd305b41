import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import type { BlobSink, Document } from "../image.js";
import type { Repository } from "./repository.js";

/** Manifests for a repository: kept until all blobs are there. */
export class Manifests {
  readonly #repository: Repository;
  readonly #title: string;
  readonly #documents = new Map<Digest, Document>();

  /** @param title of the target, for messages */
  constructor(repository: Repository, title: string) {
    this.#repository = repository;
    this.#title = title;
  }

  /** Takes a manifest without sending it. */
  begin(): BlobSink {
    const pieces: Buffer[] = [];
    return {
      write: (bytes) => void pieces.push(Buffer.from(bytes)),
      commit: async (descriptor) => {
        this.#documents.set(descriptor.digest, { descriptor, bytes: Buffer.concat(pieces) });
      },
      discard: async () => undefined,
    };
  }

  /**
   * Writes a manifest that was taken under a tag or its digest.
   * @throws OciNixError `verification` where the registry then has another one
   */
  async put(digest: Digest, reference: string): Promise<void> {
    const { descriptor, bytes } = this.#documents.get(digest) as Document;
    const repository = this.#repository.within(this.#repository.attempts());
    if ((await repository.manifestDigest(reference)) === digest) return;
    const response = await repository.writeManifest(reference, descriptor.mediaType, bytes);
    const said = response.header("docker-content-digest");
    if (response.status === 201 && said === digest) return;
    // A gateway may answer what the registry never saw.
    const found = (await repository.manifestDigest(reference)) ?? said;
    if (found === digest || (response.status === 201 && found === undefined)) return;
    throw new OciNixError(
      "verification",
      `${this.#title}: the registry has ${found === undefined ? "no manifest" : response.shown(found)}, but ${digest} was sent`,
      {
        hint: "something between here and the registry changes or keeps manifests",
      },
    );
  }
}
