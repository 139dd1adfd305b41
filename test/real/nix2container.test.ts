import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";
import { makeStore } from "../support/vectors.js";

const LIMIT_MS = 120_000;
const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const BUSYBOX = path("a", "busybox");
const ENV = path("b", "env");

it.skipIf(requireTools("busybox", "skopeo", ...ENGINE_TOOLS.docker))(
  "an image file over an image that skopeo pulled runs in Docker, with the layers it names",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-n2c-"));
    const store = makeStore({
      [BUSYBOX]: [{ path: "", type: "directory", mode: 0o755 }],
      [ENV]: [
        { path: "", type: "directory", mode: 0o755 },
        { path: "bin", type: "directory", mode: 0o755 },
        { path: "bin/sh", type: "symlink", target: `${BUSYBOX}/busybox` },
        { path: "tmp", type: "directory", mode: 0o755 },
      ],
    });
    copyFileSync(tool("busybox"), join(store.root, BUSYBOX, "busybox"));
    const oci = async (...args: string[]) => expectOk(await runCli(args, { cwd: directory }), args.join(" "));
    const file = (name: string, content: unknown) => writeFileSync(join(directory, name), JSON.stringify(content));
    const json = (name: string) => JSON.parse(readFileSync(join(directory, name), "utf8"));
    const docker = await startDocker();
    try {
      // The base is busybox alone; skopeo compresses its layer, as registries have them.
      file("base-graph.json", [{ path: BUSYBOX, references: [] }]);
      const base = await oci(
        "stream",
        "base-graph.json",
        "--store-root",
        store.root,
        "--name",
        "base",
        "--tar-profile=nix2container",
      );
      writeFileSync(join(directory, "base.tar"), base.stdout);
      const pulled = join(directory, "pulled");
      const source = `docker-archive:${join(directory, "base.tar")}`;
      await runOk("skopeo", ["copy", "--insecure-policy", "--dest-compress", source, `dir:${pulled}`]);
      await oci("n2c", "image-from-dir", "base.json", pulled);
      expect(json("base.json").layers[0].mediatype).toMatch(/\+gzip$/);

      file("graph.json", [{ path: ENV, references: [] }]);
      file("rewrites.json", [{ path: ENV, regex: `^${ENV}`, repl: "" }]);
      file("perms.json", [{ path: ENV, regex: "/tmp$", mode: "1777", uid: 1001, gid: 1001 }]);
      file("config.json", { Env: ["WHO=<me>"], Cmd: ["/bin/sh", "-c", "echo $WHO"] });
      const options = ["--rewrites", "rewrites.json", "--perms", "perms.json", "--store-root", store.root];
      await oci("n2c", "layers-from-reproducible-storepaths", "layers.json", "graph.json", ...options);
      await oci(
        "n2c",
        "image",
        "image.json",
        "config.json",
        "layers.json",
        "--from-image",
        "base.json",
        "--arch",
        "amd64",
      );

      const archive = join(directory, "image.tar");
      writeFileSync(archive, (await oci("stream", "image.json", "--store-root", store.root, "--name", "app")).stdout);
      await docker.ok(["load"], { stdin: { file: archive } });
      const layers = JSON.parse(await docker.ok(["image", "inspect", "--format", "{{json .RootFS.Layers}}", "app"]));
      expect(layers).toEqual(json("image.json").layers.map((layer: { diff_ids: string }) => layer.diff_ids));
      expect(await docker.ok([...RUN_OPTIONS, "app"])).toBe("<me>\n");
      const stat = `${BUSYBOX}/busybox`;
      expect(await docker.ok([...RUN_OPTIONS, "app", stat, "stat", "-c", "%a %u:%g", "/tmp"])).toBe("1777 1001:1001\n");
    } finally {
      await docker.stop();
      store.remove();
      rmSync(directory, { recursive: true, force: true });
    }
  },
  LIMIT_MS,
);
