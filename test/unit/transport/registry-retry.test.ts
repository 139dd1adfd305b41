import type { ServerResponse } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BlockWriter } from "../../../src/core/block-writer.js";
import { nullSink } from "../../../src/core/byte-sink.js";
import { sha256 } from "../../../src/core/digest.js";
import { OciNixError } from "../../../src/core/errors.js";
import { MediaType } from "../../../src/oci/manifest.js";
import { deferred } from "../../../src/transport/registry/deferred.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "../../../src/transport/registry/http.js";
import { registryLayer } from "../../../src/transport/registry/layer.js";
import type { RegistryRequest, RegistryResponse } from "../../../src/transport/registry/messages.js";
import { parseRegistryName } from "../../../src/transport/registry/reference.js";
import { Repository } from "../../../src/transport/registry/repository.js";
import { Attempts, backoffMs, DEFAULT_RETRY_POLICY, parseRetryAfter } from "../../../src/transport/registry/retry.js";
import { openRegistrySource } from "../../../src/transport/registry/source.js";
import { openRegistryTarget } from "../../../src/transport/registry/target.js";
import { type VirtualClock, virtualClock } from "../../support/clock.js";
import { type Answer, type Arrived, type HttpServer, startHttpServer } from "../../support/http-server.js";
import { deliverAll, imageOf } from "../../support/outgoing.js";

let clock: VirtualClock;
const running: { stop(): Promise<void> }[] = [];

beforeEach(() => {
  clock = virtualClock();
});

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
});

/** A server that gives these answers in turn, the last one for ever; the greeting is answered at once. `drop` ends the connection. */
async function serve(...answers: readonly (Answer | "drop" | "stall")[]): Promise<HttpServer> {
  let turn = 0;
  const server = await startHttpServer(({ url }, { request }) => {
    if (url === "/v2/") return {};
    const answer = answers[Math.min(turn++, answers.length - 1)] ?? {};
    if (answer === "drop") request.socket.destroy();
    return answer === "drop" || answer === "stall" ? undefined : answer;
  });
  running.push(server);
  return server;
}

function open(host: string, options: RegistryOptions = {}): RegistryHttp {
  const http = openRegistryHttp(host, { clock, ...options });
  running.push({ stop: () => http.close() });
  return http;
}

const GET = { method: "GET", url: "/v2/x", scopes: [], isRepeatable: true } as const;
const POST = { method: "POST", url: "/v2/x", scopes: [], isRepeatable: false } as const;
const statusOf = async (http: RegistryHttp, request: Parameters<RegistryHttp["request"]>[0]) => {
  const response = await http.request(request);
  await response.discard();
  return response.status;
};

async function* stream(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("abc");
}

async function failure(attempt: Promise<unknown>): Promise<OciNixError> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OciNixError);
  return error as OciNixError;
}

describe("pauses", () => {
  it("double up to their limit, with full jitter", () => {
    const longest = [1, 2, 3, 4, 5, 6, 7, 100].map((attempt) => {
      clock.chance = 0.999999;
      return Math.ceil(backoffMs(attempt, DEFAULT_RETRY_POLICY, clock) / 500) / 2;
    });
    expect(longest).toEqual([0.5, 1, 2, 4, 8, 16, 30, 30]);
    clock.chance = 0;
    expect(backoffMs(7, DEFAULT_RETRY_POLICY, clock)).toBe(0);
  });

  it("are read from Retry-After as seconds or as a date", () => {
    const now = Date.UTC(2026, 0, 2, 3, 4, 5);
    expect(parseRetryAfter("7", now)).toBe(7000);
    expect(parseRetryAfter(" 0 ", now)).toBe(0);
    expect(parseRetryAfter("Fri, 02 Jan 2026 03:04:35 GMT", now)).toBe(30_000);
    expect(parseRetryAfter("Fri, 02 Jan 2026 03:04:00 GMT", now)).toBe(0);
    expect(parseRetryAfter("Friday, 02-Jan-26 03:05:05 GMT", now)).toBe(60_000);
    expect(parseRetryAfter("Fri Jan  2 04:04:05 2026", now)).toBe(3_600_000);
    for (const bad of [undefined, "", "-1", "1.5", "soon", "Fri, 99 Jan", "2026-01-02"])
      expect(parseRetryAfter(bad, now)).toBeUndefined();
  });
});

