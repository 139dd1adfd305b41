import { createRequire } from "node:module";
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { SecureContext } from "node:tls";
import type * as Undici from "undici";
import { errnoOf, OciNixError } from "../../core/errors.js";
import { readAnswerFirst } from "../pending-answer.js";
import { namesOf } from "./hosts.js";
import type { RegistryRequest, RegistryResponse } from "./messages.js";
import { LateBody, StalledBody } from "./network-failure.js";
import { proxyFor } from "./proxy.js";
import type { Secrets } from "./secrets.js";
import { secureContextFor } from "./tls.js";

/** Enough for a registry's client; what is more waits. */
const CONNECTIONS_PER_ORIGIN = 16;
const CONNECT_TIMEOUT_MS = 10_000;
const BODY_TIMEOUT_MS = 120_000;
/** A body that nobody reads, and that is longer or takes longer than this, costs its connection. */
const DISCARDED = { limit: 128 * 1024, ms: 5000 } as const;

/** How long is waited for a server that says nothing, in milliseconds. */
export interface Patience {
  /** For the answer to a question. */
  readonly question: number;
  /** For the answer to what was sent, and for more of it to be taken. */
  readonly upload: number;
  /** For the answer to what may take long. */
  readonly large: number;
  /** For all of a document, from the beginning of its answer on: such a one is small, and nobody sees that it comes a byte at a time. */
  readonly document: number;
}

const PATIENCE: Patience = { question: 60_000, upload: 120_000, large: 600_000, document: 120_000 };

export interface Exchange {
  readonly method: RegistryRequest["method"];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  readonly signal: AbortSignal;
  readonly mayTakeLong?: boolean | undefined;
}

/** Connections to any hosts: TLS, proxies, limits. */
export interface Connections {
  /**
   * Sends one request once; redirects are answers.
   * @param explain the error for a body that breaks off
   * @throws what the connection fails with; the signal's reason; OciNixError for certificates or proxies that cannot be used
   */
  send(url: URL, exchange: Exchange, explain: (error: unknown) => Error): Promise<RegistryResponse>;
  /** The proxy that a URL is reached over, without credentials. */
  proxyOf(url: URL): string | undefined;
  /** Ends all connections, those in use and those that are being made too. */
  close(): Promise<void>;
}

/** How the library makes a connection; it gives the socket, which its types do not tell, or for a tunnel nothing of use. */
type Connect = (to: object, callback: (error: Error | null, socket: Socket | null) => void) => unknown;

const require = createRequire(import.meta.url);

/**
 * @param host the registry as it was named, which its certificates may be kept under
 * @param options.secrets of the registry; learns those of proxies
 */
export function openConnections(
  host: string,
  options: {
    readonly tlsVerify: boolean;
    readonly secrets: Secrets;
    readonly patience?: Partial<Patience> | undefined;
  },
): Connections {
  const { tlsVerify, secrets } = options;
  const patience = { ...PATIENCE, ...options.patience };
  const undici = require("undici") as typeof Undici;
  const dispatchers = new Map<string, Undici.Dispatcher>();
  const contexts = new Map<string, SecureContext>();
  const contextFor = (url: URL): SecureContext => {
    const names = [...new Set([url.host, ...namesOf(url.host), ...(host.startsWith(`${url.host}:`) ? [host] : [])])];
    const context = contexts.get(url.host) ?? secureContextFor(names);
    contexts.set(url.host, context);
    return context;
  };
  // The library lets go of a connection only when it is up, or given up.
  const sockets = new Set<Socket>();
  const kept =
    (connect: Connect): Connect =>
    (to, callback) => {
      const socket = connect(to, (error, made) => callback(error === null ? null : lasting(error), made));
      if (!(socket instanceof Socket)) return socket;
      sockets.add(socket);
      readAnswerFirst(socket);
      socket.once("close", () => sockets.delete(socket));
      return socket;
    };
  const poolOf = (origin: URL | string, pool: object) => {
    const { connect } = pool as { readonly connect: Connect };
    return new undici.Pool(origin, { ...pool, connect: kept(connect) as Undici.buildConnector.connector });
  };
  const dispatcherFor = (url: URL, isForStream: boolean): Undici.Dispatcher => {
    const key = `${isForStream} ${url.origin}`;
    const known = dispatchers.get(key);
    if (known !== undefined) return known;
    const tls = (to: URL) =>
      to.protocol === "https:" ? { secureContext: contextFor(to), rejectUnauthorized: tlsVerify } : {};
    const limits = {
      connections: CONNECTIONS_PER_ORIGIN,
      headersTimeout: patience.question,
      bodyTimeout: BODY_TIMEOUT_MS,
      // A connection that idles may be closed by the other side at the very moment it is used; a stream would be lost with it.
      pipelining: isForStream ? 0 : 1,
    };
    const proxy = proxyFor(url);
    if (proxy?.authorization !== undefined) {
      const pair = Buffer.from(proxy.authorization.slice("Basic ".length), "base64").toString();
      secrets.add(pair.slice(pair.indexOf(":") + 1));
    }
    const made =
      proxy === undefined
        ? poolOf(url.origin, {
            ...limits,
            connect: undici.buildConnector({ ...tls(url), timeout: CONNECT_TIMEOUT_MS }),
          })
        : new undici.ProxyAgent({
            ...limits,
            uri: proxy.url.href,
            clientFactory: poolOf,
            factory: poolOf,
            ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
            // Most proxies let CONNECT through to TLS alone.
            proxyTunnel: url.protocol === "https:",
            requestTls: { ...tls(url), timeout: CONNECT_TIMEOUT_MS },
            proxyTls: { ...tls(proxy.url), timeout: CONNECT_TIMEOUT_MS },
          });
    dispatchers.set(key, made);
    return made;
  };
  return {
    async send(url, { method, headers, body: given, signal: outer, mayTakeLong }, explain) {
      const isStream = given !== undefined && !(given instanceof Uint8Array);
      const { body, signal } = isStream ? watched(given, patience.upload, outer) : { body: given, signal: outer };
      const isUpload = method === "PUT" || method === "PATCH";
      const sent = dispatcherFor(url, isStream).request({
        headersTimeout: mayTakeLong ? patience.large : isUpload ? patience.upload : patience.question,
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers,
        signal,
        ...(body === undefined ? {} : { body: body as Uint8Array }),
      });
      const received = await unlessAborted(sent, signal);
      return responseOf(received.statusCode, received.headers, received.body, {
        explain,
        title: `${method} ${secrets.shownUrl(url)}`,
        secrets,
        documentMs: patience.document,
      });
    },
    proxyOf: (url) => proxyFor(url)?.url.host,
    async close() {
      const destroyed = [...dispatchers.values()].map((dispatcher) => dispatcher.destroy());
      for (const socket of sockets) socket.destroy(new Error("closed"));
      await Promise.all(destroyed);
    },
  };
}

