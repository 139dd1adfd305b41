import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openRegistryHttp } from "../../../src/transport/registry/http.js";
import { parseRegistryName } from "../../../src/transport/registry/reference.js";
import { openRegistrySource } from "../../../src/transport/registry/source.js";
import { virtualClock } from "../../support/clock.js";
import { type Handler, type HttpServer, startHttpServer } from "../../support/http-server.js";

const PASSWORD = "p4ss:wörd&+/=";
const SECRETS = {
  password: PASSWORD,
  identity: "identity-token-0123456789",
  rotated: "rotated-token-0123456789",
  registry: "registry-token-0123456789",
  bearer: "bearer-token-0123456789",
  helper: "helper-secret-0123456789",
};
const USERS = { entry: "someone", helper: "somebody" };

/** A secret in all the forms it may be met in. */
const formsOf = (secret: string): readonly string[] => [
  secret,
  encodeURIComponent(secret),
  new URLSearchParams({ a: secret }).toString().slice(2),
  Buffer.from(secret).toString("base64").replace(/=+$/, ""),
  ...Object.values(USERS).map((user) => Buffer.from(`${user}:${secret}`).toString("base64").replace(/=+$/, "")),
];
const FORMS = Object.values(SECRETS).flatMap(formsOf);

function expectNoSecret(text: string, where: string): void {
  for (const form of FORMS) expect(text.includes(form), `${form} in ${where}: ${text.slice(0, 500)}`).toBe(false);
}

let home: string;
const running: HttpServer[] = [];
const written: string[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-secrets-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_RUNTIME_DIR", home);
  for (const name of ["XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"]) vi.stubEnv(name, undefined);
  vi.stubEnv("PATH", `${home}:${process.env.PATH}`);
  written.splice(0);
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, "write").mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
  }
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const server of running.splice(0)) await server.stop();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

async function serve(handler: Handler): Promise<HttpServer> {
  const server = await startHttpServer(handler);
  running.push(server);
  return server;
}

/** What the token server says, which it may well repeat. */
const TOKEN_SERVERS: Readonly<Record<string, Handler>> = {
  "one that gives tokens": () => ({
    body: JSON.stringify({ token: SECRETS.bearer, refresh_token: SECRETS.rotated, expires_in: 1 }),
  }),
  "one that repeats what it was told": ({ headers, body, url }) => ({
    status: 401,
    body: JSON.stringify({ details: `${url} ${headers.authorization} ${body}` }),
  }),
  "one that repeats a part of it": ({ headers, body }) => {
    const pair = Buffer.from(headers.authorization?.slice(6) ?? "", "base64").toString();
    const secret = new URLSearchParams(body.toString()).get("refresh_token") ?? pair.slice(pair.indexOf(":") + 1);
    return { status: 403, body: JSON.stringify({ message: `no: ${secret}` }) };
  },
  "one that gives another identity token, and repeats that": ({ headers, body }) =>
    body.includes(SECRETS.rotated)
      ? { status: 401, body: JSON.stringify({ error_description: `${headers.authorization} ${body}` }) }
      : { body: JSON.stringify({ token: SECRETS.bearer, refresh_token: SECRETS.rotated, expires_in: 0.001 }) },
  "one that gives what is no token": () => ({ body: JSON.stringify({ token: `${SECRETS.bearer}\n` }) }),
  "one that gives no JSON": () => ({ body: `${SECRETS.bearer} "` }),
  "one that is broken": () => ({ status: 500, body: SECRETS.identity }),
};

const CREDENTIALS: Readonly<Record<string, (host: string) => unknown>> = {
  "a password": (host) => ({ auths: { [host]: { username: USERS.entry, password: PASSWORD } } }),
  "an identity token": (host) => ({ auths: { [host]: { identitytoken: SECRETS.identity } } }),
  "a registry token": (host) => ({ auths: { [host]: { registrytoken: SECRETS.registry } } }),
  "a helper": () => ({ credsStore: "test" }),
};

const REGISTRIES: Readonly<Record<string, (realm: string, elsewhere: string) => Handler>> = {
  "takes all and redirects": (realm, elsewhere) => demanding(`Bearer realm="${realm}"`, `${elsewhere}/blob?sig=x`),
  "takes all and redirects, by Basic": (_realm, elsewhere) => demanding("Basic realm=x", `${elsewhere}/blob`),
  "takes nothing": (realm) => () => ({ status: 401, headers: { "www-authenticate": `Bearer realm="${realm}"` } }),
  "breaks off":
    (realm) =>
    (_request, { request }) => {
      if (request.headers.authorization === undefined) {
        return { status: 401, headers: { "www-authenticate": `Bearer realm="${realm}",Basic realm=x` } };
      }
      request.socket.destroy();
      return undefined;
    },
};

