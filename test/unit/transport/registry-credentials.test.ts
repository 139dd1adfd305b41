import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OciNixError } from "../../../src/core/errors.js";
import { findCredential } from "../../../src/transport/registry/credentials.js";
import { virtualClock } from "../../support/clock.js";

let home: string;
const signal = new AbortController().signal;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "oci-nix-credentials-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_RUNTIME_DIR", join(home, "run"));
  vi.stubEnv("PATH", `${join(home, "bin")}:${process.env.PATH}`);
  for (const name of ["XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"]) vi.stubEnv(name, undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

function write(file: string, content: unknown): string {
  const path = join(home, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const DOCKER = ".docker/config.json";
const pair = (user: string, password: string) => ({ auth: Buffer.from(`${user}:${password}`).toString("base64") });
const auths = (entries: Readonly<Record<string, unknown>>) => ({ auths: entries });
const find = async (host: string, repository?: string, clock = virtualClock()) =>
  (await findCredential(host, repository, { clock, signal })).credential;

/** A credential helper: a shell script, whose standard input is the server's name. */
function helper(name: string, script: string): void {
  const file = write(`bin/docker-credential-${name}`, `#!/bin/sh\nread -r server || true\n${script}\n`);
  chmodSync(file, 0o755);
}

async function userAt(host: string, repository?: string): Promise<string | undefined> {
  const found = await find(host, repository);
  return found?.kind === "password" ? found.username : found?.kind;
}

/** A process that nobody has waited for yet has ended all the same. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function failure(attempt: Promise<unknown>): Promise<OciNixError> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OciNixError);
  return error as OciNixError;
}

describe("credential files", () => {
  it("are read in podman's order, the first that has an entry counts", async () => {
    expect(await find("r.example")).toBeUndefined();
    write(DOCKER, auths({ "r.example": pair("docker", "p"), "s.example": pair("docker", "p") }));
    expect(await userAt("r.example")).toBe("docker");
    write(".config/containers/auth.json", auths({ "r.example": pair("config", "p") }));
    expect(await userAt("r.example")).toBe("config");
    write("run/containers/auth.json", auths({ "r.example": pair("runtime", "p") }));
    expect(await userAt("r.example")).toBe("runtime");
    expect(await userAt("s.example")).toBe("docker");
    vi.stubEnv("REGISTRY_AUTH_FILE", write("own.json", auths({ "r.example": pair("own", "p") })));
    expect(await userAt("r.example")).toBe("own");
    expect(await userAt("s.example")).toBeUndefined();
  });

  it("are where DOCKER_CONFIG and XDG_CONFIG_HOME say", async () => {
    write("d/config.json", auths({ "r.example": pair("there", "p") }));
    vi.stubEnv("DOCKER_CONFIG", join(home, "d"));
    expect(await userAt("r.example")).toBe("there");
    write("c/containers/auth.json", auths({ "r.example": pair("xdg", "p") }));
    vi.stubEnv("XDG_CONFIG_HOME", join(home, "c"));
    expect(await userAt("r.example")).toBe("xdg");
  });

  it("give passwords with colons and what is not ASCII, zero bytes at the end taken off", async () => {
    const auth = Buffer.from("jörg:a:b€\0\0").toString("base64");
    write(DOCKER, auths({ "r.example": { auth }, "s.example": { username: "u", password: "p" } }));
    expect(await find("r.example")).toMatchObject({ kind: "password", username: "jörg", password: "a:b€" });
    expect(await find("s.example")).toMatchObject({ kind: "password", username: "u", password: "p" });
  });

  it("may hold base64 in lines, as programs wrap it", async () => {
    const auth = pair("user", "p".repeat(90)).auth.replace(/.{64}/g, "$&\r\n");
    write(DOCKER, auths({ "r.example": { auth } }));
    expect(await find("r.example")).toMatchObject({ username: "user", password: "p".repeat(90) });
  });

  it("that are empty hold nothing", async () => {
    write(DOCKER, "\n");
    write("run/containers/auth.json", "");
    expect(await find("r.example")).toBeUndefined();
    vi.stubEnv("REGISTRY_AUTH_FILE", "/dev/null");
    expect(await find("r.example")).toBeUndefined();
  });

  it("give identity tokens and registry tokens", async () => {
    write(
      DOCKER,
      auths({
        "i.example": { ...pair("u", ""), identitytoken: "it" },
        "t.example": pair("<token>", "from-name"),
        "r.example": { registrytoken: "rt" },
      }),
    );
    expect(await find("i.example")).toMatchObject({ kind: "identity", token: "it" });
    expect(await find("t.example")).toMatchObject({ kind: "identity", token: "from-name" });
    expect(await find("r.example")).toMatchObject({ kind: "registry", token: "rt" });
  });

  it("name registries with or without scheme and path, ports apart", async () => {
    write(
      DOCKER,
      auths({
        "https://a.example": pair("a", "p"),
        "http://b.example:5000/v1/": pair("b", "p"),
        "c.example/v2/": pair("c", "p"),
        "d.example:5000": pair("d", "p"),
      }),
    );
    expect(await userAt("a.example")).toBe("a");
    expect(await userAt("b.example:5000")).toBe("b");
    expect(await userAt("b.example")).toBeUndefined();
    expect(await userAt("c.example")).toBe("c");
    expect(await userAt("d.example")).toBeUndefined();
    expect(await userAt("sub.a.example")).toBeUndefined();
  });

  it("name repositories, the nearest one counts, and no other repository has it", async () => {
    write(
      DOCKER,
      auths({ "r.example": pair("all", "p"), "r.example/ns": pair("ns", "p"), "r.example/ns/app": pair("app", "p") }),
    );
    expect(await userAt("r.example", "ns/app")).toBe("app");
    expect(await userAt("r.example", "ns/app/deep")).toBe("app");
    expect(await userAt("r.example", "ns/other")).toBe("ns");
    expect(await userAt("r.example", "nsx/app")).toBe("all");
    expect(await userAt("r.example")).toBe("all");
    write(DOCKER, auths({ "r.example/ns": pair("ns", "p") }));
    expect(await userAt("r.example", "other/app")).toBeUndefined();
  });

  it("name Docker Hub in all of its ways", async () => {
    for (const key of ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"]) {
      write(DOCKER, auths({ [key]: pair("hub", "p") }));
      expect([key, await userAt("docker.io", "library/busybox")]).toEqual([key, "hub"]);
    }
    write(DOCKER, auths({ "docker.io/ns": pair("ns", "p"), "https://index.docker.io/v1/": pair("hub", "p") }));
    expect(await userAt("docker.io", "ns/app")).toBe("ns");
  });

  it("pass over entries without content", async () => {
    write(".config/containers/auth.json", auths({ "r.example": {}, "s.example": null }));
    write(DOCKER, auths({ "r.example": pair("docker", "p"), "s.example": { auth: "" } }));
    expect(await userAt("r.example")).toBe("docker");
    expect(await userAt("s.example")).toBeUndefined();
  });

  it("are named where they are broken, and nothing of them is shown", async () => {
    const broken: readonly (readonly [unknown, RegExp])[] = [
      ['{"auths": {"r.example": {"auth": "c2VjcmV0" "hunter2"}}}', /is not valid JSON: .* line 1/],
      ["[]", /is no JSON object/],
      [{ auths: ["hunter2"] }, /auths is no object/],
      [auths({ "r.example": "hunter2" }), /the entry of r.example is no object/],
      [auths({ "r.example": { auth: 7 } }), /auth of r.example is no string/],
      [auths({ "r.example": { auth: "hunter2!" } }), /auth of r.example is not USER:PASSWORD in base64/],
      [auths({ "r.example": { auth: Buffer.from("hunter2").toString("base64") } }), /is not USER:PASSWORD/],
      [{ credsStore: 7 }, /a credential helper is no string/],
      [{ credsStore: "../../bin/sh" }, /is no name of a credential helper/],
      [{ credHelpers: { "r.example": "a b" } }, /is no name of a credential helper/],
    ];
    for (const [content, message] of broken) {
      const file = write(DOCKER, content);
      const error = await failure(find("r.example"));
      expect(error.code).toBe("invalid-input");
      expect(error.message).toMatch(message);
      expect(error.message).toContain(file);
      expect(inspect(error)).not.toMatch(/hunter2|aHVudGVyMg|c2VjcmV0/);
    }
  });

  it("must be there where REGISTRY_AUTH_FILE names one", async () => {
    vi.stubEnv("REGISTRY_AUTH_FILE", join(home, "none.json"));
    const error = await failure(find("r.example"));
    expect(error.code).toBe("not-found");
    expect(error.message).toContain("none.json, which REGISTRY_AUTH_FILE names, is not there");
  });
});

describe("credential helpers", () => {
  it("are asked for the registry they are named for, before the store and the entries", async () => {
    helper("one", 'echo "{\\"ServerURL\\":\\"x\\",\\"Username\\":\\"one-$server\\",\\"Secret\\":\\"s\\"}"');
    helper("store", 'echo "{\\"Username\\":\\"store-$server\\",\\"Secret\\":\\"s\\"}"');
    write(DOCKER, {
      credHelpers: { "r.example:5000": "one" },
      credsStore: "store",
      ...auths({ "r.example:5000": pair("entry", "p"), "s.example": pair("entry", "p") }),
    });
    expect(await userAt("r.example:5000")).toBe("one-r.example:5000");
    expect(await userAt("s.example")).toBe("store-s.example");
  });

  it("give identity tokens under the name <token>", async () => {
    helper("id", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"tok\\"}"');
    write(DOCKER, { credsStore: "id" });
    expect(await find("r.example")).toMatchObject({ kind: "identity", token: "tok", from: "docker-credential-id" });
  });

  it("are asked for Docker Hub by its old address first, then by its name", async () => {
    helper("hub", `echo "$server" >>${home}/asked; echo "credentials not found in native keychain"; exit 1`);
    write(DOCKER, { credHelpers: { "https://index.docker.io/v1/": "hub" } });
    expect(await find("docker.io")).toBeUndefined();
    expect(readFileSync(join(home, "asked"), "utf8")).toBe("https://index.docker.io/v1/\ndocker.io\n");
  });

  it("that have nothing leave it to the entries", async () => {
    helper("none", 'echo "credentials not found in native keychain"; exit 1');
    write(DOCKER, { credsStore: "none", ...auths({ "r.example": pair("entry", "p") }) });
    expect(await userAt("r.example")).toBe("entry");
    expect(await userAt("s.example")).toBeUndefined();
  });

  it("see all of the environment, as whatever they go by may stand there", async () => {
    helper("env", `env >${home}/env; echo '{"Username":"u","Secret":"s"}'`);
    write(DOCKER, { credsStore: "env" });
    vi.stubEnv("AWS_PROFILE", "mine");
    vi.stubEnv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x");
    vi.stubEnv("VAULT_ADDR", "https://vault.example");
    vi.stubEnv("LC_ALL", "de_DE.UTF-8");
    await find("r.example");
    const seen = readFileSync(join(home, "env"), "utf8");
    const lines = [`HOME=${home}`, "AWS_PROFILE=mine", "DBUS_SESSION_BUS_ADDRESS=unix:path=/x"];
    for (const line of [...lines, "VAULT_ADDR=https://vault.example", "LC_ALL=de_DE.UTF-8"]) {
      expect(seen.split("\n")).toContain(line);
    }
  });

  it("that had no credentials are told of, with the file that names them", async () => {
    helper("none", 'echo "credentials not found in native keychain"; exit 1');
    helper("empty", 'echo "{\\"Username\\":\\"\\",\\"Secret\\":\\"\\"}"');
    const file = write(DOCKER, { credsStore: "none", credHelpers: { "r.example": "empty" } });
    const found = await findCredential("r.example", undefined, { clock: virtualClock(), signal });
    expect(found).toEqual({
      credential: undefined,
      without: [`docker-credential-empty, which ${file} names,`, `docker-credential-none, which ${file} names,`],
    });
  });

  it("that cannot be run are named with the reason", async () => {
    const file = write(DOCKER, { credsStore: "bad" });
    const named = `${file} names the credential helper docker-credential-bad, which cannot be run`;
    write("bin/docker-credential-bad", "#!/bin/sh\n");
    const reason = async () => {
      const error = await failure(find("r.example"));
      return [error.code, error.message];
    };
    expect(await reason()).toEqual(["unreadable", `${named}: permission denied`]);
    rmSync(join(home, "bin/docker-credential-bad"));
    mkdirSync(join(home, "bin/docker-credential-bad"));
    expect(await reason()).toEqual(["unreadable", `${named}: permission denied`]);
    rmSync(join(home, "bin/docker-credential-bad"), { recursive: true });
    chmodSync(write("bin/docker-credential-bad", "#!/no/such/interpreter\n"), 0o755);
    expect(await reason()).toEqual(["unreadable", `${named}: its interpreter is not there`]);
  });

  it("are waited for until they end, whoever holds their output open", async () => {
    helper("leaving", `sleep 1000 & echo $! >${home}/pid; echo '{"Username":"u","Secret":"s"}'`);
    write(DOCKER, { credsStore: "leaving" });
    expect(await userAt("r.example")).toBe("u");
    process.kill(Number(readFileSync(join(home, "pid"), "utf8")));
  });

  it("are named where they fail, and nothing of what they say is shown", async () => {
    const failing: readonly (readonly [string, RegExp])[] = [
      ["echo hunter2; echo hunter2 >&2; exit 3", /docker-credential-bad failed \(exit 3\) for r.example/],
      ["echo hunter2", /gave no credentials in its protocol's form/],
      ['echo \'{"Username":"hunter2"}\'', /gave no credentials in its protocol's form/],
      ["kill -9 $$", /docker-credential-bad failed \(SIGKILL\)/],
    ];
    write(DOCKER, { credsStore: "bad" });
    for (const [script, message] of failing) {
      helper("bad", script);
      const error = await failure(find("r.example"));
      expect(error.message).toMatch(message);
      expect(error.code).toBe("denied");
      expect(inspect(error)).not.toContain("hunter2");
    }
  });

  it("are named where they are missing", async () => {
    const file = write(DOCKER, { credsStore: "missing" });
    const error = await failure(find("r.example"));
    expect(error.code).toBe("not-found");
    expect(error.message).toBe(
      `${file} names the credential helper docker-credential-missing, which is not on the PATH`,
    );
  });

  it("are ended where they give nothing in time, or too much", async () => {
    write(DOCKER, { credsStore: "slow" });
    helper("slow", `echo $$ >${home}/pid; exec sleep 1000`);
    const clock = virtualClock();
    const found = failure(find("r.example", undefined, clock));
    await vi.waitFor(() => readFileSync(join(home, "pid"), "utf8"));
    clock.advance(120_000);
    expect((await found).message).toBe("docker-credential-slow gave nothing within 120 s for r.example");
    const pid = Number(readFileSync(join(home, "pid"), "utf8"));
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow());
    helper("slow", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    expect((await failure(find("r.example"))).code).toBe("limit");
  });

  it("are ended by the signal", async () => {
    write(DOCKER, { credsStore: "slow" });
    helper("slow", `sleep 1000 & echo $! >${home}/pid; wait`);
    const controller = new AbortController();
    const found = failure(findCredential("r.example", undefined, { clock: virtualClock(), signal: controller.signal }));
    await vi.waitFor(() => readFileSync(join(home, "pid"), "utf8"));
    controller.abort();
    expect((await found).code).toBe("interrupted");
    const pid = Number(readFileSync(join(home, "pid"), "utf8"));
    await vi.waitFor(() => expect(isRunning(pid)).toBe(false));
  });
});
