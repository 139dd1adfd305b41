import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkSpec, type ImagePlan, planImage, storePathsOf, toJson } from "../../src/index.js";
import { hashCli, PROJECT } from "../support/cli.js";
import { runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, startDocker } from "../support/daemons.js";
import { REAL_STORE_TOOLS } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

// Nix itself, in a container, is the judge of the image: of its tree, its permissions and its database.

const BUILD = join(PROJECT, "docs/examples/lix-image/build.mjs");
/** Half a second is enough, but not for a Docker that copies the image for each container (storage driver vfs). */
const LIMIT_MS = 60_000;
/** The first run downloads packages. */
const SETUP_MS = 10 * 60_000;

/** The parts of the example's spec that are looked at here. */
interface Spec {
  readonly closure: { readonly storeRoot: string };
  readonly layers: readonly { readonly deps: readonly string[] }[];
  readonly copyToRoot: readonly string[];
}

const OFFLINE = ["--option", "substituters", ""].map((word) => `'${word}'`).join(" ");
/** Says which user built it. */
const TRIVIAL = `derivation {
  name = "trivial";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "while read -r key uid rest; do [ $key != Uid: ] || echo $uid > $out; done < /proc/self/status" ];
}`;
const BUILD_TRIVIAL = `built=$(nix-build --no-out-link ${OFFLINE} -E '${TRIVIAL}')`;

