import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { OciNixError } from "../../../src/core/errors.js";
import { openRegistryHttp, type RegistryHttp, type RegistryOptions } from "../../../src/transport/registry/http.js";
import { parseRegistryName } from "../../../src/transport/registry/reference.js";
import { openRegistryTarget } from "../../../src/transport/registry/target.js";
import { virtualClock } from "../../support/clock.js";
import {
  type Certificates,
  type Handler,
  type HttpServer,
  makeCertificates,
  startHttpServer,
} from "../../support/http-server.js";
import { deliverAll, imageOf } from "../../support/outgoing.js";

let made: string;
let certificates: Certificates;
let home: string;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), "oci-nix-certificates-"));
  certificates = await makeCertificates(made);
});

afterAll(() => rmSync(made, { recursive: true, force: true }));

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-tls-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_RUNTIME_DIR", home);
  for (const name of [
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REGISTRY_AUTH_FILE",
    "DOCKER_CONFIG",
  ]) {
    vi.stubEnv(name, undefined);
  }
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toLowerCase(), undefined);
  }
});

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

async function serve(
  handler: Handler,
  tls: NonNullable<Parameters<typeof startHttpServer>[1]> = certificates.server,
): Promise<HttpServer> {
  const server = await startHttpServer(handler, tls);
  running.push(server);
  return server;
}

function open(host: string, options: RegistryOptions = {}): RegistryHttp {
  const http = openRegistryHttp(host, { clock: virtualClock(), ...options });
  running.push({ stop: () => http.close() });
  return http;
}

