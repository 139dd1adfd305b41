import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "../../src/transport/registry/http.js";
import { runOk } from "../support/command.js";
import { makeCertificates } from "../support/http-server.js";
import { startTokenServer, type TokenServer, type TokenServerOptions } from "../support/token-server.js";
import { requireTools, tool } from "../support/tools.js";

const USER = { username: "tester", password: "hunter2:and&more" };
/** Of {@link USER}, as `htpasswd -nbB` gives it. */
const HTPASSWD = "tester:$2y$05$q0WD/gvUbCY9hxSSrsdAJeNPXiNjR0cg74M6UnDPq3OqxlvkmIWu6\n";

const PUSH = ["repository:ns/app:pull,push"];

let home: string;
const running: { stop(): Promise<void> }[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-registry-auth-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_RUNTIME_DIR", home);
  for (const name of ["XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE"]) {
    vi.stubEnv(name, undefined);
  }
});

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

/** Starts Debian's docker-registry on loopback. Gives its `host:port` and a way to read its log. */
async function startRegistry(auth: unknown, tls?: unknown): Promise<{ readonly host: string; log(): string }> {
  const directory = mkdtempSync(join(home, "registry-"));
  mkdirSync(join(directory, "storage"));
  const config = {
    version: "0.1",
    log: { level: "debug" },
    storage: { filesystem: { rootdirectory: join(directory, "storage") } },
    http: { addr: "127.0.0.1:0", secret: "of these tests", ...(tls === undefined ? {} : { tls }) },
    ...(auth === undefined ? {} : { auth }),
  };
  // JSON is YAML.
  writeFileSync(join(directory, "config.yml"), JSON.stringify(config));
  const output = openSync(join(directory, "log"), "w");
  const child = spawn(tool("docker-registry"), ["serve", join(directory, "config.yml")], {
    stdio: ["ignore", output, output],
    env: { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: "none" },
  });
  closeSync(output);
  const killNow = () => void child.kill("SIGKILL");
  process.once("exit", killNow);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()).once("error", () => resolve()));
  running.push({
    stop: async () => {
      killNow();
      await exited;
      process.off("exit", killNow);
    },
  });
  const log = () => readFileSync(join(directory, "log"), "utf8");
  for (const deadline = Date.now() + 20_000; Date.now() < deadline && child.exitCode === null; await sleep(50)) {
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(log())?.[1];
    if (host !== undefined) return { host, log };
  }
  throw new Error(`docker-registry did not get ready\n${log()}`);
}

async function serveTokens(options: Partial<TokenServerOptions> = {}): Promise<TokenServer> {
  const server = await startTokenServer({ directory: join(home, "keys"), issuer: "tests", ...options });
  running.push(server);
  return server;
}

const tokenAuth = (tokens: TokenServer) => ({
  token: { realm: tokens.realm, service: "registry of tests", issuer: "tests", rootcertbundle: tokens.certificate },
});

function htpasswdAuth(): unknown {
  writeFileSync(join(home, "htpasswd"), HTPASSWD);
  return { htpasswd: { realm: 'a realm, "quoted"', path: join(home, "htpasswd") } };
}

function login(host: string, entry: unknown): void {
  mkdirSync(join(home, ".docker"), { recursive: true });
  writeFileSync(join(home, ".docker/config.json"), JSON.stringify({ auths: { [host]: entry } }));
}

function open(host: string, options: RegistryOptions = {}): RegistryHttp {
  const http = openRegistryHttp(host, options);
  running.push({ stop: () => http.close() });
  return http;
}

const BLOB = Buffer.from("the bytes of a blob");
const DIGEST = `sha256:${createHash("sha256").update(BLOB).digest("hex")}`;

/** Uploads a blob as a stream; gives the statuses of what it takes. */
async function push(http: RegistryHttp, scopes: readonly string[] = PUSH): Promise<readonly number[]> {
  const common = { scopes, isRepeatable: false } as const;
  const begun = await http.request({ method: "POST", url: "/v2/ns/app/blobs/uploads/", ...common });
  await begun.discard();
  const location = begun.header("location");
  if (begun.status !== 202 || location === undefined) return [begun.status];
  const url = `${location}&digest=${encodeURIComponent(DIGEST)}`;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const byte of BLOB) yield Buffer.from([byte]);
  }
  const put = await http.request({
    ...common,
    method: "PUT",
    url,
    headers: { "content-type": "application/octet-stream" },
    body: { stream: pieces(), length: BLOB.length },
  });
  await put.discard();
  return [begun.status, put.status];
}

async function pull(http: RegistryHttp): Promise<string> {
  const url = `/v2/ns/app/blobs/${DIGEST}`;
  const response = await http.request({ method: "GET", url, scopes: ["repository:ns/app:pull"], isRepeatable: true });
  return `${response.status} ${(await response.bytes(10_000)).toString()}`;
}