describe.skipIf(requireTools(...REAL_STORE_TOOLS, ...ENGINE_TOOLS.docker))(
  "the example of an image with Nix in it",
  { timeout: LIMIT_MS },
  () => {
    let docker: Docker;
    let spec: Spec;
    let plan: ImagePlan;

    beforeAll(async () => {
      spec = JSON.parse(await runOk(process.execPath, [BUILD, "--spec"], { timeoutMs: SETUP_MS })) as Spec;
      plan = await planImage(checkSpec(toJson(spec), "spec"));
      docker = await startDocker();
      await load();
      await load("--user-owned");
    }, SETUP_MS);

    afterAll(async () => await docker?.stop());

    /** As `build.mjs | docker load`. */
    const load = async (...options: readonly string[]) => {
      // Each layer would be a copy of all below it.
      const layers = docker.storageDriver === "vfs" ? ["--max-layers", "6"] : [];
      const build = spawn(process.execPath, [BUILD, ...options, ...layers], { stdio: ["ignore", "pipe", "pipe"] });
      let said = "";
      build.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      const ended = once(build, "close");
      await docker.ok(["load"], { stdin: build.stdout });
      expect(await ended, said).toEqual([0, null]);
    };

    const inContainer = (image: string, script: string, ...options: readonly string[]) =>
      docker.run(["run", "--rm", "--network", "none", ...options, image, "sh", "-c", script], { timeoutMs: LIMIT_MS });

    /** Standard output of a script, in words or lines, which has to succeed. */
    const outputOf = async (image: string, script: string, ...options: readonly string[]) => {
      const { status, stdout, stderr } = await inContainer(image, `set -e; ${script}`, ...options);
      expect(status, stderr).toBe(0);
      return stdout.toString("utf8").trim();
    };
    const linesOf = async (...args: Parameters<typeof outputOf>) => (await outputOf(...args)).split("\n");

    /** What real Nix says of the store outside, which it built. */
    const requisitesOutside = async (...paths: readonly string[]) => {
      const store = ["--store", `local?root=${spec.closure.storeRoot}`];
      return (await runOk("nix-store", [...store, "--query", "--requisites", ...paths])).trim().split("\n").sort();
    };

    const pathsOfLayer = (i: number): readonly string[] => {
      const layer = plan.layers[i];
      if (layer?.kind !== "store") throw new Error(`layer ${i} is not of the store`);
      return storePathsOf(layer.plan);
    };

    it("runs Nix and the packages", async () => {
      const programs = ["nix", "nix-store", "bash", "curl", "git", "sqlite3"];
      const lines = await linesOf("nix", programs.map((program) => `${program} --version | head -n 1`).join(";"));
      expect(lines).toHaveLength(programs.length);
      expect(lines[0]).toMatch(/^nix \(Nix\) \d/);
      expect(lines[1]).toMatch(/^nix-store \(Nix\) \d/);
    });

    it("has root, nobody and 32 build users", async () => {
      const script =
        "for user in root nobody nixbld1 nixbld32; do id -u $user; done; id -gn nixbld7; grep -c nixbld /etc/shadow";
      expect(await linesOf("nix", script)).toEqual(["0", "65534", "30001", "30032", "nixbld", "32"]);
    });

    it("gives modes by rules, and the rest as in the store", async () => {
      const paths = "/tmp /var/tmp /root /etc/shadow /etc/passwd /nix/var/nix/profiles/per-user/root /nix/var/nix/db";
      expect(await linesOf("nix", `stat -c '%a %u:%g %n' ${paths}`)).toEqual([
        "1777 0:0 /tmp",
        "1777 0:0 /var/tmp",
        "700 0:0 /root",
        "600 0:0 /etc/shadow",
        "444 0:0 /etc/passwd",
        "555 0:0 /nix/var/nix/profiles/per-user/root",
        "755 0:0 /nix/var/nix/db",
      ]);
    });

    it("has labels, variables and a command, which Docker takes", async () => {
      const config = JSON.parse(await docker.ok(["image", "inspect", "--format", "{{json .Config}}", "nix"]));
      const labels = Object.keys(config.Labels);
      expect(labels.filter((name) => name.startsWith("org.opencontainers.image."))).toHaveLength(7);
      const names = config.Env.map((variable: string) => variable.split("=")[0]);
      const wanted = ["USER", "PATH", "MANPATH", "SSL_CERT_FILE", "GIT_SSL_CAINFO", "NIX_SSL_CERT_FILE", "NIX_PATH"];
      expect(names).toEqual(expect.arrayContaining(wanted));
      const run = await docker.run(["run", "--rm", "--network", "none", "--interactive", "nix"], {
        stdin: "echo $BASH_VERSION; test -s $SSL_CERT_FILE && echo certificates\n",
      });
      expect(run.stdout.toString("utf8")).toMatch(/^\d.*\ncertificates\n$/);
    });

    it("has four explicit layers at the bottom, each without what those below it hold", async () => {
      const held = new Set<string>();
      for (const [i, { deps }] of spec.layers.entries()) {
        const paths = [...pathsOfLayer(i)].sort();
        expect(paths.length).toBeGreaterThan(0);
        expect(paths).toEqual((await requisitesOutside(...deps)).filter((path) => !held.has(path)));
        for (const path of paths) held.add(path);
      }
      const history = (await docker.ok(["history", "--format", "{{.Comment}}", "nix"])).trim().split("\n").reverse();
      expect(history.slice(0, 4)).toEqual(["coreutils", "curl, libxml2 and sqlite", "git", "the channel"]);
    });

    it("is the same image when made by the command line from the printed spec", async ({ skip }) => {
      if (docker.storageDriver === "vfs") skip("the image in Docker has fewer layers");
      const directory = mkdtempSync(join(tmpdir(), "lix-image-"));
      try {
        const file = join(directory, "spec.json");
        writeFileSync(file, JSON.stringify(spec));
        const { stderr, status } = await hashCli(["stream", file, "--json"]);
        expect(status, stderr).toBe(0);
        const id = await docker.ok(["image", "inspect", "--format", "{{.Id}}", "nix"]);
        expect(JSON.parse(stderr.trim().split("\n").at(-1) ?? "").imageId).toBe(id.trim());
      } finally {
        rmSync(directory, { recursive: true });
      }
    });

    describe.each([
      { image: "nix", owner: "0", builder: "30001", options: [] },
      { image: "nix-user", owner: "1000", builder: "1000", options: ["--user", "1000:1000"] },
    ])("$image, used by $owner", ({ image, owner, builder, options }) => {
      it("verifies, contents included", async () => {
        const { status, stdout, stderr } = await inContainer(image, "nix-store --verify --check-contents", ...options);
        expect(status, stderr).toBe(0);
        expect(stdout.toString("utf8")).toBe("");
        // What it does is all it says.
        expect(
          stderr
            .trim()
            .split("\n")
            .filter((line) => !/^(reading|checking) .*\.\.\.$/.test(line)),
        ).toEqual([]);
        expect(stderr).toContain("checking store hashes...");
      });

      it("belongs to its user", async () => {
        const paths = "/nix /nix/store /nix/store/.links /nix/var/nix /nix/var/nix/db /nix/var/nix/db/db.sqlite";
        const stats = await linesOf(image, `id -u; stat -c '%u %a' ${paths}`, ...options);
        expect(stats).toEqual([owner, ...Array(5).fill(`${owner} 755`), `${owner} 644`]);
      });

      it("answers queries for a closure as Nix does outside", async () => {
        const script = "profile=$(readlink -f ~/.nix-profile); echo $profile; nix-store -qR $profile";
        const [profile = "", ...closure] = await linesOf(image, script, ...options);
        expect(closure.length).toBeGreaterThan(50);
        expect(closure.sort()).toEqual(await requisitesOutside(profile));
      });

      it("has exactly the store paths of its file system in the database, and a root for each", async () => {
        const script = "ls /nix/store; echo; ls /nix/var/nix/gcroots/docker; echo; nix path-info --all";
        const features = `NIX_CONFIG=experimental-features = nix-command`;
        const output = await outputOf(image, script, "--env", features, ...options);
        const [stored, roots, valid] = output.split("\n\n").map((list) => list.split("\n").sort());
        expect(stored?.length).toBeGreaterThan(50);
        expect(roots).toEqual(stored);
        expect(valid?.map((path) => path.replace("/nix/store/", ""))).toEqual(stored);
        expect(stored).not.toContain(spec.copyToRoot[0]?.replace("/nix/store/", ""));
      });

      it("names the roots of a path", async () => {
        const script = "profile=$(readlink -f ~/.nix-profile); echo $profile; nix-store --query --roots $profile";
        const [profile = "", ...roots] = await linesOf(image, script, ...options);
        const root = `/nix/var/nix/gcroots/docker/${profile.replace("/nix/store/", "")}`;
        expect(roots.map((line) => line.split(" -> "))).toEqual(
          expect.arrayContaining([
            [root, profile],
            ["/nix/var/nix/profiles/default-1-link", profile],
          ]),
        );
      });

      it("builds, as the user who is to build, and registers what it built", async () => {
        const script = `${BUILD_TRIVIAL}; cat $built; nix-store --query --deriver $built; nix-store --verify-path $built`;
        const [uid, deriver] = await linesOf(image, script, ...options);
        expect(uid).toBe(builder);
        expect(deriver).toMatch(/^\/nix\/store\/.*-trivial\.drv$/);
      });

      it("installs from the channel, and collects what was built without touching the image's own", async () => {
        const script = `
        nix-env -iA example.hello ${OFFLINE} 2> /dev/null; hello; nix-env --query | wc -l
        ${BUILD_TRIVIAL} 2> /dev/null; test -e $built; nix-collect-garbage > /dev/null 2>&1; test ! -e $built; hello
        ls /nix/var/nix/gcroots/docker | while read -r name; do test -e /nix/store/$name; done
        nix-env --rollback 2> /dev/null; nix-env --query | wc -l
        nix-store --verify --check-contents 2>&1 | grep -Ev '^(reading|checking) .*[.]{3}$' || true`;
        const hello = "Hello from the channel";
        expect(await linesOf(image, script, ...options)).toEqual([hello, "8", hello, "7"]);
      });
    });

    it("would notice a store path that is not what the database says", async () => {
      const changed = "$(readlink -f ~/.nix-profile)/manifest.nix";
      const script = `file=$(readlink -f ${changed}); chmod u+w $file; echo >> $file; nix-store --verify --check-contents`;
      const { status, stderr } = await inContainer("nix", script);
      expect(status).not.toBe(0);
      expect(stderr).toMatch(/env-manifest\.nix.* was modified/);
    });

    it("would notice a path that is in the database and not in the image", async () => {
      const script = "rm $(readlink -f ~/.nix-profile/manifest.nix); nix-store --verify";
      const { stderr } = await inContainer("nix", script);
      expect(stderr).toMatch(/env-manifest\.nix.* disappeared/);
    });
  },
);