/** The library connects for ever where a connection fails with errors of these, as where a proxy closes instead of tunnelling. */
function lasting(error: Error): Error {
  if (errnoOf(error) !== "UND_ERR_SOCKET" && errnoOf(error) !== "UND_ERR_INFO") return error;
  return Object.assign(new Error("closed", { cause: error }), { code: "ECONNRESET" });
}

/** A stream whose request ends where the other side takes nothing of it any more. That it comes slowly itself does not count. */
function watched(
  stream: AsyncIterable<Uint8Array>,
  ms: number,
  outer: AbortSignal,
): { readonly body: AsyncIterable<Uint8Array>; readonly signal: AbortSignal } {
  const controller = new AbortController();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    let timer: NodeJS.Timeout | undefined;
    try {
      for await (const piece of stream) {
        timer = setTimeout(() => controller.abort(new StalledBody("stalled")), ms);
        yield piece;
        clearTimeout(timer);
      }
    } finally {
      clearTimeout(timer);
    }
  }
  return { body: { [Symbol.asyncIterator]: pieces }, signal: AbortSignal.any([outer, controller.signal]) };
}

function responseOf(
  status: number,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  stream: Readable & { dump(options: { readonly limit: number; readonly signal: AbortSignal }): Promise<void> },
  options: {
    readonly explain: (error: unknown) => Error;
    readonly title: string;
    readonly secrets: Secrets;
    readonly documentMs: number;
  },
): RegistryResponse {
  const { explain, title, secrets, documentMs } = options;
  // Whoever does not read the body is not told that it broke off.
  stream.on("error", () => {});
  async function* pieces(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of stream) yield piece as Uint8Array;
    } catch (error) {
      throw explain(error);
    }
  }
  const body = { [Symbol.asyncIterator]: pieces };
  return {
    status,
    header(name) {
      const value = headers[name];
      return typeof value === "object" ? value.join(", ") : value;
    },
    body,
    async bytes(limit) {
      const all: Uint8Array[] = [];
      let length = 0;
      const timer = setTimeout(() => stream.destroy(new LateBody("late")), documentMs);
      try {
        for await (const piece of body) {
          length += piece.length;
          if (length > limit) throw new OciNixError("limit", `the answer to ${title} is longer than ${limit} bytes`);
          all.push(piece);
        }
      } finally {
        clearTimeout(timer);
      }
      return Buffer.concat(all, length);
    },
    shown: (words) => secrets.shown(words),
    async discard() {
      const signal = AbortSignal.timeout(DISCARDED.ms);
      await stream.dump({ limit: DISCARDED.limit, signal }).catch(() => {});
    },
  };
}

/** The library ends a request only when its connection is up, or is given up. */
function unlessAborted<T>(request: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    request.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