describe("answers that are worth another attempt", () => {
  it.each([408, 429, 500, 502, 503, 504])("are asked for again: %i", async (status) => {
    const server = await serve({ status, body: "wait" }, { status }, { status: 200 });
    expect(await statusOf(open(server.host), GET)).toBe(200);
    expect(clock.slept).toEqual([250, 500]);
    expect(server.asked()).toHaveLength(3);
  });

  it("are the result after the last attempt", async () => {
    const server = await serve({ status: 503, body: "still" });
    const response = await open(server.host, { retry: { attempts: 3 } }).request(GET);
    expect([response.status, (await response.bytes(10)).toString()]).toEqual([503, "still"]);
    expect(server.asked()).toHaveLength(3);
  });

  it("are others than 400, 401, 403, 404 and 501", async () => {
    for (const status of [400, 401, 403, 404, 501]) {
      const server = await serve({ status }, {});
      expect(await statusOf(open(server.host), GET)).toBe(status);
      expect(server.asked()).toHaveLength(1);
    }
  });

  it("of a request that may not be repeated are those that say that nothing was done", async () => {
    for (const [status, isAgain] of [
      [429, true],
      [503, true],
      [408, true],
      [500, false],
      [502, false],
      [504, false],
    ] as const) {
      const server = await serve({ status }, { status: 201 });
      expect(await statusOf(open(server.host), { ...POST, body: Buffer.from("abc") })).toBe(isAgain ? 201 : status);
      expect(server.asked().map(({ body }) => body.toString())).toEqual(Array(isAgain ? 2 : 1).fill("abc"));
    }
  });

  it("of a stream are results: it is never sent again", async () => {
    const server = await serve({ status: 503 }, { status: 201 });
    const http = open(server.host);
    expect(await statusOf(http, { ...POST, body: { stream: stream() }, isRepeatable: true })).toBe(503);
    expect(server.asked()).toHaveLength(1);
  });
});

describe("Retry-After", () => {
  it("is waited for, and by others that ask the same host", async () => {
    clock.chance = 0;
    const server = await serve({ status: 429, headers: { "retry-after": "17" } }, {});
    const http = open(server.host);
    expect(await statusOf(http, GET)).toBe(200);
    expect(clock.slept).toEqual([17_000]);
    const other = await serve({ status: 503, headers: { "retry-after": "9" } }, {});
    const second = open(other.host);
    expect(await statusOf(second, { ...POST, body: { stream: stream() } })).toBe(503);
    expect(clock.slept).toEqual([17_000]);
    expect(await statusOf(second, GET)).toBe(200);
    expect(clock.slept).toEqual([17_000, 9000]);
    // Whoever else asks it as well.
    const third = await serve({ status: 429, headers: { "retry-after": "5" } }, {});
    expect(await statusOf(open(third.host), { ...POST, body: { stream: stream() } })).toBe(429);
    expect(await statusOf(open(third.host), { ...POST, body: { stream: stream() } })).toBe(200);
    expect(clock.slept).toEqual([17_000, 9000, 5000]);
  });

  it("is jittered a little, so that not all come back at once", async () => {
    const server = await serve({ status: 429, headers: { "retry-after": "17" } }, {});
    expect(await statusOf(open(server.host), GET)).toBe(200);
    expect(clock.slept).toEqual([17_250]);
  });

  it("of nothing is no reason to hurry", async () => {
    const server = await serve({ status: 503, headers: { "retry-after": "0" } }, { status: 503 }, {});
    expect(await statusOf(open(server.host), GET)).toBe(200);
    expect(clock.slept).toEqual([250, 500]);
  });

  it("that is too long makes the answer the result", async () => {
    const server = await serve({ status: 429, headers: { "retry-after": "3600" } });
    const http = open(server.host);
    expect(await statusOf(http, GET)).toBe(429);
    expect(await statusOf(http, GET)).toBe(429);
    expect(clock.slept).toEqual([]);
    expect(server.asked()).toHaveLength(2);
  });
});

const LAYER = sha256("layer");
/** What a connection over TLS begins with. */
const TLS = 0x16;

async function* zeros(size: number): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(256 * 1024);
  for (let at = 0; at < size; at += piece.length) yield piece.subarray(0, Math.min(piece.length, size - at));
}

