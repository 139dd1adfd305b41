import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCli } from "../support/cli.js";
import { runCommand, runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { layersOf } from "../support/layers.js";
import { dynamicPrograms } from "../support/nix-system.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";
import { makeTreeStore } from "../support/trees.js";

const LIMIT_MS = 180_000;

describe.skipIf(requireTools(...REAL_STORE_TOOLS, "busybox", ...ENGINE_TOOLS.docker))("an image with contents", () => {
  let docker: Docker;
  let store: RealStore;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-customisation-"));
    store = await realStore("small");
    docker = await startDocker();
  }, 600_000);

  afterAll(async () => {
    await docker?.stop();
    rmSync(directory, { recursive: true, force: true });
  }, LIMIT_MS);

  /** Streams the image into Docker. */
  async function load(name: string, spec: object): Promise<void> {
    const file = join(directory, `${name}.json`);
    writeFileSync(file, JSON.stringify({ name, tag: "1", ...spec }));
    const running = startCli(["stream", file, "--quiet"]);
    await docker.ok(["load"], { stdin: running.stdout });
    expect(await running.ended).toMatchObject({ status: 0 });
  }
  const run = (name: string, ...more: readonly string[]) => {
    const command = more.findIndex((word) => !word.startsWith("--"));
    return docker.ok([...RUN_OPTIONS, ...more.slice(0, command), `${name}:1`, ...more.slice(command)]);
  };

  it("runs Debian's bash and coreutils, dynamically linked, from /bin and /usr/bin", {
    timeout: LIMIT_MS,
  }, async () => {
    const { storeRoot, packages } = store;
    const programs = dynamicPrograms(store);
    writeFileSync(join(directory, "motd"), "welcome\n");
    await load("system", {
      closure: { storeRoot },
      contents: [packages.coreutils, packages.bash],
      files: [
        { target: "/etc/motd", path: "motd", mode: "0444" },
        { target: "/tmp", directory: true, mode: "1777" },
        { target: "/home/app", directory: true, mode: "0700", uid: 1000, gid: 1000 },
        ...programs.files,
      ],
      helpers: ["binSh", { fakeNss: { extraPasswdLines: ["app:x:1000:1000::/home/app:/bin/sh"] } }],
      config: { Env: programs.env, Cmd: ["/bin/sh", "-c", "cat /etc/motd"] },
    });
    expect(await docker.ok([...RUN_OPTIONS, "system:1"])).toBe("welcome\n");
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    expect(await run("system", "/bin/sh", "-c", "echo ${BASH_VERSION%%.*} $(readlink /bin/sh)")).toBe(
      `5 ${packages.bash}/bin/bash\n`,
    );
    const paths = ["/", "/etc", "/etc/motd", "/etc/passwd", "/tmp", "/var/empty", "/home", "/home/app", "/usr/bin"];
    expect((await run("system", "stat", "-c", "%n %a %u:%g", ...paths)).trim().split("\n")).toEqual([
      "/ 755 0:0",
      "/etc 755 0:0",
      "/etc/motd 444 0:0",
      "/etc/passwd 644 0:0",
      "/tmp 1777 0:0",
      "/var/empty 755 0:0",
      "/home 755 0:0",
      "/home/app 700 1000:1000",
      "/usr/bin 755 0:0",
    ]);
    expect(await run("system", "id")).toBe("uid=0(root) gid=0(root) groups=0(root)\n");
    expect(await run("system", "--user=nobody", "id")).toBe(
      "uid=65534(nobody) gid=65534(nobody) groups=65534(nobody)\n",
    );
    // Docker takes user and home from /etc/passwd of the image.
    const script = 'echo "$HOME" && touch ~/own /tmp/mine && stat -c %U ~/own && ! touch /etc/other 2>/dev/null';
    expect(await run("system", "--user=app", "/bin/sh", "-c", script)).toBe("/home/app\napp\n");
  });

  it("has the helpers' files where programs look for them", { timeout: LIMIT_MS }, async () => {
    const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
    const [bash, coreutils, cacert] = [
      path("b", "bash-5.2"),
      path("c", "coreutils-9.7"),
      path("d", "nss-cacert-3.108"),
    ];
    const small = makeTreeStore({
      [bash]: { "bin/": ["", 0o755] },
      [coreutils]: { "bin/": ["", 0o755] },
      [cacert]: { "etc/": "", "etc/ssl/": "", "etc/ssl/certs/": "", "etc/ssl/certs/ca-bundle.crt": "CERTIFICATE\n" },
    });
    const { storeRoot } = small.closure;
    // One program that is all of them, by the name it is called with.
    for (const file of [`${bash}/bin/bash`, `${coreutils}/bin/env`, `${coreutils}/bin/cat`, `${coreutils}/bin/ls`]) {
      copyFileSync(tool("busybox"), join(storeRoot, file));
    }
    try {
      await load("helpers", {
        closure: small.closure,
        contents: [coreutils],
        files: [{ target: "/script", text: "#!/usr/bin/env sh\necho by env\n", mode: "0755" }],
        helpers: ["fakeNss", "binSh", "usrBinEnv", "caCertificates", "shadowSetup"],
      });
    } finally {
      small.remove();
    }
    expect(await run("helpers", "/script")).toBe("by env\n");
    const places = [
      "/etc/ssl/certs/ca-bundle.crt",
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/tls/certs/ca-bundle.crt",
    ];
    expect(await run("helpers", "cat", ...places)).toBe("CERTIFICATE\n".repeat(3));
    expect(await run("helpers", "cat", "/etc/nsswitch.conf")).toBe("hosts: files dns\n");
    expect(await run("helpers", "ls", "/etc/pam.d", "/var/empty")).toBe("/etc/pam.d:\nother\n\n/var/empty:\n");
  });
});

