import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 600_000;

describe.skipIf(requireTools("skopeo", "umoci", ...REAL_STORE_TOOLS))("an OCI layout of a real closure", () => {
  let store: RealStore;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-real-layout-"));
    store = await realStore("small");
  }, LIMIT_MS);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("is copied by skopeo and unpacked by umoci, with the diff_ids of the stream", { timeout: LIMIT_MS }, async () => {
    const args = [
      ...store.roots.slice(0, 3),
      "--store-root",
      store.storeRoot,
      "--name",
      "app",
      "--json",
      "--max-layers",
      "5",
    ];
    const layout = join(directory, "layout");
    const built = expectOk(await runCli(["build", ...args, "--to", `oci:${layout}:1`]), "build");
    const { layers, manifest } = JSON.parse(String(built.stderr)) as { manifest: string; layers: { diffId: string }[] };
    expect(String(built.stdout)).toBe(`${manifest}\n`);
    const archive = join(directory, "copied.tar");
    await runOk("skopeo", ["copy", "--insecure-policy", `oci:${layout}:1`, `docker-archive:${archive}:app:1`]);
    const config = JSON.parse(await runOk("skopeo", ["inspect", "--config", `docker-archive:${archive}`])) as {
      readonly rootfs: { readonly diff_ids: readonly string[] };
    };
    expect(config.rootfs.diff_ids).toEqual(layers.map(({ diffId }) => diffId));
    const raw = await runOk("skopeo", ["inspect", "--raw", `oci:${layout}:1`]);
    expect(JSON.parse(raw)).toMatchObject({
      schemaVersion: 2,
      layers: layers.map(({ diffId }) => ({ digest: diffId })),
    });
    await runOk("umoci", ["unpack", "--rootless", "--image", `${layout}:1`, join(directory, "unpacked")]);
    const shown = await runOk(join(directory, "unpacked", "rootfs", store.busybox), ["echo", "unpacked"]);
    expect(shown).toBe("unpacked\n");
  });
});
