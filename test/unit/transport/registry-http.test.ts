import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OciNixError } from "../../../src/core/errors.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "../../../src/transport/registry/http.js";
import { type VirtualClock, virtualClock } from "../../support/clock.js";
import { type Handler, type HttpServer, startHttpServer } from "../../support/http-server.js";
import { startTokenServer, type TokenServer, type TokenServerOptions } from "../../support/token-server.js";

let home: string;
let clock: VirtualClock;
const running: { stop(): Promise<void> }[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-http-"));
  clock = virtualClock();
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_RUNTIME_DIR", home);
  for (const name of ["XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"]) vi.stubEnv(name, undefined);
});

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

async function serve(handler: Handler): Promise<HttpServer> {
  const server = await startHttpServer(handler);
  running.push(server);
  return server;
}

async function serveTokens(options: Partial<TokenServerOptions> = {}): Promise<TokenServer> {
  const server = await startTokenServer({ directory: join(home, "keys"), issuer: "test", ...options });
  running.push(server);
  return server;
}

function open(host: string, options: RegistryOptions = {}): RegistryHttp {
  const http = openRegistryHttp(host, { clock, ...options });
  running.push({ stop: () => http.close() });
  return http;
}

const logins: Record<string, Readonly<Record<string, string>>> = {};

function login(host: string, entry: Readonly<Record<string, string>>): void {
  const file = join(home, ".docker/config.json");
  mkdirSync(dirname(file), { recursive: true });
  logins[host] = entry;
  writeFileSync(file, JSON.stringify({ auths: logins }));
}

const USER = { username: "user", password: "hunter2" };
const BASIC = `Basic ${Buffer.from("user:hunter2").toString("base64")}`;
const get = (url: string, scopes: readonly string[] = []) =>
  ({ method: "GET", url, scopes, isRepeatable: true }) as const;
const text = async (http: RegistryHttp, url: string, scopes: readonly string[] = []) => {
  const response = await http.request(get(url, scopes));
  return `${response.status} ${(await response.bytes(1000)).toString()}`;
};

async function failure(attempt: Promise<unknown>): Promise<OciNixError> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OciNixError);
  return error as OciNixError;
}

/** A registry that takes these tokens, or any from the server. */
const bearer =
  (realm: string, accepts: (authorization: string | undefined) => boolean, extra = ""): Handler =>
  ({ headers, url }) =>
    accepts(headers.authorization)
      ? { body: `welcome ${url}` }
      : { status: 401, headers: { "www-authenticate": `Bearer realm="${realm}",service="reg"${extra}` } };

async function* stream(...pieces: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}

