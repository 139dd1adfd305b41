import type { CompressionName } from "../core/compression.js";
import type { Digest } from "../core/digest.js";
import type { Descriptor } from "../oci/manifest.js";
import type { StoredImage } from "../transport/image.js";
import type { FieldChange } from "./diff-config.js";
import type { FilesDiff } from "./diff-files.js";
import type { LayerPlace } from "./diff-layers.js";
import type { FirstDifference } from "./first-difference.js";

/** What an image is to be, as `rebuildImage` makes it. */
export interface ExpectedImage {
  readonly image: StoredImage;
  /** What is to be stored, to the byte; undefined where any way to pack the layers will do. */
  readonly stored?: { readonly manifest: Descriptor; readonly layers: readonly Descriptor[] } | undefined;
  /** Store paths of a layer that are not what was recorded for them; undefined where nothing was. */
  damagedStorePaths?(layer: number): Promise<readonly string[] | undefined>;
}

/** Why an image may not be what was expected, as far as that can be recognised. */
export interface Cause {
  readonly kind: "store-paths" | "split" | "tar-profile" | "mtime" | "owner" | "created" | "store-changed" | "contents";
  readonly message: string;
}

/** A layer of the image, beside the one that was expected. */
export interface VerifiedLayer {
  /** From 1. */
  readonly layer: number;
  /**
   * `same`: its contents are as expected. `moved`: they are, among other layers. `different`: they are not. `unexpected`: there is no layer
   * like it. `damaged`: it is not what the image's own documents say of it, or cannot be unpacked. `unreadable`: its bytes are not there, or
   * of a media type that is not read.
   */
  readonly status: "same" | "moved" | "different" | "unexpected" | "damaged" | "unreadable";
  /** As it was found, if it was read and can be unpacked; else as the config says. */
  readonly diffId: Digest;
  /** Of the stored bytes; null where nothing says and they were not read. */
  readonly digest: Digest | null;
  /** How its bytes are packed; null where it is `unreadable`. */
  readonly compression: CompressionName | null;
  /** What packed it, where the manifest says so; see `codecOf`. */
  readonly codec: string | null;
  /** Whether the stored bytes are those that a build makes here; null where that was not looked at. */
  readonly samePacking: boolean | null;
  /** The layer that was expected, from 1. */
  readonly expected: { readonly layer: number; readonly diffId: Digest } | null;
  /** Why it is `damaged` or `unreadable`. */
  readonly problem: string | null;
  /** Where its archive begins to differ from the expected one's. */
  readonly firstDifference: FirstDifference | null;
}

/** What is not the same in an image and in what was expected: before is what was expected, after what was found. */
export interface ImageVerification {
  /** Nothing differs; where only the stored bytes do, they were not to be the same. */
  readonly verified: boolean;
  readonly layersRead: boolean;
  /** Whether the stored bytes were to be the same. */
  readonly exact: boolean;
  /** What the image's manifest, config or index says that is not so. */
  readonly problems: readonly string[];
  readonly config: readonly FieldChange[];
  readonly configDigests: readonly [Digest, Digest];
  /** Null where they were not compared. */
  readonly manifestDigests: readonly [Digest, Digest] | null;
  /** Of the image, bottom first. */
  readonly layers: readonly VerifiedLayer[];
  /** Expected layers that the image has nothing for. */
  readonly missing: readonly LayerPlace[];
  /** Null where they could not be compared. */
  readonly files: FilesDiff | null;
  /** Why they could not be. */
  readonly filesProblem: string | null;
  readonly causes: readonly Cause[];
}
