import type { BlobSource } from "../core/blob.js";
import type { ByteSink } from "../core/byte-sink.js";
import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import type { OciNixError } from "../core/errors.js";
import type { Descriptor } from "../oci/manifest.js";

/** A JSON document as it is stored: its bytes are the truth, whatever they parse to. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A layer as a medium holds it. */
export interface StoredLayer {
  /** The bytes as they are stored. Writing them verifies their digest against {@link descriptor}, or, without one, their unpacked digest against {@link diffId}. */
  readonly blob: BlobSource;
  readonly compression: CompressionName;
  /** Of the stored bytes; undefined where only reading them would tell their digest (a packed layer in a docker-archive). */
  readonly descriptor: Descriptor | undefined;
  /** What the image config says: SHA-256 of the unpacked tar. */
  readonly diffId: Digest;
  /**
   * Why it is not what manifest and config say of it, as far as that shows before it is read. `verification`: its bytes are there all the
   * same. Anything else: they cannot be had, and writing them throws this. Only in images that were opened with `takesDamaged`.
   */
  readonly problem?: OciNixError;
}

/** An image as a medium holds it. */
export interface StoredImage {
  /** What it is called there: tags of an OCI layout, `name:tag` in a docker-archive. May be empty. */
  readonly names: readonly string[];
  /** Undefined in a docker-archive that is no OCI layout as well. */
  readonly manifest: Document | undefined;
  readonly config: Document;
  /** Bottom first. */
  readonly layers: readonly StoredLayer[];
  /** What manifest and config say that is not so. Only in images that were opened with `takesDamaged`. */
  readonly problems?: readonly OciNixError[];
}

/** Images that are open for reading. */
export interface ImageSource {
  /** In the medium's order; at least one. */
  readonly images: readonly StoredImage[];
  /** Gives back files; nothing can be read afterwards. */
  close(): void;
}

/** An image whose blobs a target has. */
export interface FinishedImage {
  /** What the image calls itself, `name:tag` each; the target's own name, if it has one, comes instead. */
  readonly names: readonly string[];
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** The target has a blob, can get it from another repository of its own, or is to be sent it. */
export type BlobFate = "exists" | "mounts" | "uploads";

/** Where images are written to. First blobs, one at a time, then {@link finish}, which makes images visible. */
export interface ImageTarget {
  /** What messages call it. */
  readonly title: string;
  /** Whether it takes one image only, which has its name here. */
  readonly takesOne: boolean;
  /** Why layers that are packed so cannot be here; undefined where they can. */
  refuses(compression: CompressionName): string | undefined;
  /**
   * How many of an image's lowest layers the target has unpacked, so that it does without their blobs. Asked once an image, before
   * {@link has}.
   * @param diffIds of all layers, bottom first; undefined for a layer that is not known yet
   */
  countHeld?(diffIds: readonly (Digest | undefined)[]): Promise<number>;
  /** Whether the target has this blob, or gets it from elsewhere, so that it need not be written. May be asked for several blobs at once. */
  has(blob: Descriptor): Promise<boolean>;
  /**
   * Takes a blob from a file that holds just it, by link or clone.
   * @returns false where that cannot be done and the blob is to be written
   */
  link(blob: Descriptor, file: string): Promise<boolean>;
  /** @param known what the blob will be, where that is known; it is then what must be committed */
  begin(known?: Descriptor): Promise<BlobSink>;
  /**
   * Blobs that were committed or linked and got lost on the way, as far as is known when nothing is under way any more: they are to be
   * written again. Each is told once.
   */
  lost?(): Promise<readonly Descriptor[]>;
  /**
   * How this target gets a blob from another one, to which it is written now, once it is there; undefined where it cannot. What does not
   * come is {@link lost}.
   */
  follow?(other: ImageTarget): ((blob: Descriptor) => void) | undefined;
  /** Called as soon as the manifest is known. @throws OciNixError `verification` where the target is for another one */
  checkManifest?(manifest: Descriptor): void;
  /** What would become of a blob, without changing anything. */
  foresee?(blob: Descriptor): Promise<BlobFate>;
  /** What stays at the target where the work ends early, for messages. */
  remains?(): string | undefined;
  /**
   * Makes images visible whose blobs, config and manifest among them, are there. Once, last.
   * @param writeAgain writes the blobs of all images once more, asking as the first time: for a target that has lost what it had
   * @throws OciNixError `output`
   */
  finish(images: readonly FinishedImage[], writeAgain?: () => Promise<void>): Promise<void>;
  /** Gives back everything; without {@link finish} nothing of what was visible has changed. */
  close(): Promise<void>;
}

/** Takes a blob's bytes. */
export interface BlobSink extends ByteSink {
  /** All is written. @throws OciNixError `output` */
  commit(blob: Descriptor): Promise<void>;
  /** Forgets what was written, unless it is committed. */
  discard(): Promise<void>;
}