describe("requests", () => {
  it("give any status with headers and body, and send bodies and headers as they are", async () => {
    const server = await serve(({ url }) =>
      url === "/v2/"
        ? {}
        : { status: 404, headers: { "X-One": "1", "set-cookie": ["a=b", "c=d"] }, body: "nothing here" },
    );
    const http = open(server.host);
    const response = await http.request({
      method: "PUT",
      url: "/v2/app/manifests/1?x=%2F",
      headers: { "content-type": "application/json" },
      body: Buffer.from("{}"),
      scopes: [],
      isRepeatable: true,
    });
    expect([response.status, response.header("x-one"), response.header("x-two")]).toEqual([404, "1", undefined]);
    expect(response.header("set-cookie")).toBe("a=b, c=d");
    expect((await response.bytes(100)).toString()).toBe("nothing here");
    expect(server.arrived[1]).toMatchObject({ method: "PUT", url: "/v2/app/manifests/1?x=%2F" });
    expect(server.arrived[1]?.headers).toMatchObject({ "content-type": "application/json", "content-length": "2" });
    expect(server.arrived[1]?.headers.authorization).toBeUndefined();
  });

  it("greet the registry once, before the first", async () => {
    const server = await serve(() => ({}));
    const http = open(server.host);
    await Promise.all([text(http, "/v2/a"), text(http, "/v2/b"), text(http, "/v2/c")]);
    expect(server.arrived.map(({ url }) => url).sort()).toEqual(["/v2/", "/v2/a", "/v2/b", "/v2/c"]);
  });

  it("send streams with their length or in chunks", async () => {
    const server = await serve(() => ({ status: 201 }));
    const http = open(server.host);
    for (const length of [6, undefined]) {
      const body = { stream: stream("abc", "def"), length };
      const response = await http.request({ method: "PATCH", url: "/v2/up", body, scopes: [], isRepeatable: false });
      await response.discard();
      expect(response.status).toBe(201);
    }
    const [first, second] = server.asked();
    expect([first?.body.toString(), second?.body.toString()]).toEqual(["abcdef", "abcdef"]);
    expect([first?.headers["content-length"], second?.headers["transfer-encoding"]]).toEqual(["6", "chunked"]);
  });

  it("pass on what a stream fails with, and send it no second time", async () => {
    const server = await serve(() => ({}));
    const http = open(server.host);
    async function* failing(wrong: Error): AsyncGenerator<Uint8Array> {
      yield Buffer.from("abc");
      throw wrong;
    }
    // The second is what a connection could fail with, too.
    const broken = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    for (const wrong of [new OciNixError("changed", "the file changed"), broken]) {
      const body = { stream: failing(wrong), length: 6 };
      const request = { method: "PUT", url: "/v2/up", body, scopes: [], isRepeatable: true } as const;
      await expect(http.request(request)).rejects.toBe(wrong);
    }
    expect(clock.slept).toEqual([]);
  });

  it("say where a stream is not as long as was said", async () => {
    const server = await serve(() => ({}));
    const request = { method: "PUT", url: "/v2/up", scopes: [], isRepeatable: true } as const;
    const http = open(server.host);
    const error = await failure(http.request({ ...request, body: { stream: stream("abc"), length: 6 } }));
    expect(error.message).toContain("what was sent is not as long as was said");
  });

  it("give an answer that comes before the end of a stream, and let go of the stream", async () => {
    const server = await serve(() => ({}));
    server.server.removeAllListeners("request");
    server.server.on("request", (request, response) => {
      if (request.url !== "/v2/") response.writeHead(413);
      response.end("too large");
    });
    let isLetGo = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(65_536);
      } finally {
        isLetGo = true;
      }
    }
    const body = { stream: endless() };
    const response = await open(server.host).request({
      method: "PUT",
      url: "/v2/x",
      body,
      scopes: [],
      isRepeatable: true,
    });
    expect(`${response.status} ${await response.bytes(100)}`).toBe("413 too large");
    await vi.waitFor(() => expect(isLetGo).toBe(true));
  });

  it("may be many at once", async () => {
    const server = await serve(({ url }) => ({ body: url }));
    const warnings = vi.fn();
    process.on("warning", warnings);
    const http = open(server.host);
    const urls = Array.from({ length: 100 }, (_, i) => `/v2/${i}`);
    expect(await Promise.all(urls.map((url) => text(http, url)))).toEqual(urls.map((url) => `200 ${url}`));
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", warnings);
    expect(warnings).not.toHaveBeenCalled();
  });

  it("limit how much of an answer is read at once", async () => {
    const server = await serve(() => ({ body: "x".repeat(100_000) }));
    const http = open(server.host);
    const response = await http.request(get("/v2/big"));
    expect(await failure(response.bytes(99_999))).toMatchObject({
      code: "limit",
      message: `the answer to GET ${server.origin}/v2/big is longer than 99999 bytes`,
    });
    expect((await (await http.request(get("/v2/big"))).bytes(100_000)).length).toBe(100_000);
  });

  it("say where an answer breaks off", async () => {
    const server = await serve(({ url }, { response }) => {
      if (url === "/v2/") return {};
      response.writeHead(200, { "content-length": "100" });
      response.write("half");
      setImmediate(() => response.destroy());
      return undefined;
    });
    const response = await open(server.host).request(get("/v2/blob"));
    const error = await failure(response.bytes(1000));
    expect(error.code).toBe("unavailable");
    expect(error.message).toMatch(/the answer broke off: .*\(GET http:\/\/127.0.0.1:\d+\/v2\/blob\)/);
  });

  it("go to absolute URLs, without their query or credentials in errors", async () => {
    const server = await serve(() => ({}));
    const other = await serve(() => ({ body: "other" }));
    const http = open(server.host);
    expect(await text(http, `${other.origin}/upload?state=hunter2`)).toBe("200 other");
    await other.stop();
    const error = await failure(http.request(get(`http://me:hunter2@127.0.0.1:${other.port}/up?state=hunter2`)));
    expect(error.message).toMatch(
      /connection refused \(ECONNREFUSED\) \(GET http:\/\/127.0.0.1:\d+\/up, after 5 attempts\)/,
    );
    expect(error.message).not.toContain("hunter2");
    for (const bad of ["ftp://x/", "http://", "http://:::/"]) {
      expect((await failure(http.request(get(bad)))).code).toBe("invalid-input");
    }
  });
});