const upload = async (host: string) => {
  const name = parseRegistryName(`${host}/app:1`, "the test");
  const target = openRegistryTarget(name, { clock });
  return await failure(deliverAll([imageOf(["layer"], { known: true })], [target]));
};
const isUpload = ({ method, url }: { readonly method: string; readonly url: string }) =>
  url.includes("/uploads/") && method !== "DELETE";

/** A registry that goes on well until something is sent to it. */
async function serveUpload(
  onUpload: (request: Arrived) => Answer | "drop" | "silence" | undefined,
): Promise<HttpServer> {
  const server = await startHttpServer((one, { request }) => {
    const answer = onUpload(one);
    if (answer === "drop") request.socket.destroy();
    if (answer !== undefined) return answer === "drop" || answer === "silence" ? undefined : answer;
    if (one.method === "HEAD") return { status: 404 };
    if (one.method === "POST") return { status: 202, headers: { location: "/v2/app/blobs/uploads/1" } };
    return { status: { PUT: 201, PATCH: 202, GET: 204 }[one.method] ?? 200 };
  });
  running.push(server);
  return server;
}

describe("all that an upload takes", () => {
  it("is tried five times in all where the registry is gone, resuming and opening sessions included", async () => {
    let isGone = false;
    const server = await serveUpload(({ method }) => {
      isGone ||= method === "PUT";
      return isGone ? "drop" : undefined;
    });
    const error = await upload(server.host);
    expect([error.code, error.message]).toEqual(["unavailable", expect.stringContaining("after 5 attempts")]);
    const all = server.asked().filter(({ method }) => method !== "DELETE");
    expect(all.length - all.findIndex(({ method }) => method === "PUT")).toBe(5);
  });

  it("is tried five times in all where the registry answers that it cannot", async () => {
    const server = await serveUpload((one) => (isUpload(one) && one.method !== "POST" ? { status: 500 } : undefined));
    expect((await upload(server.host)).code).toBe("unavailable");
    expect(server.asked().filter((one) => isUpload(one) && one.method !== "POST")).toHaveLength(5);
  });

  it("waits as long as the registry wants, and is not tried again where that is too long", async () => {
    clock.chance = 0;
    let isAsked = false;
    const busy = await serveUpload(({ method }) => {
      if (method !== "PUT" || isAsked) return undefined;
      isAsked = true;
      return { status: 429, headers: { "retry-after": "Fri, 02 Jan 2026 03:05:05 GMT" } };
    });
    const name = parseRegistryName(`${busy.host}/app:1`, "the test");
    await deliverAll([imageOf(["layer"], { known: true })], [openRegistryTarget(name, { clock })]);
    expect(clock.slept.filter((ms) => ms > 0)).toEqual([60_000]);
    const closed = await serveUpload(({ method }) =>
      method === "PUT" ? { status: 503, headers: { "retry-after": "3600" } } : undefined,
    );
    expect((await upload(closed.host)).message).toContain("503");
    expect(closed.asked().filter(({ method }) => method === "PUT")).toHaveLength(1);
  });

  it("asks a token server five times in all that fails amid it", async () => {
    let isOver = false;
    const tokens = await startHttpServer(() => (isOver ? { status: 503 } : { body: '{"token":"one"}' }));
    running.push(tokens);
    const challenge = { "www-authenticate": `Bearer realm="${tokens.origin}/token",service="x"` };
    const server = await serveUpload(({ url, method, headers }) => {
      isOver ||= method === "PUT";
      const isWelcome = !isOver && headers.authorization === "Bearer one";
      return url === "/v2/" || !isWelcome ? { status: 401, headers: challenge } : undefined;
    });
    expect((await upload(server.host)).message).toContain("the token server");
    // One while it still answered, and one to cancel the upload.
    expect(tokens.asked()).toHaveLength(1 + 5 + 1);
  });
});

