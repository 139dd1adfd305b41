import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { parseChallenges } from "../../src/transport/registry/challenge.js";
import { hexSha256, packTar } from "../support/confs.js";
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
async function refused(twist: Twist, code = 1, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const server = await startHttpServer((request, { response }) => {
    const answer = twist(request, response, server.origin) ?? rightAnswer(request);
    return answer === "answered" ? undefined : answer;
  });
  const directory = place.path("copied");
  mkdirSync(directory);
  try {
    const { status, stderr } = await place.run(
      [
        ...["copy", `docker://${server.host}/app:1`, `oci-archive:${directory}/image.tar`],
        ...["--deadline", "30", "--quiet"],
      ],
      { env },
    );
    // Which tags there are, nobody wants to know, so nothing of it can be hostile.
    expect(server.arrived.filter(({ url }) => /tags\/list|_catalog|referrers/.test(url))).toEqual([]);
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

  it("leads to other hosts without credentials, and in circles not for ever", async () => {
    const other = await startHttpServer(({ url }) => ({
      status: 302,
      headers: { location: url.startsWith("/away") ? `${url}x` : "/away" },
    }));
    const auth = Buffer.from("user:hunter2").toString("base64");
    try {
      const twist: Twist = ({ url, headers }) => {
        if (headers.authorization === undefined)
          return { status: 401, headers: { "www-authenticate": "Basic realm=r" } };
        return MANIFEST.test(url) ? { status: 307, headers: { location: `${other.origin}/blob` } } : undefined;
      };
      const file = place.path("auth.json");
      // For the other host as well, which asks for nothing.
      writeFileSync(file, JSON.stringify({ auths: { "127.0.0.1": { auth }, [other.host]: { auth } } }));
      const said = await refused(
        (request, response, origin) => {
          const auths = { [new URL(origin).host]: { auth }, [other.host]: { auth } };
          writeFileSync(file, JSON.stringify({ auths }));
          return twist(request, response, origin);
        },
        1,
        { REGISTRY_AUTH_FILE: file },
      );
      expect(said).toMatch(/more than 10 redirects/);
      expect(said).not.toMatch(/hunter2/);
      expect(other.arrived).toHaveLength(10);
      expect(other.arrived.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  it("whose index is nested, endless or no index at all is refused", async () => {
    const indexOf = (manifests: readonly object[]) => ({
      headers: { "content-type": `${OCI}.index.v1+json` },
      body: JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests }),
    });
    /** An index by its digest, and the registry's answers so far. */
    const answers = new Map<string, Answer>();
    const named = (answer: Answer & { readonly body: string }): object => {
      const digest = `sha256:${hexSha256(Buffer.from(answer.body))}`;
      answers.set(digest, answer);
      return { mediaType: `${OCI}.index.v1+json`, digest, size: answer.body.length };
    };
    const top =
      (answer: Answer): Twist =>
      ({ url }) =>
        MANIFEST.test(url) ? answer : answers.get(url.split("/").at(-1) ?? "");
    let nested = indexOf([]);
    for (let depth = 0; depth < 10; depth++) nested = indexOf([named(nested)]);
    expect(await refused(top(nested))).toMatch(/more than 8 deep/);
    const wide = Array.from({ length: 102 }, () => named(indexOf([])));
    expect(await refused(top(indexOf(wide)))).toMatch(/more than 100 indexes/);
    const digest = `sha256:${"ab".repeat(32)}`;
    const itself = indexOf([{ mediaType: `${OCI}.index.v1+json`, digest, size: 1 }]);
    expect(await refused(({ url }) => (url.includes("manifests") ? itself : undefined), 3)).toMatch(
      /bytes long|arrived as/,
    );
    const silent = Array.from({ length: 51 }, (_, n) => ({
      ...{ mediaType: `${OCI}.manifest.v1+json`, digest: `sha256:${String(n).padStart(64, "0")}`, size: 10 },
    }));
    expect(await refused(top(indexOf(silent)))).toMatch(/more than 50 manifests do not say their platform/);
    if (!LONG) return;
    const huge = { mediaType: `${OCI}.index.v1+json`, digest, size: 2 ** 50 };
    expect(await refused(top(indexOf([huge])))).toMatch(/larger than \d+ bytes/);
    const entries = Array.from({ length: 10_001 }, () => ({
      ...{ mediaType: `${OCI}.manifest.v1+json`, digest, size: 10 },
    }));
    expect(await refused(top(indexOf(entries)))).toMatch(/more than 10000 manifests/);
    expect(await refused(top({ headers: { "content-type": `${OCI}.index.v1+json` }, body: "<html>" }))).toMatch(
      /not valid JSON/,
    );
    expect(await refused(top({ headers: { "content-type": `${OCI}.index.v1+json` }, body: "[]" }))).toMatch(
      /no index|not an object/,
    );
  });

  it("whose answers are shorter or longer than they say is refused", async () => {
    /** With a length that need not be true. */
    const of =
      (bytes: Buffer, length: number): Twist =>
      (_, response) => {
        response.strictContentLength = false;
        response.writeHead(200, {
          "content-type": `${OCI}.manifest.v1+json`,
          "content-length": length,
          connection: "close",
        });
        response.write(bytes, () => response.destroy());
        return "answered";
      };
    expect(await refused(at(MANIFEST, of(manifestBytes, manifestBytes.length + 1)), 75)).toMatch(/broke off/);
    // Of which there is enough for JSON.
    const other = Buffer.concat([manifestBytes, Buffer.from(" ".repeat(100))]);
    const cut = at(CONFIG, of(other, manifestBytes.length));
    expect(await refused(cut, 3)).toMatch(/is sha256|bytes long|arrived as/);
    if (!LONG) return;
    expect(await refused(at(LAYER, of(layer, layer.length - 512)), 75)).toMatch(/ended after \d+ of \d+ bytes/);
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