describe("redirects", () => {
  it("are followed, and credentials do not go to another origin, nor back", async () => {
    const storage = await serve(({ url }) =>
      url === "/blob" ? { body: "bytes" } : { status: 302, headers: { location: `${server.origin}/v2/back` } },
    );
    const server: HttpServer = await serve(({ url, headers }) => {
      if (url === "/v2/back") return { body: `authorization: ${headers.authorization}` };
      if (headers.authorization !== BASIC) return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      if (url === "/v2/here") return { body: `authorization: ${headers.authorization}` };
      const to = { "/v2/blob": `${storage.origin}/blob`, "/v2/around": `${storage.origin}/around` }[url] ?? "here";
      return { status: 307, headers: { location: to } };
    });
    login(server.host, USER);
    const http = open(server.host);
    expect(await text(http, "/v2/blob")).toBe("200 bytes");
    expect(await text(http, "/v2/around")).toBe("200 authorization: undefined");
    expect(await text(http, "/v2/same")).toBe(`200 authorization: ${BASIC}`);
    const request = {
      ...get("/v2/blob"),
      headers: { Authorization: "hunter2", Cookie: "hunter2", range: "bytes=0-1" },
    };
    await (await http.request(request)).discard();
    expect(storage.arrived).toHaveLength(3);
    for (const { headers } of storage.arrived) {
      expect(JSON.stringify(headers)).not.toMatch(/authorization|cookie|hunter2/i);
    }
    expect(storage.arrived[2]?.headers.range).toBe("bytes=0-1");
  });

  it("of the greeting to a host that asks for credentials end there", async () => {
    const tokens = await serveTokens();
    const other = await serve(bearer(tokens.realm, () => false));
    const server = await serve(({ url }) =>
      url === "/v2/" ? { status: 302, headers: { location: `${other.origin}/v2/` } } : { body: "open" },
    );
    login(server.host, USER);
    login(other.host, USER);
    expect(await text(open(server.host), "/v2/x")).toBe("200 open");
    expect(tokens.arrived).toEqual([]);
    expect([...server.arrived, ...other.arrived].filter(({ headers }) => headers.authorization)).toEqual([]);
  });

  it("to a host that asks for credentials end there", async () => {
    const storage = await serve(() => ({ status: 401, headers: { "www-authenticate": "Basic realm=give" } }));
    const server = await serve(({ url, headers }) => {
      if (headers.authorization !== BASIC) return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      return url === "/v2/" ? {} : { status: 307, headers: { location: `${storage.origin}/` } };
    });
    login(server.host, USER);
    login(storage.host, USER);
    expect(await text(open(server.host), "/v2/blob")).toBe("401 ");
    expect(storage.arrived.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("end after ten", async () => {
    const server = await serve(({ url }) => (url === "/v2/" ? {} : { status: 302, headers: { location: `${url}x` } }));
    const error = await failure(text(open(server.host), "/v2/x"));
    expect(error.message).toMatch(/more than 10 redirects/);
    expect(server.asked()).toHaveLength(11);
  });

  it("that lead to plain http elsewhere, or to no URL, are refused", async () => {
    let location = "";
    const server = await serve(({ url }) => (url === "/v2/" ? {} : { status: 302, headers: { location } }));
    for (const [to, message] of [
      ["http://storage.example/x?sig=hunter2", /leads to http:\/\/storage.example\/x, which is plain http/],
      ["ftp://storage.example/", /redirects to what is no URL of http or https/],
      ["http://", /redirects to what is no URL/],
    ] as const) {
      location = to;
      const error = await failure(text(open(server.host), "/v2/x"));
      expect([error.code, error.message]).toEqual(["invalid-input", expect.stringMatching(message)]);
      expect(error.message).not.toContain("hunter2");
    }
  });

  it("of requests that change something are answers", async () => {
    const server = await serve(({ url }) =>
      url === "/v2/" ? {} : { status: 307, headers: { location: "/v2/there" } },
    );
    const response = await open(server.host).request({ method: "POST", url: "/v2/up", scopes: [], isRepeatable: true });
    expect([response.status, response.header("location")]).toEqual([307, "/v2/there"]);
  });
});

describe("credentials", () => {
  it("are not sent where nobody asks for them", async () => {
    const server = await serve(() => ({ body: "open" }));
    login(server.host, USER);
    expect(await text(open(server.host), "/v2/x")).toBe("200 open");
    expect(server.arrived.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it("are sent at once where the greeting was refused", async () => {
    const server = await serve(({ headers }) =>
      headers.authorization === BASIC
        ? { body: "in" }
        : { status: 401, headers: { "www-authenticate": "Basic realm=x" } },
    );
    login(server.host, USER);
    expect(await text(open(server.host), "/v2/x")).toBe("200 in");
    expect(server.arrived).toHaveLength(2);
  });

  it("are sent where only what is asked for is refused", async () => {
    const server = await serve(({ headers, url }) =>
      url === "/v2/" || headers.authorization === BASIC
        ? { body: "in" }
        : { status: 401, headers: { "www-authenticate": "Basic realm=x" } },
    );
    login(server.host, USER);
    const body = Buffer.from("twice");
    const response = await open(server.host).request({
      method: "POST",
      url: "/v2/x",
      body,
      scopes: [],
      isRepeatable: false,
    });
    expect(response.status).toBe(200);
    expect(server.asked().map((one) => one.body.toString())).toEqual(["twice", "twice"]);
  });

  it("that are refused give the refusal, as the lack of any does", async () => {
    const server = await serve(() => ({ status: 401, headers: { "www-authenticate": "Basic realm=x" }, body: "no" }));
    const refusal = async (): Promise<string | undefined> => {
      const response = await open(server.host).request(get("/v2/x"));
      expect([response.status, (await response.bytes(10)).toString()]).toEqual([401, "no"]);
      return response.loginHint;
    };
    expect(await refusal()).toContain(`no credentials for ${server.host} were found`);
    const file = join(home, ".docker/config.json");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify({ credsStore: "none" }));
    writeFileSync(join(home, "docker-credential-none"), "#!/bin/sh\necho credentials not found\nexit 1\n", {
      mode: 0o755,
    });
    vi.stubEnv("PATH", `${home}:${process.env.PATH}`);
    expect(await refusal()).toContain(
      `no credentials for ${server.host} were found (docker-credential-none, which ${file} names, gave none)`,
    );
    login(server.host, USER);
    const hint = await refusal();
    expect(hint).toContain(`from ${join(home, ".docker/config.json")}`);
    expect(hint).not.toContain("hunter2");
    expect(server.arrived.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      BASIC,
    ]);
    const forbidding = await serve(({ url }) => (url === "/v2/" ? {} : { status: 403 }));
    expect(await text(open(forbidding.host), "/v2/x")).toBe("403 ");
    expect(forbidding.asked()).toHaveLength(1);
  });

  it("never go to another host that an upload is sent to", async () => {
    const other = await serve(() => ({ status: 401, headers: { "www-authenticate": "Basic realm=x" } }));
    const server = await serve(({ headers }) =>
      headers.authorization === BASIC ? {} : { status: 401, headers: { "www-authenticate": "Basic realm=x" } },
    );
    login(server.host, USER);
    const http = open(server.host);
    await text(http, "/v2/x");
    const body = { stream: stream("abc") };
    const request = { method: "PUT", url: `${other.origin}/v2/x`, body, scopes: [], isRepeatable: false } as const;
    expect((await http.request(request)).status).toBe(401);
    expect(other.arrived.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });
});

describe("tokens", () => {
  const PULL = "repository:app:pull";
  const PUSH = "repository:app:pull,push";

  it("are asked for without a name where there are no credentials, once for the same rights", async () => {
    const tokens = await serveTokens();
    const server = await serve(bearer(tokens.realm, (sent) => sent?.startsWith("Bearer ey") === true));
    const http = open(server.host);
    expect(await Promise.all([1, 2, 3].map(() => text(http, "/v2/x", [PULL])))).toEqual(
      Array(3).fill("200 welcome /v2/x"),
    );
    expect(tokens.demands).toEqual([
      { who: "anonymous", method: "GET", service: "reg", scopes: [PULL], account: undefined },
    ]);
  });

  it("are asked for with name and password", async () => {
    const tokens = await serveTokens({ passwords: { user: "hunter2" } });
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined));
    login(server.host, USER);
    await text(open(server.host), "/v2/x", [PUSH]);
    expect(tokens.demands).toEqual([{ who: "user", method: "GET", service: "reg", scopes: [PUSH], account: "user" }]);
    expect(server.arrived.some(({ headers }) => headers.authorization?.startsWith("Basic"))).toBe(false);
  });

  it("are asked for by form with an identity token, and a new identity token is used from then on", async () => {
    let rotated = "first";
    const tokens = await serve(({ method, body }) => {
      const form = new URLSearchParams(body.toString());
      if (method !== "POST" || form.get("refresh_token") !== rotated) return { status: 401 };
      rotated = `${rotated}+`;
      return { body: JSON.stringify({ access_token: `t-${form.get("scope")}`, refresh_token: rotated }) };
    });
    const server = await serve(bearer(`${tokens.origin}/token`, (sent) => sent !== undefined));
    login(server.host, { identitytoken: "first" });
    const http = open(server.host);
    await text(http, "/v2/x", [PULL]);
    await text(http, "/v2/x", [PUSH]);
    expect(Object.fromEntries(new URLSearchParams(tokens.arrived[0]?.body.toString()))).toEqual({
      grant_type: "refresh_token",
      service: "reg",
      client_id: "oci-nix",
      scope: PULL,
      refresh_token: "first",
    });
    expect(server.arrived.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      `Bearer t-${PULL}`,
      `Bearer t-${PUSH}`,
    ]);
  });

  it("for the registry itself are sent as they are", async () => {
    const tokens = await serveTokens();
    const server = await serve(bearer(tokens.realm, (sent) => sent === "Bearer given"));
    login(server.host, { registrytoken: "given" });
    expect(await text(open(server.host), "/v2/x", [PULL])).toBe("200 welcome /v2/x");
    expect(tokens.demands).toEqual([]);
  });

  it("for the registry itself that no header can hold are not sent, nor shown", async () => {
    const server = await serve(bearer("https://auth.example/", () => false));
    login(server.host, { registrytoken: "hunter2\r\nhost: other" });
    const error = await failure(text(open(server.host), "/v2/x", [PULL]));
    const file = join(home, ".docker/config.json");
    expect([error.code, error.message]).toEqual([
      "invalid-input",
      `${file}: registrytoken of ${server.host} holds blanks or line breaks, which no token does`,
    ]);
    expect(`${error.message}${error.stack}${error.cause}`).not.toContain("hunter2");
    expect(clock.slept).toEqual([]);
  });

  it("cover what was asked for before, new scopes first", async () => {
    const tokens = await serveTokens();
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined));
    const http = open(server.host);
    await text(http, "/v2/x", [PUSH]);
    await text(http, "/v2/x", [PULL]);
    await text(http, "/v2/x", ["repository:base:pull"]);
    await text(http, "/v2/x", [PUSH, "repository:base:pull"]);
    expect(tokens.demands.map(({ scopes }) => scopes)).toEqual([[PUSH], ["repository:base:pull", PUSH]]);
  });

  it("are asked for with what the registry demands first", async () => {
    const tokens = await serveTokens();
    const server = await serve(({ url, headers }) =>
      url === "/v2/" || headers.authorization !== undefined
        ? { body: "in" }
        : {
            status: 401,
            headers: {
              "www-authenticate": `Bearer realm="${tokens.realm}",scope="repository:cache:pull  repository:app:delete"`,
            },
          },
    );
    expect(await text(open(server.host), "/v2/x", [PULL])).toBe("200 in");
    expect(tokens.demands[0]).toMatchObject({
      service: undefined,
      scopes: ["repository:cache:pull", "repository:app:delete,pull"],
    });
  });

  it("do not take the scope of the greeting's challenge for a demand", async () => {
    const tokens = await serveTokens();
    const server = await serve(
      bearer(tokens.realm, (sent) => sent !== undefined, ',scope="repository:user/image:pull"'),
    );
    await text(open(server.host), "/v2/x", [PULL]);
    expect(tokens.demands.map(({ scopes }) => scopes)).toEqual([[PULL]]);
  });

  it("for what a server refuses together are asked for alone", async () => {
    const tokens = await serveTokens({
      instead: ({ url }) => (url.includes("secret") && url.includes("app") ? { status: 403 } : undefined),
    });
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined));
    const http = open(server.host);
    await text(http, "/v2/x", ["repository:secret:pull"]);
    expect(await text(http, "/v2/x", [PULL])).toBe("200 welcome /v2/x");
    expect(tokens.demands.map(({ scopes }) => scopes)).toEqual([["repository:secret:pull"], [PULL]]);
  });

  it("are kept as long as they hold", async () => {
    const tokens = await serveTokens({ lifetimeS: 100 });
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined));
    const http = open(server.host);
    await text(http, "/v2/x", [PULL]);
    clock.advance(89_000);
    await text(http, "/v2/x", [PULL]);
    expect(tokens.demands).toHaveLength(1);
    clock.advance(2_000);
    await text(http, "/v2/x", [PULL]);
    expect(tokens.demands).toHaveLength(2);
  });

  it("hold a minute where nothing is said", async () => {
    const tokens = await serveTokens();
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined));
    const http = open(server.host);
    for (const ms of [0, 53_000, 2_000]) {
      clock.advance(ms);
      await text(http, "/v2/x", [PULL]);
    }
    expect(tokens.demands).toHaveLength(2);
  });

  it("that are refused are replaced once, then the refusal is the result", async () => {
    const tokens = await serveTokens();
    let accepted: (sent: string) => boolean = () => true;
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined && accepted(sent)));
    const http = open(server.host);
    await text(http, "/v2/x", [PULL]);
    const old = server.arrived.at(-1)?.headers.authorization;
    accepted = (sent) => sent !== old;
    expect(await Promise.all([1, 2, 3].map(() => text(http, "/v2/y", [PULL])))).toEqual(
      Array(3).fill("200 welcome /v2/y"),
    );
    expect(tokens.demands).toHaveLength(2);
    accepted = () => false;
    expect(await text(http, "/v2/z", [PULL])).toBe("401 ");
    expect(tokens.demands).toHaveLength(3);
    expect(server.arrived.filter(({ url }) => url === "/v2/z")).toHaveLength(2);
  });

  it("that are refused for a stream are replaced for the next request", async () => {
    const tokens = await serveTokens();
    let revoked: string | undefined;
    const server = await serve(bearer(tokens.realm, (sent) => sent !== undefined && sent !== revoked));
    const http = open(server.host);
    await text(http, "/v2/x", [PULL]);
    revoked = server.arrived.at(-1)?.headers.authorization;
    const upload = () =>
      http.request({
        method: "PUT",
        url: "/v2/up",
        body: { stream: stream("abc") },
        scopes: [PULL],
        isRepeatable: true,
      });
    expect((await upload()).status).toBe(401);
    expect((await upload()).status).toBe(200);
    expect(server.arrived.filter(({ method }) => method === "PUT")).toHaveLength(2);
  });

  it("that a server does not give are clear errors without secrets", async () => {
    const answers: readonly (readonly [number, string, string, RegExp])[] = [
      [401, '{"details":"incorrect username or password"}', "denied", /answers 401: incorrect username or password$/],
      [403, '{"errors":[{"code":"DENIED","message":"no\\nway"}]}', "denied", /answers 403: no way$/],
      [
        400,
        `{"error_description":"user ${BASIC} is not known"}`,
        "denied",
        /answers 400: \(its words are left out, .*\)$/,
      ],
      [400, '{"error":"hunter2 is wrong"}', "denied", /answers 400: \(its words are left out, .*\)$/],
      [503, "<html>", "unavailable", /answers 503$/],
      [200, "<html>", "invalid-input", /answers without a token$/],
      [200, '{"token":""}', "invalid-input", /answers without a token$/],
      [200, '{"token":"a\\r\\nb: c"}', "invalid-input", /answers without a token$/],
      [200, '{"token":7}', "invalid-input", /answers without a token$/],
    ];
    for (const [status, body, code, message] of answers) {
      const tokens = await serve(() => ({ status, body }));
      const server = await serve(bearer(`${tokens.origin}/token`, () => false));
      login(server.host, USER);
      const error = await failure(text(open(server.host), "/v2/x", [PULL]));
      expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
      expect(error.message).toContain(`the token server ${tokens.host} of ${server.host}`);
      expect(`${error.message}${error.hint}${error.stack}`).not.toMatch(/hunter2|dXNlcjpodW50ZXIy/);
      if (code === "denied") expect(error.hint).toContain(join(home, ".docker/config.json"));
    }
  });

  it("that nobody can be asked for are said to be the token server's matter", async () => {
    const gone = await serve(() => ({}));
    await gone.stop();
    const server = await serve(bearer(`${gone.origin}/token`, () => false));
    const error = await failure(text(open(server.host), "/v2/x", [PULL]));
    expect([error.code, error.message]).toEqual([
      "unavailable",
      expect.stringContaining(`the token server of ${server.host}: ${gone.host} cannot be reached: connection refused`),
    ]);
  });

  it("are not asked for over plain http", async () => {
    const server = await serve(bearer("http://auth.example/token?x=1", () => false));
    login(server.host, USER);
    const error = await failure(text(open(server.host), "/v2/x", [PULL]));
    expect(error.code).toBe("denied");
    expect(error.message).toBe(
      `${server.host} names a token server that is not reached over TLS: http://auth.example/token`,
    );
  });

  it("are asked for at the realm's own query, and a redirect of the token server gets no password", async () => {
    const thief = await serve(() => ({ body: '{"token":"stolen"}' }));
    const tokens = await serve(({ url }) =>
      url.startsWith("/old")
        ? { status: 302, headers: { location: `${thief.origin}/new` } }
        : { body: '{"token":"t"}' },
    );
    const server = await serve(bearer(`${tokens.origin}/token?tenant=a`, (sent) => sent === "Bearer t"));
    login(server.host, USER);
    expect(await text(open(server.host), "/v2/x", [PULL])).toBe("200 welcome /v2/x");
    expect(tokens.arrived[0]?.url).toBe(`/token?tenant=a&account=user&service=reg&scope=${encodeURIComponent(PULL)}`);
    const moved = await serve(bearer(`${tokens.origin}/old`, (sent) => sent !== undefined));
    login(moved.host, USER);
    await text(open(moved.host), "/v2/x", [PULL]);
    expect(tokens.arrived[1]?.headers.authorization).toBe(BASIC);
    expect(thief.arrived.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("are wanted rather than passwords where a registry takes both", async () => {
    const tokens = await serveTokens({ passwords: { user: "hunter2" } });
    const server = await serve(({ headers }) =>
      headers.authorization?.startsWith("Bearer")
        ? { body: "in" }
        : { status: 401, headers: { "www-authenticate": ["Basic realm=x", `Bearer realm="${tokens.realm}"`] } },
    );
    login(server.host, USER);
    expect(await text(open(server.host), "/v2/x", [PULL])).toBe("200 in");
    const strange = await serve(() => ({
      status: 401,
      headers: { "www-authenticate": 'Bearer realm="no url", Other' },
    }));
    expect(await text(open(strange.host), "/v2/x", [PULL])).toBe("401 ");
  });
});
