import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../../src/core/digest.js";
import { OciNixError } from "../../../src/core/errors.js";
import { MediaType } from "../../../src/oci/manifest.js";
import { fileBody, WindowBody } from "../../../src/transport/registry/body.js";
import type { RegistryHttp, RegistryRequest, RegistryResponse } from "../../../src/transport/registry/http.js";
import { parseLock } from "../../../src/transport/registry/lock.js";
import { parseRegistryName } from "../../../src/transport/registry/reference.js";
import { Attempts, DEFAULT_RETRY_POLICY } from "../../../src/transport/registry/retry.js";
import { openRegistrySource } from "../../../src/transport/registry/source.js";
import { openRegistryTarget } from "../../../src/transport/registry/target.js";
import { virtualClock } from "../../support/clock.js";
import { deliverAll, imageOf } from "../../support/outgoing.js";

const MB = 1 << 20;

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** A registry of a few lines: what it answers, or throws. Undefined for what a good one answers. */
function scripted(answer: (request: RegistryRequest) => Answer | undefined): {
  readonly requests: RegistryRequest[];
  open(): RegistryHttp;
} {
  const requests: RegistryRequest[] = [];
  const usual = ({ method, url }: RegistryRequest): Answer => {
    if (method === "HEAD") return { status: 404 };
    if (method === "POST") return { status: 202, headers: { location: "/v2/uploads/1?state=a" } };
    if (method === "PATCH") return { status: 202, headers: { location: "/v2/uploads/1?state=b" } };
    if (method === "PUT") return { status: 201 };
    if (method === "DELETE") return { status: 204 };
    throw new Error(`${method} ${url} is not in the script`);
  };
  return {
    requests,
    open: () => ({
      host: "registry.example",
      attempts: () => new Attempts(new AbortController().signal, DEFAULT_RETRY_POLICY, virtualClock()),
      async request(request) {
        requests.push(request);
        const { body } = request;
        if (body !== undefined && !(body instanceof Uint8Array)) for await (const _ of body.stream);
        return responseOf(answer(request) ?? usual(request));
      },
      close: async () => undefined,
    }),
  };
}

function responseOf({ status, headers = {}, body = "" }: Answer): RegistryResponse {
  const bytes = Buffer.from(body);
  return {
    status,
    header: (name) => headers[name],
    shown: (words) => words,
    body: (async function* () {
      yield bytes;
    })(),
    bytes: async (limit) => {
      if (bytes.length > limit) throw new OciNixError("limit", "too long");
      return bytes;
    },
    discard: async () => undefined,
  };
}

const name = parseRegistryName("registry.example/team/app:1", "the test");
const push = (registry: ReturnType<typeof scripted>, texts: readonly string[] = ["layer"]) =>
  deliverAll([imageOf(texts, { known: true })], [openRegistryTarget(name, { open: registry.open })]);
const failure = async (promise: Promise<unknown>): Promise<OciNixError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OciNixError);
  return error as OciNixError;
};

