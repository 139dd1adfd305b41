import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What goes wrong with a request. */
export type Fault =
  /** An answer that the registry never saw the request of. */
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** The connection breaks once so many bytes of the request's body came; the registry sees it break as well. */
  | { readonly kind: "drop"; readonly after: number }
  /** The same, but the registry has got what came, as those have that commit what they receive. Needs `keepsParts`. */
  | { readonly kind: "cut"; readonly after: number }
  /** The registry does what it is asked for, and nobody hears of it. */
  | { readonly kind: "silence" }
  /** The connection breaks after so many bytes of the answer's body. */
  | { readonly kind: "truncate"; readonly after: number }
  | { readonly kind: "slow"; readonly ms: number }
  /** The answer's `Location` is that of the request. */
  | { readonly kind: "stale" }
  /** No blob is mounted. */
  | { readonly kind: "no-mount" }
  /** One byte of the request's body changes. */
  | { readonly kind: "corrupt" }
  /** Headers that the answer has as well. */
  | { readonly kind: "headers"; readonly headers: Record<string, string> }
  /** Is sent to another host, which has the answer: see {@link FaultProxy.elsewhere}. */
  | { readonly kind: "redirect" };

export interface Injection {
  readonly method?: string;
  /** Of the path with its query. */
  readonly path?: RegExp;
  /** How many requests it befalls; by default one. */
  readonly times?: number;
  readonly fault: Fault;
}

export interface ProxiedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Undefined where the connection broke first. */
  status: number | undefined;
  /** Bytes of the request's body that came. */
  sent: number;
}

/** An HTTP proxy in front of a registry, as its only door. */
export interface FaultProxy {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** All requests, in the order in which they came. */
  readonly requests: readonly ProxiedRequest[];
  /** What came to the host that blobs are redirected to. */
  readonly elsewhere: readonly ProxiedRequest[];
  /** Bytes of all requests' bodies to blobs. */
  uploaded(): number;
  inject(...injections: readonly Injection[]): void;
  /** Forgets requests and faults. */
  reset(): void;
  stop(): Promise<void>;
}

/**
 * @param upstream the registry's `host:port`
 * @param options.keepsParts behaves as registries do that have what arrived of a broken upload: an upload's old Locations stay good
 */
