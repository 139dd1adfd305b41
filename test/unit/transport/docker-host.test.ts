import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../../src/core/digest.js";
import { dockerHost, type Environment } from "../../../src/transport/docker-daemon/host.js";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-docker-host-"));
  mkdirSync(join(home, ".docker"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const host = (environment: Environment) => dockerHost({ HOME: home, ...environment });

function makeContext(name: string, endpoint: unknown, tls: Readonly<Record<string, string>> = {}): void {
  const id = sha256(name).slice("sha256:".length);
  const contexts = join(home, ".docker", "contexts");
  mkdirSync(join(contexts, "meta", id), { recursive: true });
  const meta = { Name: name, Metadata: {}, Endpoints: { docker: endpoint } };
  writeFileSync(join(contexts, "meta", id, "meta.json"), JSON.stringify(meta));
  if (Object.keys(tls).length === 0) return;
  mkdirSync(join(contexts, "tls", id, "docker"), { recursive: true });
  for (const [file, text] of Object.entries(tls)) writeFileSync(join(contexts, "tls", id, "docker", file), text);
}

describe("where the Docker daemon is", () => {
  it("is not said by a configuration that is empty", () => {
    writeFileSync(join(home, ".docker", "config.json"), "\n");
    expect(host({}).origin).toBeUndefined();
  });

  it.each([
    ["unix:///run/x.sock", { socketPath: "/run/x.sock" }],
    ["tcp://127.0.0.1:5000", { host: "127.0.0.1", port: 5000 }],
    ["tcp://build.example", { host: "build.example", port: 2375 }],
    ["build.example:99", { host: "build.example", port: 99 }],
    ["tcp://:99", { host: "localhost", port: 99 }],
    ["tcp://[::1]:99", { host: "::1", port: 99 }],
    ["http://127.0.0.1:5000/", { host: "127.0.0.1", port: 5000 }],
  ])("is at %s where DOCKER_HOST says so", (address, place) => {
    const found = host({ DOCKER_HOST: address });
    expect(found).toMatchObject({ address, origin: "DOCKER_HOST", place, basePath: "", tls: undefined });
  });

  it("may be behind a path", () => {
    expect(host({ DOCKER_HOST: "tcp://proxy:99/engine/" }).basePath).toBe("/engine");
  });

  it.each([
    ["ssh://me@build.example", "unsupported", /forward its socket: ssh/],
    ["npipe:////./pipe/docker_engine", "unsupported", /unix:/],
    ["unix://", "usage", /unix:/],
    ["unix://docker.sock", "usage", /unix:/],
    ["tcp://host:0", "usage", /tcp:/],
    ["tcp://host:70000", "usage", /tcp:/],
    ["tcp://a b", "usage", /tcp:/],
    ["tcp://host:99/a b", "usage", /tcp:/],
  ])("cannot be at %s", (address, code, hint) => {
    expect(() => host({ DOCKER_HOST: address })).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(/^DOCKER_HOST: /),
        hint: expect.stringMatching(hint),
      }),
    );
  });

  it("is not said with a password that stands in the address", () => {
    expect(() => host({ DOCKER_HOST: "tcp://me:secret@host:99" })).toThrow(
      expect.objectContaining({ code: "usage", message: expect.not.stringContaining("secret") }),
    );
  });

  it("is reached with TLS where DOCKER_TLS_VERIFY or DOCKER_TLS is set, with the files that are there", () => {
    const certificates = join(home, "certificates");
    mkdirSync(certificates);
    writeFileSync(join(certificates, "ca.pem"), "a CA");
    const environment = { DOCKER_HOST: "tcp://host", DOCKER_CERT_PATH: certificates };
    expect(host(environment).tls).toBeUndefined();
    const verified = host({ ...environment, DOCKER_TLS_VERIFY: "1" });
    expect(verified.place).toMatchObject({ port: 2376 });
    expect(verified.tls).toEqual({ rejectUnauthorized: true, ca: Buffer.from("a CA") });
    expect(host({ ...environment, DOCKER_TLS: "1" }).tls).toMatchObject({ rejectUnauthorized: false });
    writeFileSync(join(home, ".docker", "key.pem"), "a key");
    const fromHome = host({ DOCKER_HOST: "tcp://host", DOCKER_TLS_VERIFY: "1" });
    expect(fromHome.tls).toEqual({ rejectUnauthorized: true, key: Buffer.from("a key") });
    expect(() => host({ ...environment, DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: join(home, "none") })).toThrow(
      expect.objectContaining({ code: "not-found", message: expect.stringContaining("DOCKER_CERT_PATH") }),
    );
  });

  it("is where the context says that DOCKER_CONTEXT names, or docker context use, unless DOCKER_HOST does", () => {
    makeContext("one", { Host: "tcp://one:1" });
    makeContext("two", { Host: "unix:///two.sock" });
    writeFileSync(join(home, ".docker", "config.json"), JSON.stringify({ currentContext: "two" }));
    expect(host({})).toMatchObject({ address: "unix:///two.sock", origin: 'the context "two"' });
    expect(host({ DOCKER_CONTEXT: "one" })).toMatchObject({ address: "tcp://one:1", tls: undefined });
    expect(host({ DOCKER_CONTEXT: "one", DOCKER_HOST: "tcp://host:9" }).address).toBe("tcp://host:9");
    expect(host({ DOCKER_CONTEXT: "default" }).origin).toBeUndefined();
    expect(host({ DOCKER_CONFIG: join(home, "elsewhere") }).origin).toBeUndefined();
  });

  // Where there is Docker's own socket, nobody looks for others.
  it.skipIf(existsSync("/var/run/docker.sock"))(
    "is a rootless one or podman, where nothing else is said or there",
    () => {
      const podman = "unix:///run/podman/podman.sock";
      expect(host({})).toMatchObject({ address: "unix:///var/run/docker.sock", origin: undefined });
      expect(host({ XDG_RUNTIME_DIR: home })).toMatchObject({ address: "unix:///var/run/docker.sock" });
      expect(host({ CONTAINER_HOST: podman })).toMatchObject({ address: podman, origin: "CONTAINER_HOST" });
      writeFileSync(join(home, "docker.sock"), "");
      const rootless = `unix://${home}/docker.sock`;
      expect(host({ XDG_RUNTIME_DIR: home, CONTAINER_HOST: podman })).toMatchObject({ address: rootless });
      expect(host({ XDG_RUNTIME_DIR: home, DOCKER_HOST: podman })).toMatchObject({ address: podman });
    },
  );

  it("is reached with a context's certificates", () => {
    makeContext(
      "safe",
      { Host: "tcp://safe:1", SkipTLSVerify: false },
      { "ca.pem": "a CA", "cert.pem": "a certificate" },
    );
    expect(host({ DOCKER_CONTEXT: "safe" }).tls).toEqual({
      rejectUnauthorized: true,
      ca: Buffer.from("a CA"),
      cert: Buffer.from("a certificate"),
    });
    makeContext("lax", { Host: "tcp://lax:1", SkipTLSVerify: true });
    expect(host({ DOCKER_CONTEXT: "lax" }).tls).toEqual({ rejectUnauthorized: false });
  });

  it("is unknown where Docker's files are wrong", () => {
    expect(() => host({ DOCKER_CONTEXT: "none" })).toThrow(expect.objectContaining({ code: "not-found" }));
    makeContext("empty", {});
    expect(() => host({ DOCKER_CONTEXT: "empty" })).toThrow(expect.objectContaining({ code: "invalid-input" }));
    writeFileSync(join(home, ".docker", "config.json"), "{");
    expect(() => host({})).toThrow(expect.objectContaining({ code: "invalid-input" }));
  });
});
