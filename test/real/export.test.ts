import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashCli, runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { hexSha256, packImage } from "../support/confs.js";
import { createPodman, type Docker, ENGINE_TOOLS, type Engine, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { listing } from "../support/file-listing.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 300_000;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-export-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }), LIMIT_MS);

/** Unpacks an archive, and lists what is in it. */
async function unpacked(archive: string, name: string): Promise<readonly string[]> {
  const to = join(directory, name);
  mkdirSync(to);
  await runOk("tar", ["-xpf", archive, "--numeric-owner", "--xattrs", "-C", to], { timeoutMs: LIMIT_MS });
  return listing(to);
}

describe.skipIf(requireTools(...REAL_STORE_TOOLS, "tar"))("the root file system of an image of real packages", () => {
  let store: RealStore;
  const exported = () => join(directory, "root.tar");

  beforeAll(async () => {
    store = await realStore("small");
    const bash = store.packages.bash as string;
    const build = ["build", ...store.roots, "--store-root", store.storeRoot, "--copy-to-root", bash];
    const owner = ["--uid", "1000", "--gid", "100", "--uname", "user", "--gname", "users"];
    const places = ["plain.tar", "gzip.tar"].map((file) => `docker-archive:${join(directory, file)}:app:1`);
    const flags = ["--max-layers", "8", ...owner];
    expectOk(await runCli([...build, ...flags, "--to", places[0] as string], { timeoutMs: LIMIT_MS }), "build");
    for (const [compression, place] of [
      ["gzip:1", places[1]],
      ["zstd:1", `oci:${join(directory, "layout")}:1`],
    ] as const) {
      const copy = ["copy", places[0] as string, place as string, "--compression", compression];
      expectOk(await runCli(copy, { timeoutMs: LIMIT_MS }), "copy");
    }
    expectOk(await runCli(["export", `oci:${join(directory, "layout")}:1`, "-o", exported()]), "export");
  }, 10 * 60_000);

  it("has ./bin/bash and every file of the store, with its owner", { timeout: LIMIT_MS }, async () => {
    const names = (await runOk("tar", ["-tf", exported()])).split("\n");
    expect(names).toContain("./bin/bash");
    expect(names).toContain(`.${store.packages.bash}/bin/bash`);
    const lines = await unpacked(exported(), "all");
    expect(lines.find((line) => line.startsWith("bin/bash "))).toMatch(/^bin\/bash 1000:100 555 1000 /);
    expect(lines.filter((line) => /^nix\/store\/[^ ]/.test(line)).length).toBe(store.entries);
  });

  it("is the same bytes from every place, and in a pipe", { timeout: LIMIT_MS }, async () => {
    const sha256 = hexSha256(readFileSync(exported()));
    const layout = `oci:${join(directory, "layout")}`;
    expect((await hashCli(["export", layout], { timeoutMs: LIMIT_MS })).sha256).toBe(sha256);
    for (const file of ["plain.tar", "gzip.tar"]) {
      const other = await hashCli(["export", `docker-archive:${join(directory, file)}`], { timeoutMs: LIMIT_MS });
      expectOk(other, "export");
      expect(other.sha256).toBe(sha256);
    }
    const stdin = { file: join(directory, "plain.tar") };
    expect((await hashCli(["export", "-"], { stdin, timeoutMs: LIMIT_MS })).sha256).toBe(sha256);
  });

  const runsBash = async (engine: Engine) => {
    await engine.ok(["import", exported(), "imported:1"]);
    const command = [...store.dynamicBash.slice(0, -1), "/bin/bash", "-c", "echo runs; test -O /bin/bash && echo mine"];
    expect(await engine.ok([...RUN_OPTIONS, "--user", "1000:100", "imported:1", ...command])).toBe("runs\nmine\n");
  };

  it.skipIf(requireTools(...ENGINE_TOOLS.docker))(
    "is imported by docker and runs",
    async () => {
      const docker = await startDocker();
      try {
        await runsBash(docker);
      } finally {
        await docker.stop();
      }
    },
    LIMIT_MS,
  );

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))(
    "is imported by podman and runs",
    async () => {
      const podman = await createPodman();
      try {
        await runsBash(podman);
      } finally {
        await podman.stop();
      }
    },
    LIMIT_MS,
  );
});