export async function startFaultProxy(
  upstream: string,
  options: { readonly keepsParts?: boolean } = {},
): Promise<FaultProxy> {
  const requests: ProxiedRequest[] = [];
  const elsewhere: ProxiedRequest[] = [];
  const pending: { injection: Injection; left: number }[] = [];
  const agent = new Agent({ keepAlive: true });
  /** The newest Location of each upload. */
  const uploads = new Map<string, string>();
  /** Parts that the registry is still taking, by upload. */
  const settling = new Map<string, Promise<void>>();
  const faultOf = (method: string, url: string): Fault | undefined => {
    const found = pending.find(
      ({ injection, left }) => left > 0 && (injection.method ?? method) === method && (injection.path ?? /^/).test(url),
    );
    if (found !== undefined) found.left--;
    return found?.injection.fault;
  };

  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const { method = "GET", url = "/" } = incoming;
    const record: ProxiedRequest = { method, url, headers: incoming.headers, status: undefined, sent: 0 };
    requests.push(record);
    const fault = faultOf(method, url);
    if (fault?.kind === "slow") await sleep(fault.ms);
    if (fault?.kind === "answer" || fault?.kind === "redirect") {
      const { status, headers, body } =
        fault.kind === "answer"
          ? fault
          : { status: 307, headers: { Location: `http://${elsewhereHost}${url}` }, body: "" };
      record.status = status;
      outgoing.writeHead(status, { ...headers, Connection: "close" }).end(body ?? "");
      incoming.on("data", (bytes: Buffer) => {
        record.sent += bytes.length;
      });
      return;
    }
    const upload = uploadOf(url);
    if (upload !== undefined) await settling.get(upload);
    const target = options.keepsParts === true && upload !== undefined ? newest(uploads.get(upload), url) : url;
    // What arrived of a whole blob is a part of it.
    const isPart = fault?.kind === "cut" && method === "PUT";
    const path = isPart
      ? target.replace(/[?&]digest=[^&]*/, "")
      : fault?.kind === "no-mount"
        ? target.replace(/\?mount=.*$/, "")
        : target;
    const onward: RequestOptions = {
      agent,
      host: upstream.split(":")[0],
      port: upstream.split(":")[1],
      method: isPart ? "PATCH" : method,
      path,
      headers: headersFor(incoming.headers, fault),
    };
    await new Promise<void>((resolve) => {
      const forwarded = request(onward);
      let isCut = false;
      const breakOff = () => {
        forwarded.destroy();
        outgoing.destroy();
        resolve();
      };
      const cutOff = () => {
        isCut = true;
        forwarded.end();
        outgoing.destroy();
      };
      let settle: () => void = () => undefined;
      if (upload !== undefined && fault?.kind === "cut") {
        settling.set(upload, new Promise((done) => (settle = done)));
      }
      forwarded.on("error", () => {
        settle();
        outgoing.destroy();
        resolve();
      });
      for (const event of ["error", "close"]) {
        incoming.on(event, () => {
          if (!incoming.complete && !isCut) breakOff();
        });
      }
      forwarded.on("response", (response) => {
        const location = response.headers.location;
        const session = location === undefined ? undefined : uploadOf(location);
        if (location !== undefined && session !== undefined) uploads.set(session, location);
        settle();
        if (isCut) {
          response.resume();
          return resolve();
        }
        if (fault?.kind === "silence") {
          response.resume();
          outgoing.destroy();
          return resolve();
        }
        record.status = response.statusCode;
        const headers = { ...response.headers, ...(fault?.kind === "headers" && fault.headers) };
        if (fault?.kind === "stale") headers.location = `http://${incoming.headers.host}${url}`;
        outgoing.writeHead(response.statusCode ?? 502, headers);
        let passed = 0;
        response.on("data", (bytes: Buffer) => {
          const rest = fault?.kind === "truncate" ? fault.after - passed : bytes.length;
          passed += bytes.length;
          if (rest >= bytes.length) {
            if (!outgoing.write(bytes)) {
              response.pause();
              outgoing.once("drain", () => response.resume());
            }
            return;
          }
          response.destroy();
          outgoing.write(bytes.subarray(0, Math.max(rest, 0)), () => outgoing.destroy());
        });
        response.on("end", () => outgoing.end());
        response.on("close", resolve);
      });
      incoming.on("data", (bytes: Buffer) => {
        if (isCut) return;
        const after = fault?.kind === "drop" || fault?.kind === "cut" ? fault.after : Number.POSITIVE_INFINITY;
        const piece = bytes.subarray(0, Math.max(after - record.sent, 0));
        const isFirst = record.sent === 0;
        record.sent += bytes.length;
        const sent = fault?.kind === "corrupt" && isFirst ? flipped(piece) : piece;
        if (sent.length > 0 && !forwarded.write(sent)) {
          incoming.pause();
          forwarded.once("drain", () => incoming.resume());
        }
        if (record.sent < after) return;
        if (fault?.kind === "drop") return breakOff();
        cutOff();
      });
      incoming.on("end", () => {
        // Bodies that are shorter break at their end.
        if (fault?.kind === "drop") breakOff();
        else if (fault?.kind === "cut" && !isCut) cutOff();
        else forwarded.end();
      });
    });
  };

  const server = createServer((incoming, outgoing) => void handle(incoming, outgoing));
  const other = createServer((incoming, outgoing) => {
    const { method = "GET", url = "/", headers } = incoming;
    elsewhere.push({ method, url, headers, status: 200, sent: 0 });
    const [host, port] = upstream.split(":");
    const { authorization: _, ...rest } = headers;
    request({ host, port, method, path: url, headers: rest }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    }).end();
  });
  const host = await listen(server);
  const elsewhereHost = await listen(other);
  return {
    host,
    requests,
    elsewhere,
    uploaded: () => requests.filter(({ url }) => url.includes("/blobs/")).reduce((sum, { sent }) => sum + sent, 0),
    inject: (...injections) =>
      void pending.push(...injections.map((injection) => ({ injection, left: injection.times ?? 1 }))),
    reset() {
      requests.length = 0;
      elsewhere.length = 0;
      pending.length = 0;
    },
    async stop() {
      agent.destroy();
      for (const each of [server, other]) {
        each.closeAllConnections();
        await new Promise((resolve) => each.close(resolve));
      }
    },
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a byte count at the end would contradict goes chunked. */
function headersFor(headers: IncomingHttpHeaders, fault: Fault | undefined): IncomingHttpHeaders {
  const { connection: _, ...rest } = headers;
  if (fault?.kind !== "cut") return rest;
  const { "content-length": __, "content-range": ___, ...chunked } = rest;
  return { ...chunked, "transfer-encoding": "chunked" };
}

function uploadOf(url: string): string | undefined {
  return /\/blobs\/uploads\/([0-9a-f-]{36})/.exec(url)?.[1];
}

/** The newest Location, with what the request says besides. */
function newest(location: string | undefined, url: string): string {
  if (location === undefined) return url;
  const { pathname, searchParams } = new URL(location, "http://x");
  const digest = new URL(url, "http://x").searchParams.get("digest");
  if (digest !== null) searchParams.set("digest", digest);
  return `${pathname}?${searchParams}`;
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] as number) ^ 1;
  return copy;
}