describe("a server that says nothing", () => {
  const silent = async (method: "PUT" | "PATCH") =>
    await serveUpload((one) => (one.method === method ? "silence" : undefined));

  it("to a manifest, a small blob or a part of one is asked once more, and then no more", async () => {
    const size = 1000;
    const body = { stream: zeros(size), length: size };
    const requests = [
      { method: "PUT", url: "/v2/app/manifests/1", body: Buffer.from("{}"), isRepeatable: true },
      { method: "PUT", url: "/v2/app/blobs/uploads/1", body, isRepeatable: false },
      { method: "PATCH", url: "/v2/app/blobs/uploads/1", body: { stream: zeros(size) }, isRepeatable: false },
    ] as const;
    for (const request of requests) {
      const server = await silent(request.method);
      // What is large would be waited for without end.
      const http = open(server.host, { patience: { upload: 50, large: 2 ** 30 } });
      const error = await failure(http.request({ ...request, scopes: [] }));
      expect(error).toMatchObject({
        code: "unavailable",
        message: expect.stringContaining("no answer within the time limit"),
      });
      expect(server.asked()).toHaveLength(request.isRepeatable ? 2 : 1);
    }
  });

  it("to an upload is asked once more as long as nothing more arrives", async () => {
    const server = await silent("PUT");
    const name = parseRegistryName(`${server.host}/app:1`, "the test");
    const target = openRegistryTarget(name, { clock, patience: { upload: 50 } });
    const error = await failure(deliverAll([imageOf(["layer"], { known: true })], [target]));
    expect(error.message).toContain("no answer within the time limit");
    const layers = server
      .asked()
      .filter(({ method, url }) => method === "PUT" && url.includes(encodeURIComponent(LAYER)));
    // In parts, which arrive, it has one more.
    expect(layers).toHaveLength(3);
  });

  it("is given longer for the end of a large blob alone", async () => {
    const asked: unknown[] = [];
    const http = {
      host: "r.example",
      attempts: () => new Attempts(new AbortController().signal),
      close: async () => undefined,
      request: async ({ method, mayTakeLong }: RegistryRequest) => {
        asked.push([method, mayTakeLong ?? false]);
        const end = {
          status: method === "PATCH" ? 202 : 201,
          discard: async () => undefined,
          header: () => "/v2/app/up",
        };
        return end as unknown as RegistryResponse;
      },
    };
    const repository = new Repository(http, { host: "r.example", name: "app", access: "pull,push" });
    const session = { location: "/v2/app/up", minChunk: 0 };
    for (const size of [1000, 1 << 30]) {
      const blob = { mediaType: MediaType.layer, digest: LAYER, size };
      await repository.putBlob(session, blob, zeros(1));
      await repository.finishUpload(session, blob);
      await repository.patchBlob(session, zeros(1), undefined);
    }
    await repository.writeManifest("1", MediaType.manifest, Buffer.from("{}"));
    expect(asked).toEqual([
      ...[
        ["PUT", false],
        ["PUT", false],
        ["PATCH", false],
      ],
      ...[
        ["PUT", true],
        ["PUT", true],
        ["PATCH", false],
      ],
      ["PUT", false],
    ]);
  });

  it("and takes nothing of a body is not waited for, however large the blob", async () => {
    const server = createServer((socket) => {
      socket.once("data", (head: Buffer) => {
        if (head[0] === TLS) socket.destroy();
        else if (head.toString().startsWith("GET"))
          socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        else socket.pause();
      });
      socket.on("error", () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { readonly port: number };
    const http = open(`127.0.0.1:${port}`, { patience: { upload: 300 } });
    running.push({ stop: async () => void server.close() });
    const size = 1 << 30;
    const error = await failure(
      http.request({
        ...{ method: "PUT", url: "/v2/app/up", scopes: [], isRepeatable: false, mayTakeLong: true },
        body: { stream: zeros(size), length: size },
      }),
    );
    expect(error).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("takes no more of what is sent"),
    });
  });

  it("is waited for as long as what is sent itself takes its time", async () => {
    const server = await serve({ status: 201 });
    async function* slow() {
      for (let i = 0; i < 4; i++) {
        yield Buffer.from("abc");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    const http = open(server.host, { patience: { upload: 80 } });
    expect(await statusOf(http, { ...POST, method: "PATCH", body: { stream: slow() } })).toBe(201);
  });
});

describe("a document that comes a byte at a time", () => {
  /** Begins to answer at once, and never ends. */
  function trickle(response: ServerResponse, status = 200): undefined {
    response.writeHead(status);
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(timer));
  }

  it("is waited for as long as a document may take, be it a manifest, a config or a token", async () => {
    const config = { mediaType: MediaType.config, digest: sha256(Buffer.from("{}")), size: 2 };
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.manifest, config, layers: [] });
    for (const slow of ["manifests/1", `blobs/${config.digest}`, "/token"]) {
      const server = await startHttpServer(({ url, headers }, { response }) => {
        if (url.includes(slow)) return trickle(response);
        if (slow === "/token" && headers.authorization === undefined) {
          return { status: 401, headers: { "www-authenticate": `Bearer realm="${server.origin}/token"` } };
        }
        return url.includes("manifests") ? { headers: { "content-type": MediaType.manifest }, body: manifest } : {};
      });
      running.push(server);
      const name = parseRegistryName(`${server.host}/app:1`, "test");
      const error = await failure(openRegistrySource(name, { clock, patience: { document: 200 } }));
      expect(error.code).toBe("unavailable");
      expect(error.message).toMatch(/the answer broke off: it came too slowly/);
      expect(error.message).toContain(slow);
    }
  });

  it("and says why something is refused, is left, and the refusal stays", async () => {
    const server = await startHttpServer(({ url }, { response }) => {
      return url.includes("manifests") ? trickle(response, 404) : {};
    });
    running.push(server);
    const name = parseRegistryName(`${server.host}/app:1`, "test");
    const error = await failure(openRegistrySource(name, { clock, patience: { document: 200 } }));
    expect(error).toMatchObject({ code: "not-found", message: expect.stringContaining("answered 404") });
  });

  it("in its headers is left as one without an answer", async () => {
    const server = createServer((socket) => {
      let timer: NodeJS.Timeout | undefined;
      socket.once("data", (head: Buffer) => {
        if (head[0] === TLS) return void socket.destroy();
        if (head.toString().startsWith("GET /v2/ "))
          return void socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        socket.write("HTTP/1.1 200 OK\r\nx-slow: ");
        timer = setInterval(() => socket.write("a"), 20);
      });
      socket.on("error", () => {});
      socket.on("close", () => clearInterval(timer));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    running.push({ stop: async () => void server.close() });
    const { port } = server.address() as { readonly port: number };
    const error = await failure(open(`127.0.0.1:${port}`, { patience: { question: 300 } }).request(GET));
    expect(error).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("no answer within the time limit"),
    });
  });
});