describe.skipIf(requireTools("docker-registry", "openssl"))("docker-registry", () => {
  it("takes requests of anybody where it wants no credentials", async () => {
    const { host } = await startRegistry(undefined);
    const http = open(host);
    expect(await push(http)).toEqual([202, 201]);
    expect(await pull(http)).toBe(`200 ${BLOB}`);
  });

  it("takes name and password", async () => {
    const { host, log } = await startRegistry(htpasswdAuth());
    expect(await push(open(host))).toEqual([401]);
    login(host, { ...USER, password: "wrong" });
    expect(await push(open(host))).toEqual([401]);
    login(host, { auth: Buffer.from(`${USER.username}:${USER.password}`).toString("base64") });
    const http = open(host);
    expect(await push(http)).toEqual([202, 201]);
    expect(await pull(http)).toBe(`200 ${BLOB}`);
    expect(log()).not.toContain(USER.password);
  });

  it("takes name and password from a credential helper", async () => {
    const { host } = await startRegistry(htpasswdAuth());
    const helper = join(home, "docker-credential-tests");
    const answer = JSON.stringify({ ServerURL: host, Username: USER.username, Secret: USER.password });
    writeFileSync(helper, `#!/bin/sh\n[ "$1 $(cat)" = "get ${host}" ] && echo '${answer}'\n`, { mode: 0o755 });
    vi.stubEnv("PATH", `${home}:${process.env.PATH}`);
    mkdirSync(join(home, ".docker"));
    writeFileSync(join(home, ".docker/config.json"), JSON.stringify({ credHelpers: { [host]: "tests" } }));
    expect(await push(open(host))).toEqual([202, 201]);
  });

  it("takes name and password over TLS, with an authority of certs.d", async () => {
    const certificates = await makeCertificates(join(home, "certificates"));
    const file = (name: string) => join(certificates.directory, name);
    const { host } = await startRegistry(htpasswdAuth(), { certificate: file("server.crt"), key: file("server.key") });
    login(host, USER);
    await expect(push(open(host))).rejects.toThrow(/its certificate is signed by an authority that is not known here/);
    const directory = join(home, ".config/containers/certs.d", host);
    mkdirSync(directory, { recursive: true });
    copyFileSync(certificates.authority, join(directory, "ca.crt"));
    const http = open(host);
    expect(await push(http)).toEqual([202, 201]);
    expect(await pull(open(host, { tlsVerify: false }))).toBe(`200 ${BLOB}`);
  });

  it("takes tokens: none may push, who has a password may, for one token in all", async () => {
    const tokens = await serveTokens({ passwords: { [USER.username]: USER.password } });
    const { host } = await startRegistry(tokenAuth(tokens));
    expect(await push(open(host))).toEqual([401]);
    expect(tokens.demands.every(({ who }) => who === "anonymous")).toBe(true);
    login(host, USER);
    const before = tokens.demands.length;
    const http = open(host);
    expect(await push(http)).toEqual([202, 201]);
    expect(await pull(http)).toBe(`200 ${BLOB}`);
    expect(tokens.demands.slice(before)).toEqual([
      { who: "tester", method: "GET", service: "registry of tests", scopes: PUSH, account: "tester" },
    ]);
    expect(await pull(open(host))).toBe(`200 ${BLOB}`);
    rmSync(join(home, ".docker/config.json"));
    expect(await pull(open(host))).toBe(`200 ${BLOB}`);
    expect(tokens.demands.at(-1)).toMatchObject({ who: "anonymous", scopes: ["repository:ns/app:pull"] });
  });

  it("takes tokens for identity tokens, and refuses the password's owner with an error that says so", async () => {
    const tokens = await serveTokens({ identities: { "an identity": "tester" } });
    const { host } = await startRegistry(tokenAuth(tokens));
    login(host, { identitytoken: "an identity" });
    expect(await push(open(host))).toEqual([202, 201]);
    login(host, USER);
    await expect(push(open(host))).rejects.toThrow(/answers 401: incorrect username or password$/);
  });

  it("demands what a request needs, which is then asked for, though the request did not say so", async () => {
    const tokens = await serveTokens({ passwords: { [USER.username]: USER.password } });
    const { host } = await startRegistry(tokenAuth(tokens));
    login(host, USER);
    const http = open(host);
    expect(await push(http, [])).toEqual([202, 201]);
    const last = tokens.demands.at(-1)?.scopes.map((scope) => scope.split(/[:,]/).sort());
    expect(last).toEqual([["ns/app", "pull", "push", "repository"]]);
  });

  it("mounts from a repository that the token speaks of as well", async () => {
    const tokens = await serveTokens({ passwords: { [USER.username]: USER.password } });
    const { host } = await startRegistry(tokenAuth(tokens));
    login(host, USER);
    const http = open(host);
    expect(await push(http)).toEqual([202, 201]);
    const response = await http.request({
      method: "POST",
      url: `/v2/other/blobs/uploads/?mount=${DIGEST}&from=ns/app`,
      scopes: ["repository:other:pull,push", "repository:ns/app:pull"],
      isRepeatable: true,
    });
    await response.discard();
    expect(response.status).toBe(201);
    expect(tokens.demands.map(({ scopes }) => scopes)).toEqual([
      PUSH,
      ["repository:other:pull,push", "repository:ns/app:pull,push"],
    ]);
  });

  it("is asked with a new token where the old one holds no more", async () => {
    // The registry holds them for longer than the client is told.
    const tokens = await serveTokens({ passwords: { [USER.username]: USER.password }, lifetimeS: 0.001 });
    const { host } = await startRegistry(tokenAuth(tokens));
    login(host, USER);
    expect(await push(open(host))).toEqual([202, 201]);
    expect(tokens.demands).toHaveLength(2);
  });

  it.skipIf(requireTools("skopeo"))(
    "of the tests takes skopeo as well, so it asks for what registries ask for",
    async () => {
      const tokens = await serveTokens({ passwords: { [USER.username]: USER.password } });
      const { host } = await startRegistry(tokenAuth(tokens));
      const args = [
        "login",
        "--tls-verify=false",
        "--authfile",
        join(home, "auth.json"),
        "-u",
        USER.username,
        "--password-stdin",
        host,
      ];
      await runOk(tool("skopeo"), args, { stdin: USER.password });
      // What skopeo writes down is what we read.
      vi.stubEnv("REGISTRY_AUTH_FILE", join(home, "auth.json"));
      expect(await push(open(host))).toEqual([202, 201]);
    },
  );
});
