import type { Attempts } from "./retry.js";

export interface RegistryRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** An absolute URL, as registries give in `Location`, or a path: `/v2/…`. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes, which may be sent again, or a stream, which is sent once. Without a length a stream is sent chunked. */
  readonly body?: Uint8Array | { readonly stream: AsyncIterable<Uint8Array>; readonly length?: number | undefined };
  /** What it needs rights for, as token servers name it: `repository:app:pull,push`. */
  readonly scopes: readonly string[];
  /** Whether the request may be sent twice where nobody knows whether the first one arrived. Streams are never sent again. */
  readonly isRepeatable: boolean;
  /** Whether the registry may take long to answer, as it reads a large blob once more. */
  readonly mayTakeLong?: boolean | undefined;
  /** Of what it is a part of; by default it has its own. */
  readonly attempts?: Attempts | undefined;
}

export interface RegistryResponse {
  readonly status: number;
  /** By lower-case name. What the registry says is shown by way of {@link shown}. */
  header(name: string): string | undefined;
  /** The body, piece by piece. To be read to its end, or {@link discard}ed. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body, of a document. @throws OciNixError `limit` where it is longer than `limit` bytes; `unavailable` where it breaks off or comes too slowly */
  bytes(limit: number): Promise<Buffer>;
  /** Words of the answer as they may be shown: none that repeat credentials. */
  shown(words: string): string;
  /** Of a refusal: where the credentials came from, and what to do. */
  readonly loginHint?: string | undefined;
  /** Gives the connection back without reading the body. */
  discard(): Promise<void>;
}