describe("an upload", () => {
  it("that is sent to what is no URL says so", async () => {
    for (const location of ["http://[bad", "ftp://r.example/up"]) {
      const server = await serveUpload(({ method }) =>
        method === "POST" ? { status: 202, headers: { location } } : undefined,
      );
      expect(await upload(server.host)).toMatchObject({
        code: "invalid-input",
        message: `${server.host} gives a place that is no URL of http or https`,
      });
    }
  });

  it("is tried once where it fails for good", async () => {
    const plain = await serve({});
    const wrong = `https://${plain.host}/up`;
    const server = await serveUpload(({ method }) =>
      method === "POST" ? { status: 202, headers: { location: wrong } } : undefined,
    );
    const error = await upload(server.host);
    expect(error).toMatchObject({ code: "invalid-input", message: expect.stringContaining("does not speak TLS") });
    expect(clock.slept).toEqual([]);
  });

  it("goes on after a second 401 where bytes arrived in between", async () => {
    const size = 3 * 8 * 1024 * 1024;
    let received = 0;
    const refusedAt = new Set([8, 16].map((mib) => mib * 1024 * 1024));
    let isFirst = true;
    const server = await serveUpload((one) => {
      const range = { range: `0-${Math.max(0, received - 1)}`, location: "/v2/app/blobs/uploads/1" };
      if (one.method === "GET") return { status: 204, headers: range };
      if (one.method === "PUT" && isUpload(one) && isFirst) {
        isFirst = false;
        return { status: 500 };
      }
      if (one.method !== "PATCH") return undefined;
      if (refusedAt.delete(received)) return { status: 401 };
      received += one.body.length;
      return { status: 202, headers: { ...range, range: `0-${received - 1}` } };
    });
    const layer = "x".repeat(size);
    const name = parseRegistryName(`${server.host}/app:1`, "the test");
    await deliverAll([imageOf([layer], { known: true })], [openRegistryTarget(name, { clock })]);
    expect(refusedAt.size).toBe(0);
    expect(received).toBe(size);
  });

  it("that is refused before all of it was sent is told why", async () => {
    const { promise: closed, resolve: hasClosed } = deferred<void>();
    const server = createServer((socket) => {
      socket.on("error", () => {});
      let seen = "";
      socket.on("data", (piece: Buffer) => {
        const isBody = seen.includes("\r\n\r\n") && seen.startsWith("PUT");
        if (isBody) return;
        if (piece[0] === TLS) return void socket.destroy();
        seen += piece.toString("latin1");
        if (!seen.includes("\r\n\r\n")) return;
        const answer = (head: string, body = "") =>
          socket.write(`HTTP/1.1 ${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        if (seen.startsWith("PUT")) {
          socket.pause();
          const body = '{"errors":[{"code":"QUOTA","message":"no room"}]}';
          const head = `HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`;
          socket.write(head + body, () => {
            socket.destroy();
            hasClosed();
          });
          return;
        }
        if (seen.startsWith("HEAD")) socket.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        else if (seen.startsWith("POST")) answer("202 Accepted\r\nlocation: /v2/app/blobs/uploads/1");
        else answer("200 OK");
        seen = "";
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    running.push({ stop: async () => void server.close() });
    const { port } = server.address() as { readonly port: number };
    const size = 64 << 20;
    // More is sent at the moment when nobody takes it, and the answer has not been read.
    async function* waiting() {
      let isFirst = true;
      for await (const piece of zeros(size)) {
        if (!isFirst) await closed;
        isFirst = false;
        yield piece;
      }
    }
    const response = await open(`127.0.0.1:${port}`).request({
      ...{ method: "PUT", url: "/v2/app/up", scopes: [], isRepeatable: false },
      body: { stream: waiting(), length: size },
    });
    expect([response.status, (await response.bytes(1000)).toString()]).toEqual([
      413,
      expect.stringContaining("no room"),
    ]);
  });
});

describe("a layer that is read", () => {
  it("is asked for five times in a row without a byte more, and then no more", async () => {
    const bytes = Buffer.from("a layer");
    const descriptor = { mediaType: MediaType.layer, digest: sha256(bytes), size: bytes.length };
    const server = await startHttpServer(({ url }, { request, response }) => {
      if (url === "/v2/") return {};
      if (request.headers.range !== undefined) request.socket.destroy();
      else {
        response.writeHead(200, { "content-length": bytes.length });
        response.write(bytes.subarray(0, 3), () => setImmediate(() => response.destroy()));
      }
      return undefined;
    });
    running.push(server);
    const { signal } = new AbortController();
    const repository = new Repository(open(server.host), { host: server.host, name: "app", access: "pull" });
    const layer = registryLayer(repository, { descriptor, diffId: descriptor.digest, where: "the test" }, signal);
    const error = await failure(layer.blob.writeTo(new BlockWriter(nullSink)));
    expect([error.code, error.message]).toEqual(["unavailable", expect.stringContaining("after 5 attempts")]);
    expect(server.asked()).toHaveLength(5);
  });
});

describe("connections that fail", () => {
  it("are made again for requests that may be repeated", async () => {
    const server = await serve("drop", "drop", {});
    expect(await statusOf(open(server.host), GET)).toBe(200);
    expect(clock.slept).toEqual([250, 500]);
  });

  it("are an error for others, and for streams", async () => {
    for (const request of [POST, { ...POST, isRepeatable: true, body: { stream: stream() } }]) {
      const server = await serve("drop", {});
      const error = await failure(open(server.host).request(request));
      expect(error.code).toBe("unavailable");
      expect(error.message).toMatch(
        /^127.0.0.1:\d+ cannot be reached: the (other side closed the connection|connection broke off) \(\w+\) \(POST http:\/\/127.0.0.1:\d+\/v2\/x\)$/,
      );
      expect(server.asked().length).toBeLessThanOrEqual(1);
    }
  });

  it("are an error after the last attempt, with all that was tried", async () => {
    const server = await serve();
    await server.stop();
    const error = await failure(open(server.host).request(POST));
    expect(error.message).toBe(
      `${server.host} cannot be reached: connection refused (ECONNREFUSED) (GET http://${server.host}/v2/, after 5 attempts); ` +
        `before that: ${server.host} cannot be reached: connection refused (ECONNREFUSED) (GET https://${server.host}/v2/)`,
    );
    expect(clock.slept).toEqual([250, 500, 1000, 2000]);
  });

  it("are made again for a stream that was not begun", async () => {
    const server = await serve({ status: 201 });
    const http = open(server.host);
    await statusOf(http, GET);
    await server.stop();
    const again = await startHttpServer(() => ({ status: 201 }));
    running.push(again);
    // A port where nobody listens first: it is taken over while the client waits.
    const sleep = clock.sleep.bind(clock);
    const back = vi.spyOn(clock, "sleep").mockImplementationOnce(async (ms, signal) => {
      await forward(server.port, again.port);
      await sleep(ms, signal);
    });
    expect(await statusOf(http, { ...POST, body: { stream: stream() } })).toBe(201);
    expect(back).toHaveBeenCalledTimes(1);
    expect(again.asked().map(({ body }) => body.toString())).toEqual(["abc"]);
  });

  it("to a host that does not exist are not made again", async () => {
    const error = await failure(open("no-such-host.invalid").request(GET));
    expect(error.message).toMatch(
      /cannot be reached: (there is no host of this name|its name cannot be looked up at present) \(/,
    );
    if (error.message.includes("ENOTFOUND")) expect(clock.slept).toEqual([]);
  });
});

describe("a deadline", () => {
  it("ends what is in flight", async () => {
    const server = await serve("stall");
    const attempt = failure(open(server.host, { deadlineMs: 5000 }).request(GET));
    await vi.waitFor(() => expect(server.asked()).toHaveLength(1));
    clock.advance(5000);
    const error = await attempt;
    expect([error.code, error.message]).toEqual(["unavailable", `${server.host}: not done within 5 s`]);
  });

  it("is not slept past: the last answer or failure is the result", async () => {
    const server = await serve({ status: 503, headers: { "retry-after": "10" } });
    const http = open(server.host, { deadlineMs: 5000 });
    expect(await statusOf(http, GET)).toBe(503);
    expect((await failure(http.request(GET))).message).toMatch(/asks to come back in 10 s, after the deadline/);
    clock.chance = 0.999999;
    const dropping = await serve("drop");
    expect((await failure(open(dropping.host, { deadlineMs: 2500 }).request(GET))).message).toMatch(/after 3 attempts/);
    expect(clock.slept).toEqual([499, 999]);
  });
});

describe("the signal", () => {
  it("ends requests, bodies, pauses and uploads at once, with its reason", async () => {
    const reason = new OciNixError("interrupted", "by the test");
    const stalled = await serve("stall");
    const half = await startHttpServer(({ url }, { response }) => {
      if (url === "/v2/") return {};
      response.writeHead(200, { "content-length": "10" });
      response.write("half");
      return undefined;
    });
    running.push(half);
    const controller = new AbortController();
    const [one, two, three] = [stalled, half, stalled].map(({ host }) => open(host, { signal: controller.signal }));
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield Buffer.alloc(65_536);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const body = (await two?.request(GET))?.bytes(100);
    const upload = three?.request({ ...POST, body: { stream: endless() } });
    const attempts = [one?.request(GET), body, upload].map((attempt) => failure(attempt as Promise<unknown>));
    await vi.waitFor(() => expect(stalled.asked()).toHaveLength(1));
    controller.abort(reason);
    for (const attempt of attempts) expect(await attempt).toBe(reason);
    expect(await failure((one as RegistryHttp).request(GET))).toBe(reason);
    expect(await failure(open(stalled.host, { signal: controller.signal }).request(GET))).toBe(reason);
  });

  it("ends a pause", async () => {
    const server = await serve({ status: 503, headers: { "retry-after": "60" } });
    const controller = new AbortController();
    const http = openRegistryHttp(server.host, { signal: controller.signal });
    running.push({ stop: () => http.close() });
    const attempt = failure(http.request(GET));
    await vi.waitFor(() => expect(server.asked()).toHaveLength(1));
    controller.abort();
    expect((await attempt).code).toBe("interrupted");
  });

  it("is let go when the registry is closed", async () => {
    const server = await serve("stall");
    const http = openRegistryHttp(server.host, { deadlineMs: 60_000 });
    const attempt = failure(http.request(GET));
    await vi.waitFor(() => expect(server.asked()).toHaveLength(1));
    await http.close();
    expect((await attempt).message).toContain("was closed");
    await http.close();
  });
});

/** Listens on a port and hands connections on to another one. */
async function forward(from: number, to: number): Promise<void> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const onward = connect(to, "127.0.0.1");
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on("error", () => {});
    }
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(from, "127.0.0.1", resolve));
  running.push({
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
