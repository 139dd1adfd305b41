import { createRequire } from "node:module";
import type * as Undici from "undici";
import { OciNixError } from "../../core/errors.js";

const require = createRequire(import.meta.url);

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
}

export interface RegistryResponse {
  readonly status: number;
  /** By lower-case name. */
  header(name: string): string | undefined;
  /** The body, piece by piece. To be read to its end, or {@link discard}ed. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body. @throws OciNixError `limit` where it is longer than `limit` bytes */
  bytes(limit: number): Promise<Buffer>;
  /** Gives the connection back without reading the body. */
  discard(): Promise<void>;
}

/** Requests to one registry: connections, TLS, proxies, credentials, retries. */
export interface RegistryHttp {
  /** `host[:port]`. */
  readonly host: string;
  /**
   * Sends a request, again where the policy has it so; redirects are followed (never with credentials to another host). Any final status is a
   * result, 401 after fresh credentials included.
   * @throws OciNixError `unavailable` where the registry cannot be reached; the signal's reason
   */
  request(request: RegistryRequest): Promise<RegistryResponse>;
  close(): Promise<void>;
}

export interface RegistryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether certificates are verified, and plain HTTP is refused (loopback apart); by default true. */
  readonly tlsVerify?: boolean | undefined;
}

/** @param host `registry.example:5000` */
export function openRegistryHttp(host: string, options: RegistryOptions = {}): RegistryHttp {
  const { request, Agent } = require("undici") as typeof Undici;
  const agent = new Agent();
  const base = /^(localhost|127\.|\[::1\])/.test(host) ? `http://${host}` : `https://${host}`;
  return {
    host,
    async request({ method, url, headers, body }) {
      const {
        statusCode,
        headers: received,
        body: stream,
      } = await request(new URL(url, base), {
        dispatcher: agent,
        method,
        ...(headers === undefined ? {} : { headers }),
        ...(body === undefined ? {} : { body: body instanceof Uint8Array ? body : (body.stream as never) }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      return {
        status: statusCode,
        header: (name) => {
          const value = received[name];
          return Array.isArray(value) ? value.join(", ") : value;
        },
        body: stream,
        async bytes(limit) {
          const all = Buffer.from(await stream.arrayBuffer());
          if (all.length > limit) throw new OciNixError("limit", `the answer is longer than ${limit} bytes`);
          return all;
        },
        discard: () => stream.dump(),
      };
    },
    close: () => agent.close(),
  };
}