describe("a push", () => {
  it("goes to the newest Location, relative or not, whatever it has behind its question mark", async () => {
    const registry = scripted(({ method, url }) => {
      if (method === "POST") return { status: 202, headers: { location: "https://other.example/upload/7" } };
      return method === "PUT" && url.startsWith("https:") ? { status: 201 } : undefined;
    });
    await push(registry);
    const blobs = registry.requests.filter(({ method, url }) => method === "PUT" && !url.includes("manifests"));
    expect(blobs[0]?.url).toBe(`https://other.example/upload/7?digest=${encodeURIComponent(sha256("layer"))}`);
    expect(blobs.every(({ isRepeatable }) => !isRepeatable)).toBe(true);
    const relative = scripted(({ method }) =>
      method === "POST" ? { status: 202, headers: { location: "../x?a=b" } } : undefined,
    );
    await push(relative);
    expect(relative.requests.find(({ method }) => method === "PUT")?.url).toMatch(
      /^\/v2\/team\/app\/blobs\/x\?a=b&digest=sha256%3A/,
    );
  });

  it("asks for the rights that it needs, also at where blobs are mounted from", async () => {
    const registry = scripted(({ url }) => (url.includes("from=") ? { status: 201 } : undefined));
    await deliverAll(
      [imageOf(["layer"], { known: true })],
      [openRegistryTarget(name, { open: registry.open, mountFrom: ["base/os"] })],
    );
    const scopes = registry.requests.map((request) => request.scopes);
    expect(scopes.every(([first]) => first === "repository:team/app:pull,push")).toBe(true);
    expect(scopes.flat()).toContain("repository:base/os:pull");
  });

  it.each<[string, Answer, string, RegExp]>([
    ["401", { status: 401 }, "denied", /cannot ask .* for the blob sha256:\w+: the registry answered 401/],
    ["403", { status: 403 }, "denied", /403/],
    ["503", { status: 503 }, "unavailable", /503/],
  ])("fails where a question is answered by %s", async (_, answer, code, message) => {
    const registry = scripted(({ method }) => (method === "HEAD" ? answer : undefined));
    expect(await failure(push(registry))).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it.each<[string, string | Buffer]>([
    ["HTML", "<html>"],
    ["nothing", ""],
    ["another shape", '{"errors":{"code":"X"}}'],
    ["a list of anything", '{"errors":[1,null,{"message":"?"}]}'],
    ["bytes", Buffer.from([0xff, 0xfe, 0])],
    ["too much", "x".repeat(MB)],
  ])("says what it was told, and only that, where the body is %s", async (_, body) => {
    const registry = scripted(({ method }) => (method === "POST" ? { status: 400, body } : undefined));
    expect((await failure(push(registry))).message).toBe(
      "cannot upload to registry.example/team/app: the registry answered 400",
    );
  });

  it("goes on where the registry does not say rightly what it has got", async () => {
    let hasFailed = false;
    const registry = scripted(({ method }) => {
      if (method === "GET") return { status: 405 };
      if (method === "PATCH") return { status: 202, headers: { range: "0-0" } };
      if (method !== "PUT" || hasFailed) return undefined;
      hasFailed = true;
      return { status: 502 };
    });
    await push(registry, ["a layer", "another"]);
    expect(registry.requests.filter(({ method }) => method === "PATCH")).toHaveLength(1);
  });

  it("fails where a session has no Location", async () => {
    const registry = scripted(({ method }) => (method === "POST" ? { status: 202 } : undefined));
    expect((await failure(push(registry))).message).toContain("has no Location");
  });

  it("fails where the registry has another manifest than was sent", async () => {
    const registry = scripted(({ method, url }) =>
      method === "PUT" && url.includes("manifests")
        ? { status: 201, headers: { "docker-content-digest": sha256("another") } }
        : undefined,
    );
    expect(await failure(push(registry))).toMatchObject({ code: "verification" });
  });

  it("under another digest than the image's fails before the first request, or as soon as that is known", async () => {
    const other = parseRegistryName(`registry.example/team/app@${sha256("another")}`, "the test");
    for (const known of [true, false]) {
      const registry = scripted(() => undefined);
      const target = openRegistryTarget(other, { open: registry.open });
      const error = await failure(deliverAll([imageOf(["a", "b"], { known })], [target]));
      expect(error).toMatchObject({ code: "verification", message: expect.stringContaining("the image is sha256:") });
      if (known) expect(registry.requests).toEqual([]);
      expect(registry.requests.some(({ url }) => url.includes("manifests"))).toBe(false);
    }
  });

  it("tells which blobs are there where the last step fails", async () => {
    const registry = scripted(({ method, url }) =>
      method === "PUT" && url.includes("manifests") ? { status: 429 } : undefined,
    );
    expect(await failure(push(registry, ["a", "b"]))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("3 blobs are at registry.example/team/app already and need not be sent again"),
    });
  });

  it("ends every session that it opened and did not need", async () => {
    const registry = scripted(({ method, url }) => {
      if (method === "POST") return { status: 202, headers: { location: `/v2/uploads/${url.length}` } };
      return method === "PUT" ? { status: 403 } : undefined;
    });
    await failure(push(registry));
    expect(registry.requests.filter(({ method }) => method === "DELETE").length).toBeGreaterThan(0);
  });

  it("gives up a blob whose source fails, and cancels its session", async () => {
    const registry = scripted(() => undefined);
    const target = openRegistryTarget(name, { open: registry.open });
    const image = imageOf(["a", "b"], { known: true, failing: "b" });
    await expect(deliverAll([image], [target])).rejects.toThrow("a file changed");
    expect(registry.requests.some(({ method }) => method === "DELETE")).toBe(true);
    expect(registry.requests.some(({ url }) => url.includes("manifests"))).toBe(false);
  });
});

describe("a pull", () => {
  const documents = (text: string, type = MediaType.manifest): ReturnType<typeof scripted> =>
    scripted(({ method, url }) =>
      method === "GET" && url.includes("manifests")
        ? { status: 200, body: text, headers: { "content-type": `${type}; charset=utf-8` } }
        : undefined,
    );
  const read = (registry: ReturnType<typeof scripted>) => openRegistrySource(name, { open: registry.open });

  it.each<[string, string, string, RegExp]>([
    ["that is no object", "[]", "invalid-input", /is no manifest|is not an object/],
    [
      "of which the header says otherwise",
      '{"schemaVersion":2,"mediaType":"text/x"}',
      "invalid-input",
      /says it is text\/x/,
    ],
    ["with a config as long as a disk", manifestWith({ size: 1e12 }), "limit", /is larger than/],
    ["of an artifact", manifestWith({ mediaType: "application/x" }), "invalid-input", /holds no image/],
  ])("refuses a manifest %s", async (_, text, code, message) => {
    expect(await failure(read(documents(text)))).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("refuses a config that is another", async () => {
    const registry = scripted(({ url }) =>
      url.includes("manifests")
        ? { status: 200, body: manifestWith({}), headers: { "content-type": MediaType.manifest } }
        : { status: 200, body: "{ }" },
    );
    expect(await failure(read(registry))).toMatchObject({ code: "verification" });
  });
});

function manifestWith(config: object): string {
  const descriptor = { mediaType: MediaType.config, digest: sha256("{}"), size: 2, ...config };
  return JSON.stringify({ schemaVersion: 2, mediaType: MediaType.manifest, config: descriptor, layers: [] });
}

describe("a lock file", () => {
  it.each([
    ["[]", /is not an object/],
    ["{}", /name is missing/],
    ['{"name":"a","digest":"x"}', /is not a sha256 digest/],
    ['{"name":"a","tag":1}', /tag is not a string/],
    [`{"name":"a","digest":"${sha256("")}","platform":"linux"}`, /is not a platform/],
  ])("is refused: %s", (text, message) => {
    expect(() => parseLock(text, "the file")).toThrow(message);
  });
});

describe("bytes that are sent while they are made", () => {
  const all = Buffer.from(Uint8Array.from({ length: 251 * 3 }, (_, i) => i % 251));
  const long = Buffer.alloc(25 * MB, all);
  /** A copy of the bytes of a stretch, which tell their places. */
  const stretch = (from: number, to: number) => Buffer.from(long.subarray(from, to));

  it("arrive as they were written, from wherever they are read", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 * MB }), { maxLength: 8 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
        async (sizes, stops) => {
          const body = new WindowBody();
          const total = sizes.reduce((sum, size) => sum + size, 0);
          const producing = (async () => {
            let at = 0;
            for (const size of sizes) {
              const piece = stretch(at, at + size);
              await body.push(piece);
              piece.fill(0);
              at += size;
            }
            body.end();
          })();
          for (const stop of [...stops, 1]) {
            const end = Math.floor(stop * total);
            const pieces: Buffer[] = [];
            for await (const piece of body.read(0, end)) pieces.push(Buffer.from(piece));
            expect(Buffer.concat(pieces).equals(stretch(0, end))).toBe(true);
          }
          await producing;
        },
      ),
      { numRuns: 30 },
    );
  });

  it("are kept for 32 MiB and no more, and are not made faster than they are taken", async () => {
    const body = new WindowBody();
    const piece = Buffer.alloc(MB);
    let written = 0;
    const producing = (async () => {
      for (; written < 80; written++) await body.push(piece);
      body.end();
    })();
    let taken = 0;
    for await (const bytes of body.read(0)) {
      taken += bytes.length;
      expect(written * MB - taken).toBeLessThan(10 * MB);
    }
    await producing;
    expect(body.first).toBeGreaterThan(40 * MB);
    expect(body.first).toBeLessThanOrEqual(48 * MB);
  });

  it("end for both sides where one gives up", async () => {
    const body = new WindowBody();
    const reading = (async () => {
      for await (const _ of body.read(0));
    })();
    const available = body.available(5);
    body.fail(new Error("given up"));
    await expect(reading).rejects.toThrow("given up");
    await expect(available).rejects.toThrow("given up");
    await expect(body.push(Buffer.alloc(1))).rejects.toThrow("given up");
  });

  it("may still come where nobody wants them any more", async () => {
    const body = new WindowBody();
    await body.push(Buffer.alloc(MB + 1));
    body.close();
    for (let i = 0; i < 20; i++) await body.push(Buffer.alloc(MB));
    body.end();
    expect(body.size).toBeUndefined();
  });
});

describe("a file that is sent", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-body-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("is refused where it is of another size, at once or amid it", async () => {
    const file = join(directory, "blob");
    writeFileSync(file, Buffer.alloc(MB));
    expect(() => fileBody(file, 5)).toThrow(/is 1048576 bytes long, and was 5/);
    const body = fileBody(file, MB);
    truncateSync(file, 10);
    const reading = (async () => {
      for await (const _ of body.read(0));
    })();
    await expect(reading).rejects.toThrow(/is 10 bytes long, and was/);
    expect(body.failure).toMatchObject({ code: "changed" });
    body.close();
  });
});