function demanding(challenge: string, location: string): Handler {
  return ({ headers, url }) => {
    if (headers.authorization === undefined) return { status: 401, headers: { "www-authenticate": challenge } };
    return url === "/v2/" ? {} : { status: 307, headers: { location } };
  };
}

const cases = Object.keys(TOKEN_SERVERS).flatMap((tokens) =>
  Object.keys(CREDENTIALS).flatMap((credential) =>
    Object.keys(REGISTRIES).map((registry) => ({ tokens, credential, registry })),
  ),
);

describe("no secret", () => {
  it.each(cases)(
    "leaves: $credential, $tokens, a registry that $registry",
    async ({ tokens, credential, registry }) => {
      const elsewhere = await serve(() => ({ status: 401, headers: { "www-authenticate": "Basic realm=x" } }));
      const tokenServer = await serve(TOKEN_SERVERS[tokens] as Handler);
      const server = await serve(REGISTRIES[registry]?.(`${tokenServer.origin}/token`, elsewhere.origin) as Handler);
      mkdirSync(join(home, ".docker"));
      writeFileSync(join(home, ".docker/config.json"), JSON.stringify(CREDENTIALS[credential]?.(server.host)));
      const answer = JSON.stringify({ Username: USERS.helper, Secret: SECRETS.helper });
      const script = `#!/bin/sh\ntr '\\0' ' ' </proc/$$/cmdline >${home}/args\ncat >>${home}/args\nenv >>${home}/args\necho '${answer}'\n`;
      writeFileSync(join(home, "docker-credential-test"), script);
      chmodSync(join(home, "docker-credential-test"), 0o755);
      const clock = virtualClock();
      const http = openRegistryHttp(server.host, { clock });
      const scopes = ["repository:app:pull,push"];
      const outcomes: unknown[] = [];
      const attempt = (url: string, method: "GET" | "PUT") =>
        http
          .request({ method, url, scopes, isRepeatable: method === "GET", headers: { cookie: SECRETS.password } })
          .then(async (response) => outcomes.push([response.status, (await response.bytes(1e6)).toString()]))
          .catch((error: unknown) => outcomes.push(error));
      await attempt("/v2/app/blobs/x", "GET");
      await attempt("/v2/app/blobs/x", "GET");
      await attempt(`${elsewhere.origin}/upload`, "PUT");
      await http.close();
      expect(outcomes).toHaveLength(3);
      const deep = { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null };
      expectNoSecret(outcomes.map((outcome) => inspect(outcome, deep)).join("\n"), "an error or result");
      expectNoSecret(written.join(""), "what was written");
      for (const arrived of elsewhere.arrived) {
        expectNoSecret(`${arrived.url} ${JSON.stringify(arrived.headers)} ${arrived.body}`, "another host's request");
      }
      for (const { url } of [...server.arrived, ...tokenServer.arrived])
        expectNoSecret(url, "a URL, which servers log");
      if (credential === "a helper") expectNoSecret(readFileSync(join(home, "args"), "utf8"), "the helper's arguments");
      const told = tokenServer.arrived.map(({ headers, body }) => `${headers.authorization} ${body}`).join();
      const shown = server.arrived.map(({ headers }) => headers.authorization ?? "");
      if (!registry.includes("by Basic")) expect(shown.filter((header) => header.startsWith("Basic"))).toEqual([]);
      if (credential === "a registry token") expect(told).toBe("");
    },
  );
});

/** Ways in which a server may repeat what it was told. */
const REPEATS: Readonly<Record<string, (secret: string, authorization: string) => string>> = {
  "as it is": (secret) => `login failed for someone:${secret}`,
  "as it was sent": (_secret, authorization) => `bad header ${authorization}`,
  "escaped for a URL": (secret) => `/login?p=${encodeURIComponent(secret)}&x`,
  "escaped twice": (secret) => `/login?next=${encodeURIComponent(`/p?${new URLSearchParams({ p: secret })}`)}`,
  "in small escapes": (secret) => encodeURIComponent(secret).toLowerCase(),
  "as base64url": (secret) => `user=${Buffer.from(`somebody:${secret}`).toString("base64url")}`,
  "as base64 behind other text": (secret) => `abc${Buffer.from(`u:${secret}`).toString("base64")}`,
  "behind what is cut off": (secret) => `${"x".repeat(190)}${secret}`,
};
const PLACES: Readonly<
  Record<string, (words: string) => { readonly headers?: Record<string, string>; readonly body?: string }>
> = {
  message: (message) => ({ body: JSON.stringify({ errors: [{ code: "DENIED", message }] }) }),
  code: (code) => ({ body: JSON.stringify({ errors: [{ code, message: "" }] }) }),
  "WWW-Authenticate": (words) => ({
    headers: {
      "www-authenticate": `Basic realm="x", error="${Buffer.from(words)
        .toString("latin1")
        .replace(/[^ -~]/g, "?")}"`,
    },
  }),
};