const text = async (http: RegistryHttp, url = "/v2/x") => {
  const response = await http.request({ method: "GET", url, scopes: [], isRepeatable: true });
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

/** The certs.d directory of a host. */
function directoryOf(host: string): string {
  const directory = join(home, ".config/containers/certs.d", host);
  mkdirSync(directory, { recursive: true });
  return directory;
}

const hello: Handler = () => ({ body: "hello" });

describe("a registry's certificate", () => {
  it("must be signed by an authority that is known, without another attempt or plain http", async () => {
    const server = await serve(hello);
    const clock = virtualClock();
    const error = await failure(text(open(server.host, { clock })));
    expect(error.code).toBe("denied");
    expect(error.message).toMatch(
      /cannot be reached: its certificate is signed by .* not known here \(\w+\) \(GET https:/,
    );
    expect(error.hint).toContain(`/etc/containers/certs.d/${server.host}/ca.crt`);
    expect(error.hint).toContain("--tls-verify=false");
    expect(server.arrived).toEqual([]);
    expect(clock.slept).toEqual([]);
  });

  it("is verified with certs.d of its host and port alone", async () => {
    const server = await serve(hello);
    copyFileSync(certificates.authority, join(directoryOf("127.0.0.1"), "ca.crt"));
    expect((await failure(text(open(server.host)))).code).toBe("denied");
    copyFileSync(certificates.authority, join(directoryOf(server.host), "ca.crt"));
    expect(await text(open(server.host))).toBe("200 hello");
  });

  it("is verified with SSL_CERT_FILE, NIX_SSL_CERT_FILE or NODE_EXTRA_CA_CERTS", async () => {
    const server = await serve(hello);
    for (const name of ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"]) {
      vi.stubEnv(name, certificates.authority);
      expect(await text(open(server.host))).toBe("200 hello");
      vi.stubEnv(name, undefined);
    }
    vi.stubEnv("SSL_CERT_FILE", join(home, "none.pem"));
    expect((await failure(text(open(server.host)))).message).toMatch(/^cannot read .*none.pem: no such file/);
  });

  it("must be for its host", async () => {
    const server = await serve(hello);
    const proxy = await startProxy({ "registry.example": server.port });
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    copyFileSync(certificates.authority, join(directoryOf("registry.example"), "ca.crt"));
    const error = await failure(text(open("registry.example")));
    expect(error.message).toContain("its certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)");
    expect(server.arrived).toEqual([]);
  });

  it("is not verified with tlsVerify: false", async () => {
    const server = await serve(hello);
    expect(await text(open(server.host, { tlsVerify: false }))).toBe("200 hello");
    expect(server.arrived).toHaveLength(2);
  });
});

it("a proxy that closes the connection instead of tunnelling is tried five times, and no more", async () => {
  let count = 0;
  const proxy = createTcpServer((socket) => {
    count++;
    socket.on("error", () => {});
    socket.once("data", () => socket.end());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  running.push({ stop: async () => void proxy.close() });
  vi.stubEnv("HTTPS_PROXY", `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  const error = await failure(text(open("registry.example")));
  expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("after 5 attempts") });
  expect(count).toBe(5);
});

describe("a push to what fails for good is tried once, and is no matter of time", () => {
  const push = async (host: string, clock = virtualClock()) => {
    const target = openRegistryTarget(parseRegistryName(`${host}/app:1`, "the test"), { clock });
    const error = await failure(deliverAll([imageOf(["layer"], { known: true })], [target]));
    expect(clock.slept).toEqual([]);
    return error;
  };
  /** What sends uploads elsewhere. */
  const sendingTo = async (origin: string) =>
    await serve(({ method }) => {
      if (method === "HEAD") return { status: 404 };
      return method === "POST" ? { status: 202, headers: { location: `${origin}/up` } } : {};
    });

  it("as a proxy that wants other credentials", async () => {
    const proxy = await startProxy({}, "user:right");
    vi.stubEnv("HTTPS_PROXY", proxy.url.replace("//", "//user:wrong@"));
    const error = await push("registry.example");
    expect(error).toMatchObject({
      code: "denied",
      message: expect.stringContaining("the proxy wants other credentials"),
    });
    expect(proxy.seen).toHaveLength(1);
  });

  it("as a certificate of an unknown authority, for another host, or no TLS, where an upload is sent to", async () => {
    const other = await serve(hello);
    const plain = await startHttpServer(hello);
    running.push(plain);
    for (const [origin, code, words] of [
      [other.origin, "denied", "not known here"],
      [plain.origin.replace("http:", "https:"), "invalid-input", "does not speak TLS"],
    ] as const) {
      const server = await sendingTo(origin);
      copyFileSync(certificates.authority, join(directoryOf(server.host), "ca.crt"));
      expect(await push(server.host)).toMatchObject({ code, message: expect.stringContaining(words) });
    }
    expect(other.arrived).toEqual([]);
  });
});

describe("a client's certificate", () => {
  it("is sent where certs.d has one", async () => {
    const server = await serve(hello, {
      ...certificates.server,
      requestCert: true,
      rejectUnauthorized: true,
      ca: readFileSync(certificates.authority),
    });
    const directory = directoryOf(server.host);
    copyFileSync(certificates.authority, join(directory, "ca.crt"));
    const error = await failure(text(open(server.host)));
    expect(error.message).toMatch(/CERTIFICATE_REQUIRED|closed the connection|broke off/);
    expect(error.hint).toContain(`/etc/containers/certs.d/${server.host}`);
    expect(error.hint).toContain("NAME.cert and NAME.key");
    copyFileSync(certificates.client.cert, join(directory, "me.cert"));
    expect((await failure(text(open(server.host)))).message).toBe(
      `${join(directory, "me.cert")} has no me.key beside it`,
    );
    copyFileSync(certificates.client.key, join(directory, "me.key"));
    expect(await text(open(server.host))).toBe("200 hello");
  });

  it("is an error where it is none", async () => {
    const server = await serve(hello);
    const directory = directoryOf(server.host);
    writeFileSync(join(directory, "a.crt"), "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n");
    const error = await failure(text(open(server.host)));
    expect([error.code, error.message]).toEqual([
      "invalid-input",
      `${join(directory, "a.crt")} is no certificate in PEM`,
    ]);
    rmSync(join(directory, "a.crt"));
    writeFileSync(join(directory, "a.key"), "x");
    expect((await failure(text(open(server.host)))).message).toContain("a.key has no a.cert beside it");
    copyFileSync(certificates.client.cert, join(directory, "a.cert"));
    expect((await failure(text(open(server.host)))).message).toContain(
      `${directory}: a certificate or key cannot be used`,
    );
  });
});

describe("Docker Hub", () => {
  it("answers under another name than its images have, with credentials under its oldest", async () => {
    const server = await serve(({ headers }) =>
      headers.authorization === undefined
        ? { status: 401, headers: { "www-authenticate": "Basic realm=x" } }
        : { body: `${headers.host} ${headers.authorization}` },
    );
    const proxy = await startProxy({ "registry-1.docker.io": server.port });
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    const auth = Buffer.from("user:password").toString("base64");
    mkdirSync(join(home, ".docker"));
    const config = { auths: { "https://index.docker.io/v1/": { auth } } };
    writeFileSync(join(home, ".docker/config.json"), JSON.stringify(config));
    const http = open("docker.io", { tlsVerify: false });
    expect(http.host).toBe("docker.io");
    expect(await text(http)).toBe(`200 registry-1.docker.io Basic ${auth}`);
  });
});

describe("plain http", () => {
  it("is for this machine, and not where certificates were put down for it", async () => {
    const plain = await startHttpServer(hello);
    running.push(plain);
    expect(await text(open(plain.host))).toBe("200 hello");
    directoryOf(plain.host);
    const error = await failure(text(open(plain.host)));
    expect(error.message).toMatch(/it does not speak TLS \(/);
    expect(error.hint).toBe("a registry that speaks plain http is reached with --tls-verify=false");
    expect(plain.arrived).toHaveLength(2);
  });

  it("is not tried elsewhere, but with tlsVerify: false", async () => {
    const plain = await startHttpServer(hello);
    running.push(plain);
    // A proxy stands for a network: the host is not this machine to the client.
    const proxy = await startProxy({ "registry.example": plain.port });
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    vi.stubEnv("HTTP_PROXY", proxy.url);
    const error = await failure(text(open("registry.example:5000")));
    expect(error.code).toBe("invalid-input");
    expect(proxy.seen.every((line) => line.startsWith("CONNECT registry.example:5000"))).toBe(true);
    expect(plain.arrived).toEqual([]);
    expect(await text(open("registry.example:5000", { tlsVerify: false }))).toBe("200 hello");
    expect(proxy.seen).toContain("GET http://registry.example:5000/v2/x");
  });

  it("is not where a redirect from TLS leads to", async () => {
    const plain = await startHttpServer(hello);
    running.push(plain);
    const server = await serve(({ url }) =>
      url === "/v2/" ? {} : { status: 302, headers: { location: `${plain.origin}/blob` } },
    );
    copyFileSync(certificates.authority, join(directoryOf(server.host), "ca.crt"));
    for (const tlsVerify of [true, false]) {
      const error = await failure(text(open(server.host, { tlsVerify })));
      expect(error.message).toBe(`${server.origin}/v2/x redirects out of TLS, to ${plain.origin}/blob`);
    }
    expect(plain.arrived).toEqual([]);
  });

  it("is not what an upload goes on in, where the registry does not know that it is reached over TLS", async () => {
    const server = await serve(hello);
    copyFileSync(certificates.authority, join(directoryOf(server.host), "ca.crt"));
    expect(await text(open(server.host), `http://${server.host}/v2/up`)).toBe("200 hello");
    const error = await failure(text(open(server.host), "http://storage.example/up"));
    expect(error.message).toBe("http://storage.example/up is plain http");
  });
});

describe("a connection that never gets ready", () => {
  /** Takes connections and says nothing, or one word to each. */
  const startMute = async (word?: string) => {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        if (word !== undefined && bytes.includes("CONNECT")) socket.write(word);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    running.push({
      stop: async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    return { sockets, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  };
  /** The library gives up after ten seconds, this test before. */
  const closesAtOnce = async (host: string, sockets: readonly Socket[], isBegun: () => boolean) => {
    const http = openRegistryHttp(host, {});
    const attempt = failure(text(http));
    await vi.waitUntil(isBegun);
    const closed = once(sockets[0] as Socket, "close");
    await http.close();
    await closed;
    expect((await attempt).message).toContain("was closed");
  };

  it("is closed with all others", { timeout: 5000 }, async () => {
    const { sockets, host } = await startMute();
    await closesAtOnce(host, sockets, () => sockets.some(({ bytesRead }) => bytesRead > 0));
  });

  it("is closed behind a proxy, too", { timeout: 5000 }, async () => {
    const { sockets, host } = await startMute("HTTP/1.1 200 OK\r\n\r\n");
    vi.stubEnv("HTTPS_PROXY", `http://${host}`);
    await closesAtOnce("registry.example", sockets, () => sockets.some(({ bytesRead }) => bytesRead > 200));
  });
});

describe("a proxy", () => {
  it("is told its own credentials, and not those for the registry", async () => {
    const server = await serve(({ headers }) =>
      headers.authorization === undefined
        ? { status: 401, headers: { "www-authenticate": "Basic realm=x" } }
        : { body: "in" },
    );
    mkdirSync(join(home, ".docker"));
    writeFileSync(
      join(home, ".docker/config.json"),
      JSON.stringify({ auths: { "localhost.example": { username: "user", password: "hunter2" } } }),
    );
    const proxy = await startProxy({ "localhost.example": server.port }, "me:pass");
    vi.stubEnv("https_proxy", proxy.url.replace("//", "//me:pass@"));
    expect(await text(open("localhost.example", { tlsVerify: false }))).toBe("200 in");
    expect(new Set(proxy.seen)).toEqual(new Set(["CONNECT localhost.example:443"]));
    expect(proxy.headers.join("\n")).not.toMatch(/^authorization|dXNlcjpodW50ZXIy/im);
  });

  it("that refuses is named, its password is not, and nothing is tried again", async () => {
    const proxy = await startProxy({}, "me:pass");
    vi.stubEnv("HTTPS_PROXY", proxy.url.replace("//", "//me:hunter2@"));
    const clock = virtualClock();
    const error = await failure(text(open("registry.example", { clock })));
    expect(error.message).toContain("the proxy wants other credentials (status 407)");
    expect(error.hint).toContain("HTTPS_PROXY");
    expect(`${error.message}${error.hint}${error.stack}`).not.toContain("hunter2");
    expect(clock.slept).toEqual([]);
    vi.stubEnv("HTTPS_PROXY", undefined);
    vi.stubEnv("HTTP_PROXY", proxy.url);
    vi.stubEnv("NO_PROXY", "registry.example:443");
    const plain = await failure(text(open("registry.example:80", { tlsVerify: false })));
    expect(plain.message).toMatch(/the proxy wants other credentials \(status 407\) \(GET http:/);
  });

  it("that cannot reach the host, or is not there, is an error after all attempts", async () => {
    const proxy = await startProxy({});
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    expect((await failure(text(open("registry.example")))).message).toMatch(
      /the proxy refuses the connection \(status 502\) .*after 5 attempts/,
    );
    await proxy.stop();
    const away = await failure(text(open("registry.example")));
    expect(away.message).toMatch(
      /registry.example cannot be reached over the proxy 127.0.0.1:\d+: connection refused \(ECONNREFUSED\)/,
    );
    expect(away.hint).toContain("HTTPS_PROXY");
  });

  it("is not used for hosts that NO_PROXY names", async () => {
    const proxy = await startProxy({});
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    vi.stubEnv("NO_PROXY", ".invalid");
    await failure(text(open("registry.invalid")));
    expect(proxy.seen).toEqual([]);
  });
});

interface TestProxy {
  readonly url: string;
  /** `CONNECT host:port` or `GET http://…`. */
  readonly seen: string[];
  readonly headers: string[];
  stop(): Promise<void>;
}

/** A proxy that knows the ports of some names on this machine. */
async function startProxy(hosts: Readonly<Record<string, number>>, credentials?: string): Promise<TestProxy> {
  const seen: string[] = [];
  const headers: string[] = [];
  const sockets = new Set<Socket>();
  const isAllowed = (header: string | undefined) =>
    credentials === undefined || header === `Basic ${Buffer.from(credentials).toString("base64")}`;
  const server = createServer(async (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const url = new URL(request.url ?? "");
    const port = hosts[url.hostname];
    if (!isAllowed(request.headers["proxy-authorization"])) response.writeHead(407).end();
    else if (port === undefined) response.writeHead(502).end();
    else {
      const answer = await fetch(`http://127.0.0.1:${port}${url.pathname}`);
      response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
    }
  });
  server.on("connection", (socket) => sockets.add(socket));
  server.on("connect", (request, socket: Socket) => {
    seen.push(`CONNECT ${request.url}`);
    headers.push(...Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`));
    const port = hosts[(request.url ?? "").replace(/:\d+$/, "")];
    if (!isAllowed(request.headers["proxy-authorization"])) socket.end("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
    else if (port === undefined) socket.end("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
    else {
      const onward = connect(port, "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      for (const one of [socket, onward]) {
        sockets.add(one);
        one.on("error", () => {});
      }
      socket.pipe(onward).pipe(socket);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
    return stopped;
  };
  running.push({ stop });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, headers, stop };
}
