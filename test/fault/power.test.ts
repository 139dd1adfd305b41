import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { requireTools } from "../support/tools.js";
import { Preload } from "./harness/preload.js";
import { type FaultStore, makeFaultStore } from "./harness/store.js";

const EIO = 5;

describe.skipIf(requireTools("gcc", "mke2fs", "qemu-img"))("a file that is not on the disk yet", () => {
  let directory: string;
  let store: FaultStore;
  let preload: Preload;
  let layout: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-power-"));
    store = await makeFaultStore(directory);
    preload = new Preload(directory);
    layout = `oci:${join(directory, "layout")}:app`;
    const { oldRoot, storeRoot } = store;
    expectOk(await runCli(["build", oldRoot, "--store-root", storeRoot, "--to", layout, "--quiet"]), "build");
  }, 60_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const closure = () => [store.oldRoot, "--store-root", store.storeRoot];
  const graph = () => [join(directory, "closure.json"), "--store-root", store.storeRoot];
  const disk = (format: string) => (to: string) => {
    const spec = join(directory, "disk.json");
    const { oldRoot, storeRoot } = store;
    writeFileSync(spec, JSON.stringify({ closure: { roots: [oldRoot], storeRoot }, partitionTableType: "none" }));
    return ["disk", spec, "--to", join(to, "image"), "--format", format];
  };
  const outputs: Readonly<Record<string, (to: string) => readonly string[]>> = {
    "an archive": (to) => ["copy", layout, `oci-archive:${join(to, "image.tar")}`],
    "a layout": (to) => ["copy", layout, `oci:${to}:app`],
    "a raw disk image": disk("raw"),
    "a qcow2 disk image": disk("qcow2"),
    "the page of a plan": (to) => ["plan", ...closure(), "--html", join(to, "plan.html")],
    "files of layers": (to) => ["n2c", "layers-from-non-reproducible-storepaths", join(to, "layers.json"), ...graph()],
    "a file of layers": (to) => ["n2c", "layers-from-reproducible-storepaths", join(to, "layers.json"), ...graph()],
    "an export": (to) => ["export", layout, "-o", join(to, "files.tar")],
  };

  it.each(Object.entries(outputs))("has no name: %s", { timeout: 60_000 }, async (_, args) => {
    const to = join(directory, "to");
    mkdirSync(to);
    try {
      const { env } = preload.inject({
        below: to,
        ops: "sync",
        at: 1,
        do: `errno:${EIO}`,
        forever: true,
        onlyNode: true,
      });
      const { status, stderr } = await runCli(args(to), { env });
      expect(stderr).toMatch(/^error: cannot write .*EIO/m);
      expect(status).toBe(1);
      expect(readdirSync(to, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())).toEqual([]);
    } finally {
      rmSync(to, { recursive: true, force: true });
    }
  });
});