const repetitions = Object.keys(REPEATS).flatMap((form) =>
  ["a password", "an identity token", "a registry token", "a helper", "a fetched token"].flatMap((credential) =>
    Object.keys(PLACES).map((place) => ({ form, credential, place })),
  ),
);

describe("a registry that repeats what it was told", () => {
  it.each(repetitions)("$form, $credential, in $place, is not quoted", async ({ form, credential, place }) => {
    const tokens = await serve(() => ({ body: JSON.stringify({ token: SECRETS.bearer }) }));
    const secret = {
      "a password": PASSWORD,
      "an identity token": SECRETS.identity,
      "a registry token": SECRETS.registry,
      "a helper": SECRETS.helper,
      "a fetched token": SECRETS.bearer,
    }[credential] as string;
    const isToken = !["a password", "a helper"].includes(credential);
    const challenge = isToken ? `Bearer realm="${tokens.origin}/token"` : "Basic realm=x";
    const server = await serve(({ url, headers }) => {
      if (headers.authorization === undefined || url === "/v2/") {
        return { status: 401, headers: { "www-authenticate": challenge } };
      }
      const words = (REPEATS[form] as (typeof REPEATS)[string])(secret, headers.authorization);
      return { status: 403, ...(PLACES[place] as (typeof PLACES)[string])(words) };
    });
    mkdirSync(join(home, ".docker"));
    const config = credential === "a fetched token" ? {} : CREDENTIALS[credential]?.(server.host);
    writeFileSync(join(home, ".docker/config.json"), JSON.stringify(config));
    const answer = JSON.stringify({ Username: USERS.helper, Secret: SECRETS.helper });
    writeFileSync(join(home, "docker-credential-test"), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
    const name = parseRegistryName(`${server.host}/app:1`, "the test");
    const error = await openRegistrySource(name, { clock: virtualClock() }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "denied", message: expect.stringContaining("403") });
    expect(server.arrived.some(({ headers }) => headers.authorization !== undefined)).toBe(true);
    const text = inspect(error, { depth: 20, showHidden: true, maxStringLength: null });
    expectNoSecret(text, "the error");
    expectNoSecret(decodeURIComponent(text.replace(/%(?![0-9a-f]{2})/gi, "")), "the error, unescaped");
    for (const run of text
      .replace(/-/g, "+")
      .replace(/_/g, "/")
      .match(/[A-Za-z0-9+/]{8,}/g) ?? []) {
      for (const skip of [0, 1, 2, 3])
        expectNoSecret(Buffer.from(run.slice(skip), "base64").toString(), `base64 in ${text}`);
    }
  });

  it("is quoted where it says other things", async () => {
    const server = await serve(({ headers }) => {
      if (headers.authorization === undefined) return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      return { status: 403, body: JSON.stringify({ errors: [{ code: "QUOTA", message: "no more\nroom" }] }) };
    });
    mkdirSync(join(home, ".docker"));
    writeFileSync(join(home, ".docker/config.json"), JSON.stringify(CREDENTIALS["a password"]?.(server.host)));
    const name = parseRegistryName(`${server.host}/app:1`, "the test");
    await expect(openRegistrySource(name, { clock: virtualClock() })).rejects.toMatchObject({
      message: expect.stringMatching(/: no more room \(QUOTA\)$/),
    });
  });

  it("is not quoted where that was for a proxy, which answers itself", async () => {
    const proxy = await serve(({ url, headers }) => {
      if (url.endsWith("/v2/")) return {};
      const message = `no: ${headers["proxy-authorization"]}`;
      return { status: 407, body: JSON.stringify({ errors: [{ code: "DENIED", message }] }) };
    });
    proxy.server.on("connect", (_, socket) => socket.end("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"));
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY"]) {
      vi.stubEnv(name, proxy.origin.replace("//", `//${USERS.entry}:${encodeURIComponent(PASSWORD)}@`));
    }
    const name = parseRegistryName("registry.example/app:1", "the test");
    const options = { clock: virtualClock(), tlsVerify: false };
    const error = await openRegistrySource(name, options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "denied",
      message: expect.stringContaining("the proxy wants other credentials"),
    });
    expectNoSecret(inspect(error), "the error");
  });

  it("in the place that it redirects to is not quoted", async () => {
    const server = await serve(({ headers }) => {
      if (headers.authorization === undefined) return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      return { status: 307, headers: { location: `http://registry.example/a/${encodeURIComponent(PASSWORD)}/b` } };
    });
    mkdirSync(join(home, ".docker"));
    writeFileSync(join(home, ".docker/config.json"), JSON.stringify(CREDENTIALS["a password"]?.(server.host)));
    const name = parseRegistryName(`${server.host}/app:1`, "the test");
    const error = await openRegistrySource(name, { clock: virtualClock() }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      message: expect.stringContaining("leads to http://registry.example/…, which is plain http"),
    });
    expectNoSecret(inspect(error), "the error");
  });
});