describe.skipIf(requireTools("busybox", "tar", ...ENGINE_TOOLS.docker))("an image that Docker committed", () => {
  let docker: Docker;
  beforeAll(async () => {
    docker = await startDocker();
  }, LIMIT_MS);
  afterAll(async () => await docker?.stop());

  /** Directories that Docker adds to every container. */
  const isDockersOwn = (line: string) => /^(\.dockerenv|dev|proc|sys|etc)(\/| )/.test(line);

  it("has the files that docker export finds in a container of it", { timeout: LIMIT_MS }, async () => {
    const base = join(directory, "base");
    mkdirSync(join(base, "bin"), { recursive: true });
    await runOk("sh", ["-c", 'cp "$(command -v busybox)" "$0/bin/busybox"', base]);
    await runOk("sh", ["-c", `tar -C ${base} -c . > ${directory}/base.tar`]);
    await docker.ok(["import", join(directory, "base.tar"), "work:0"]);
    const steps = [
      "mkdir -p /d/sub /gone/deep /link; echo 1 > /d/a; echo 2 > /d/sub/b; echo 3 > /gone/deep/c; echo 4 > /was-file; ln /d/a /link/a; mkdir /was-dir; echo 5 > /was-dir/x",
      "rm -rf /gone; rm -rf /d/sub; mkdir /d/sub; echo new > /d/sub/n; rm /d/a; rm /was-file; mkdir /was-file; rm -r /was-dir; ln -s /d /was-dir; chown 7:8 /link/a; chmod 1777 /link; mkfifo /p",
      "rm /was-dir; mkdir /was-dir; echo 6 > /was-dir/y; ln /was-dir/y /was-dir/z; rm /p; mknod /n c 1 3; touch -d @1000000000.5 /d/old; ln -s none /s",
      "rm /was-dir/y; echo 7 > /d/a; chmod 700 /d",
    ];
    for (const [i, step] of steps.entries()) {
      const name = `step-${i}`;
      const busybox = "/bin/busybox";
      const prelude = `for c in mkdir ln rm chown chmod mkfifo mknod touch; do alias $c="${busybox} $c"; done`;
      const run = [
        "run",
        "--network",
        "none",
        "--name",
        name,
        `work:${i}`,
        busybox,
        "sh",
        "-c",
        `${prelude}\neval '${step}'`,
      ];
      await docker.ok(run);
      await docker.ok(["commit", name, `work:${i + 1}`]);
    }
    await docker.ok(["create", "--name", "last", `work:${steps.length}`, "/bin/busybox"]);
    await docker.ok(["export", "-o", join(directory, "docker.tar"), "last"]);
    const place = `docker-daemon:work:${steps.length}`;
    const env = { DOCKER_HOST: docker.host };
    const result = expectOk(await runCli(["export", place, "-o", join(directory, "ours.tar")], { env }), "export");
    expect(result.stderr).toMatch(/^work:4: \d+ entries, /);
    const ours = (await unpacked(join(directory, "ours.tar"), "ours")).filter((line) => !isDockersOwn(line));
    const theirs = (await unpacked(join(directory, "docker.tar"), "theirs")).filter((line) => !isDockersOwn(line));
    expect(ours).toEqual(theirs);
    expect(ours.join("\n")).toMatch(/^was-dir\/z .*$/m);
  });
});

describe.skipIf(requireTools("tar", "setcap", "getcap", "root"))("extended attributes", () => {
  it("come out as they went in: a program keeps its capabilities", async () => {
    const tree = join(directory, "capable");
    mkdirSync(tree);
    writeFileSync(join(tree, "program"), "x", { mode: 0o755 });
    await runOk(tool("setcap"), ["cap_net_bind_service=ep", join(tree, "program")]);
    const xattrs = ["--xattrs", "--xattrs-include=*"];
    const layer = join(directory, "capable.tar");
    await runOk("tar", ["-C", tree, "--format=pax", ...xattrs, "-cf", layer, "program"]);
    const image = await packImage([{ name: "layer.tar", tar: readFileSync(layer) }]);
    const result = await runCli(["export", "-"], { stdin: image });
    const to = join(directory, "capable-again");
    mkdirSync(to);
    const stdin = expectOk(result, "export").stdout;
    await runOk("tar", ["-xp", ...xattrs, "-C", to], { stdin });
    expect(await runOk(tool("getcap"), [join(to, "program")])).toContain("cap_net_bind_service=ep");
  });
});

describe("a file that cannot be written whole", () => {
  it("stays as it was", async () => {
    const bad = join(directory, "bad.tar");
    writeFileSync(bad, "no archive of an image");
    const out = join(directory, "kept");
    mkdirSync(out);
    writeFileSync(join(out, "root.tar"), "before");
    const result = await runCli(["export", `docker-archive:${bad}`, "-o", join(out, "root.tar")]);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/^error: /);
    expect(readFileSync(join(out, "root.tar"), "utf8")).toBe("before");
    expect(readdirSync(out)).toEqual(["root.tar"]);
  });
});
