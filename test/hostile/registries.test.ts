import { mkdirSync, readdirSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { parseChallenges } from "../../src/transport/registry/challenge.js";
import { packTar } from "../support/confs.js";
import { HostilePlace } from "../support/hostile/run.js";
import { type Answer, type Arrived, startHttpServer } from "../support/http-server.js";
import { LayoutFixture, OCI } from "../support/layouts.js";

/** Whether everything is run, or what tells most. */
const LONG = process.env.OCI_NIX_HOSTILE_CASES !== undefined;

const place = new HostilePlace();
afterAll(() => place.close());

const fixture = new LayoutFixture();
const layer = await packTar([["a", "text".repeat(1000)]]);
const manifest = fixture.image({ layers: [{ tar: layer }] });
const blob = (digest: string) => fixture.files.get(`blobs/${digest.replace(":", "/")}`);
const manifestBytes = blob(manifest.digest) as Buffer;
const named = JSON.parse(manifestBytes.toString()) as {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
};

/** What an answer of the registry is in place of the right one; undefined leaves that one. */
type Twist = (request: Arrived, response: ServerResponse, origin: string) => Answer | undefined | "answered";

function rightAnswer({ url }: Arrived): Answer {
  if (url === "/v2/") return {};
  const [, kind, reference = ""] = /^\/v2\/app\/(manifests|blobs)\/([^?]*)/.exec(url) ?? [];
  if (kind === "manifests" && reference === "1") {
    return { headers: { "content-type": `${OCI}.manifest.v1+json` }, body: manifestBytes };
  }
  const body = blob(reference);
  return body === undefined ? { status: 404 } : { body };
}

/** What `copy` says of a registry that twists its answers; nothing of the image is there afterwards. */
async function refused(twist: Twist, code = 1): Promise<string> {
  const server = await startHttpServer((request, { response }) => {
    const answer = twist(request, response, server.origin) ?? rightAnswer(request);
    return answer === "answered" ? undefined : answer;
  });
  const directory = place.path("copied");
  mkdirSync(directory);
  try {
    const { status, stderr } = await place.run([
      ...["copy", `docker://${server.host}/app:1`, `oci-archive:${directory}/image.tar`],
      ...["--deadline", "30", "--quiet"],
    ]);
    expect(`${status} ${stderr}`).toMatch(new RegExp(`^${code} error: `));
    expect(readdirSync(directory)).toEqual([]);
    return stderr;
  } finally {
    rmSync(directory, { recursive: true, force: true });
    await server.stop();
  }
}

/** Zeros, for as long as anybody takes them. */
function endless(response: ServerResponse, status = 200): "answered" {
  response.writeHead(status);
  const piece = Buffer.alloc(1 << 16);
  const more = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on("drain", more);
  more();
  return "answered";
}

const at =
  (path: RegExp, twist: Twist): Twist =>
  (request, response, origin) =>
    path.test(request.url) ? twist(request, response, origin) : undefined;
const MANIFEST = /manifests\/1$/;
const CONFIG = new RegExp(`blobs/${named.config.digest}`);
const LAYER = new RegExp(`blobs/${named.layers[0]?.digest}`);
const json = (value: unknown): Answer => ({
  headers: { "content-type": `${OCI}.manifest.v1+json` },
  body: JSON.stringify(value),
});
/** Wants a token, of this answer. */
const withToken = (answer: (response: ServerResponse) => Answer | "answered"): Twist => {
  return ({ url, headers }, response, origin) => {
    if (url.startsWith("/token")) return answer(response);
    if (headers.authorization !== undefined) return undefined;
    return { status: 401, headers: { "www-authenticate": `Bearer realm="${origin}/token",service="r"` } };
  };
};

describe("a hostile registry", { timeout: 120_000 }, () => {
  it("that sends for ever is left, whatever was asked for", async () => {
    expect(await refused(at(MANIFEST, (_, response) => endless(response)))).toMatch(/longer than \d+ bytes/);
    if (LONG) expect(await refused(at(CONFIG, (_, response) => endless(response)))).toMatch(/longer than \d+ bytes/);
    expect(
      await refused(
        at(LAYER, (_, response) => endless(response)),
        3,
      ),
    ).toMatch(/is longer, its descriptor says/);
    expect(await refused(withToken((response) => endless(response)))).toMatch(/longer than \d+ bytes/);
    expect(await refused(at(MANIFEST, (_, response) => endless(response, 404)))).toMatch(/answered 404/);
  });

  it("that says little, but for ever, where nobody listens is left", async () => {
    const slow = at(/^\/v2\/$/, (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write("."), 500);
      response.on("close", () => clearInterval(timer));
      return "answered";
    });
    expect(await refused((...all) => slow(...all) ?? at(MANIFEST, () => ({ body: "{}" }))(...all))).toMatch(
      /schemaVersion is not 2/,
    );
  });

  it("whose sizes or digests lie is refused", async () => {
    const wrong = `sha256:${"0".repeat(64)}`;
    const right = JSON.parse(manifestBytes.toString());
    const said = (headers: Record<string, string>) =>
      at(MANIFEST, () => ({ headers: { "content-type": `${OCI}.manifest.v1+json`, ...headers }, body: manifestBytes }));
    expect(await refused(said({ "docker-content-digest": wrong }), 3)).toMatch(/arrived as sha256/);
    const huge = { ...right, config: { ...right.config, size: 10 ** 15 } };
    if (LONG) expect(await refused(at(MANIFEST, () => json(huge)))).toMatch(/larger than \d+ bytes/);
    expect(
      await refused(
        at(LAYER, () => ({ body: Buffer.alloc(layer.length) })),
        3,
      ),
    ).toMatch(/arrived as sha256/);
    expect(await refused(at(MANIFEST, () => ({ body: "{".repeat(30 << 20) })))).toMatch(/longer than \d+ bytes/);
    // Of which the rest never comes.
    const cut: Twist = (_, response) => {
      response.writeHead(200, { "content-length": "1000000" });
      response.write("{", () => response.destroy());
      return "answered";
    };
    expect(await refused(at(MANIFEST, cut), 75)).toMatch(/broke off/);
  });

  it("that packs its documents, or nests them, is told so in words", async () => {
    const packed = { headers: { "content-encoding": "gzip" }, body: gzipSync(manifestBytes) };
    expect(await refused(at(MANIFEST, () => packed))).toMatch(/content-encoding|not valid JSON|not text/i);
    const deep = `{"token": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(await refused(withToken(() => ({ body: deep })))).toMatch(/answers without a token/);
    if (LONG) expect(await refused(at(MANIFEST, () => ({ body: deep })))).toMatch(/more than \d+ levels/);
  });

  it("that leads elsewhere is not followed out of HTTP, nor for ever", async () => {
    const to = (location: string) => at(MANIFEST, () => ({ status: 307, headers: { location } }));
    expect(await refused(to("file:///etc/passwd"))).toMatch(/no URL of http or https/);
    if (LONG) expect(await refused(to("//"))).toMatch(/no URL of http or https/);
    expect(await refused(to("/v2/app/manifests/1"))).toMatch(/more than 10 redirects/);
    expect(await refused(to("http://192.0.2.1/"))).toMatch(/leads to http:\/\/192\.0\.2\.1.*plain http/);
  });

  it("whose headers are megabytes is left", async () => {
    const long: Twist = (_, response) => {
      response.writeHead(200, { "x-long": "a".repeat(4 << 20) }).end();
      return "answered";
    };
    expect(await refused(at(MANIFEST, long))).toMatch(/headers/i);
    const challenges = "Basic realm=x,".repeat(1000);
    expect(await refused(() => ({ status: 401, headers: { "www-authenticate": challenges } }))).toMatch(/answered 401/);
  });
});

describe("challenges of a megabyte", { timeout: 60_000 }, () => {
  it.each([
    "Bearer a=b,",
    'Basic realm="',
    '"',
    "a ",
    "a = ",
    " ",
    "a",
    "=",
    ",",
    '\\"',
    "Bearer aaaa== ",
    'a="b\\',
    "{",
  ])("of %j take time in proportion to their length", (piece) => {
    const cpuMs = (length: number) => {
      const text = `Bearer realm="https://r.example/"${piece.repeat(length / piece.length)}`;
      const before = process.cpuUsage();
      expect(parseChallenges(text)[0]?.scheme).toBe("bearer");
      return process.cpuUsage(before).user / 1000;
    };
    cpuMs(50_000);
    const short = Math.max(cpuMs(100_000), cpuMs(100_000), 2);
    expect(cpuMs(1_000_000) / short).toBeLessThan(60);
  });
});