describe.skipIf(requireTools(...REAL_STORE_TOOLS, "lndir"))("contents, against lndir", () => {
  it("have the same directories, and links that lead to the same files", { timeout: LIMIT_MS }, async () => {
    const { storeRoot, packages } = await realStore("small");
    const names = ["bash", "coreutils", "curl", "gnupg", "tzdata", "vim"];
    const contents = names.map((name) => packages[name] as string);
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-lndir-"));
    const [theirs, ours] = [join(directory, "theirs"), join(directory, "ours")];
    try {
      mkdirSync(theirs);
      for (const path of contents) await runOk(tool("lndir"), ["-silent", storeRoot + path, theirs]);
      rmSync(join(theirs, "nix-support"), { recursive: true });
      mkdirSync(ours);
      for (const line of (await layersOf({ closure: { storeRoot }, contents })).at(-1) ?? []) {
        const [, made] = /^d 0755 0:0 (.*)\/$/.exec(line) ?? [];
        const [, link, target] = /^l (.*) -> (.*)$/.exec(line) ?? [];
        if (made !== undefined) mkdirSync(join(ours, made));
        else symlinkSync(`${target}`.replace(/^\/nix\/store\//, `${storeRoot}$&`), join(ours, link as string));
      }
      const found = treeOf(ours, storeRoot);
      expect(found).toEqual(treeOf(theirs, storeRoot));
      expect(found.filter((line) => line.endsWith("directory")).length).toBeGreaterThan(100);
      expect(found.length).toBeGreaterThan(500);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("are no files: lndir refuses them, too", async () => {
    const { storeRoot, busybox } = await realStore("small");
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-lndir-"));
    try {
      mkdirSync(join(directory, "out"));
      const result = await runCommand(tool("lndir"), ["-silent", storeRoot + busybox, join(directory, "out")]);
      expect(result.status).not.toBe(0);
      const spec = { closure: { storeRoot }, contents: [busybox] };
      await expect(layersOf(spec)).rejects.toMatchObject({ code: "invalid-input" });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

/** Everything below a directory, with where it leads to. */
function treeOf(root: string, storeRoot: string): readonly string[] {
  const lines: string[] = [];
  const visit = (directory: string) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) visit(path);
      lines.push(`${path.slice(root.length)} ${entry.isDirectory() ? "directory" : endOf(path, root, storeRoot)}`);
    }
  };
  visit(root);
  return lines.sort();
}

function endOf(path: string, root: string, storeRoot: string): string {
  const target = statSync(path, { throwIfNoEntry: false });
  if (target === undefined) return "nowhere";
  const end = realpathSync(path);
  if (!target.isDirectory()) return end;
  // lndir leads some symlinks to a directory of the store path, where we lead to the same one of the joined tree.
  const inStore = end.startsWith(`${storeRoot}/nix/store/`);
  return `to ${inStore ? end.slice(`${storeRoot}/nix/store/`.length).replace(/^[^/]*/, "") : end.slice(root.length)}`;
}
