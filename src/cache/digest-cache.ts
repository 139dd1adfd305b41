import type { Digest } from "../core/digest.js";

/** What is known of a layer that was made before. */
export interface RememberedLayer {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

/** What is known of a layer's packed bytes. */
export interface RememberedBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** Digests of layers that were made before. Never fails: what cannot be read is not known, what cannot be written is not remembered. */
export interface DigestCache {
  /** @param key digest of everything that decides the layer's bytes */
  layer(key: Digest): RememberedLayer | undefined;
  /** @param title for people: what the layer holds */
  rememberLayer(key: Digest, layer: RememberedLayer, title: string): void;
  forgetLayer(key: Digest): void;
  /** @param codec as `codecOf` names it */
  blob(diffId: Digest, codec: string): RememberedBlob | undefined;
  rememberBlob(diffId: Digest, codec: string, blob: RememberedBlob): void;
  forgetBlob(diffId: Digest, codec: string): void;
  close(): void;
}

/** Knows nothing and remembers nothing. */
export const noCache: DigestCache = {
  layer: () => undefined,
  rememberLayer: () => undefined,
  forgetLayer: () => undefined,
  blob: () => undefined,
  rememberBlob: () => undefined,
  forgetBlob: () => undefined,
  close: () => undefined,
};
