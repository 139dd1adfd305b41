import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  buildPlannedImage,
  type ImageSpec,
  openSource,
  openTarget,
  parseCompression,
  parseTransport,
  planImage,
  validateImages,
} from "../../../dist/index.js";
import { runCli } from "../../support/cli.js";
import { expectOk } from "../../support/command.js";
import { hexSha256, packTar } from "../../support/confs.js";
import { copySampleStore, type SampleStore } from "../../support/sample-store.js";

const MESSAGE = "/nix/store/k1y29i1qr6ipr6cjcbvhj505lfr3c0r4-greeting-message-1.0";

let directory: string;
let store: SampleStore;
const at = (name: string) => join(directory, name);

async function build(place: string, more: Partial<ImageSpec>): Promise<void> {
  const spec: ImageSpec = { closure: { graph: store.closureFile, storeRoot: store.storeRoot }, ...more };
  await buildPlannedImage(await planImage(spec), [await openTarget(parseTransport(place))]);
}

async function imageAt(place: string) {
  const source = await openSource(parseTransport(place));
  const [image] = source.images;
  const config = JSON.parse(Buffer.from(image?.config.bytes ?? []).toString("utf8"));
  source.close();
  return { layers: image?.layers.map(({ descriptor }) => descriptor?.digest) ?? [], config };
}

/** An image by somebody else, who says nothing of store paths. */
async function foreignImage(fields: Readonly<Record<string, unknown>> = {}, count = 2): Promise<string> {
  const tar = await packTar([["etc/base", "base\n"]]);
  const config = {
    ...{ architecture: "amd64", os: "linux" },
    config: { Env: ["PATH=/bin"], Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: Array(count).fill(`sha256:${hexSha256(tar)}`) },
    history: [{ created_by: "ADD base" }, { created_by: "ENV", empty_layer: true }, { created_by: "ADD again" }],
    ...fields,
  };
  const file = at(`foreign-${hexSha256(JSON.stringify(config))}.tar`);
  const archive = await packTar([
    ["base.tar", tar],
    ["config.json", JSON.stringify(config)],
    [
      "manifest.json",
      JSON.stringify([{ Config: "config.json", RepoTags: ["base:1"], Layers: Array(count).fill("base.tar") }]),
    ],
  ]);
  writeFileSync(file, archive);
  return `docker-archive:${file}`;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-from-image-"));
  store = copySampleStore(directory);
  await build(`oci:${at("base")}:1`, {
    closure: { graph: store.closureFile, storeRoot: store.storeRoot, roots: [MESSAGE] },
    compression: parseCompression("gzip", "test"),
  });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("an image on top of another", () => {
  it("has the base's layers as they are stored, and none of its store paths twice", async () => {
    await build(`oci:${at("child")}:1`, { fromImage: `oci:${at("base")}:1`, maxLayers: 3 });
    const [base, child] = [await imageAt(`oci:${at("base")}:1`), await imageAt(`oci:${at("child")}:1`)];
    expect(child.layers.slice(0, base.layers.length)).toEqual(base.layers);
    expect(child.layers).toHaveLength(3);
    const held = child.config.history.map(({ comment }: { comment: string }) => comment).join();
    expect(held.split(MESSAGE)).toHaveLength(2);
    expect(child.config.history.slice(0, base.layers.length)).toEqual(base.config.history);
    const [report] = await validateImages(await openSource(parseTransport(`oci:${at("child")}:1`)));
    expect(report?.findings).toEqual([]);
  });

  it("is a new config on the same layers where the base has everything", async () => {
    await build(`oci:${at("whole")}:1`, {});
    await build(`oci:${at("again")}:1`, { fromImage: `oci:${at("whole")}:1` });
    expect((await imageAt(`oci:${at("again")}:1`)).layers).toEqual((await imageAt(`oci:${at("whole")}:1`)).layers);
  });

  it("keeps layers and history of images that are not by oci-nix, identical layers included", async () => {
    await build(`oci:${at("on-foreign")}:1`, { fromImage: await foreignImage(), maxLayers: 3 });
    const { layers, config } = await imageAt(`oci:${at("on-foreign")}:1`);
    expect(layers).toHaveLength(3);
    expect(layers[0]).toBe(layers[1]);
    expect(config.rootfs.diff_ids.slice(0, 2)).toEqual([layers[0], layers[0]]);
    expect(config.history.map((entry: { created_by: string }) => entry.created_by)).toEqual([
      ...["ADD base", "ENV", "ADD again", "oci-nix"],
    ]);
    expect(config.config).toEqual({ Env: ["PATH=/bin"], Cmd: ["sh"] });
  });

  it("gives layers a history of their own where the base's does not fit them", async () => {
    await build(`oci:${at("no-history")}:1`, { fromImage: await foreignImage({ history: [{ created_by: "?" }] }) });
    const { config } = await imageAt(`oci:${at("no-history")}:1`);
    expect(config.history.slice(0, 2)).toEqual([{ created_by: "base image" }, { created_by: "base image" }]);
    expect(config.history).toHaveLength(config.rootfs.diff_ids.length);
  });

  it("is for what the base is for, and refuses to be for something else", async () => {
    const arm = await foreignImage({ architecture: "arm64", variant: "v8" });
    await build(`oci:${at("arm")}:1`, { fromImage: arm });
    expect((await imageAt(`oci:${at("arm")}:1`)).config).toMatchObject({ architecture: "arm64", variant: "v8" });
    await expect(build(`oci:${at("no")}:1`, { fromImage: arm, architecture: "amd64" })).rejects.toThrow(
      /not there for linux\/amd64/,
    );
    const windows = await foreignImage({ os: "windows" });
    await expect(build(`oci:${at("no")}:1`, { fromImage: windows })).rejects.toMatchObject({ code: "unsupported" });
  });

  it("counts the base's layers", async () => {
    const fromImage = await foreignImage();
    await expect(build(`oci:${at("no")}:1`, { fromImage, maxLayers: 2 })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining("those of fromImage count"),
    });
  });

  it.each([124, 125])("says what to do where the base's %i layers leave no room in any image", async (count) => {
    const fromImage = await foreignImage({ history: [] }, count);
    const made = build(`oci:${at("no")}:1`, { fromImage, maxLayers: 125, layers: [{ deps: [MESSAGE] }] });
    await expect(made).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringMatching(
        count === 125 ? /^fromImage has 125 layers, .*oci-nix export/ : /^use fewer explicit/,
      ),
    });
    const inOne = build(`oci:${at("no")}:1`, { fromImage, oneLayer: true });
    if (count === 125) await expect(inOne).rejects.toMatchObject({ hint: expect.stringContaining("oci-nix export") });
    else await inOne;
  });

  it("is made from a spec file, the base beside it, and from flags", async () => {
    mkdirSync(at("project"));
    writeFileSync(
      at("project/spec.json"),
      JSON.stringify({
        closure: { graph: store.closureFile, storeRoot: store.storeRoot },
        fromImage: "oci:../base:1",
        inheritConfig: false,
      }),
    );
    expectOk(await runCli(["build", at("project/spec.json"), "--to", `oci:${at("by-spec")}:1`]), "build");
    const flags = [
      "--closure",
      store.closureFile,
      "--store-root",
      store.storeRoot,
      "--from-image",
      `oci:${at("base")}:1`,
    ];
    const byFlags = await runCli(["build", ...flags, "--inherit-config", "none", "--to", `oci:${at("by-flags")}:1`]);
    expectOk(byFlags, "build");
    const index = (layout: string) => JSON.parse(readFileSync(join(at(layout), "index.json"), "utf8"));
    expect(index("by-flags")).toEqual(index("by-spec"));
    const plan = expectOk(await runCli(["plan", ...flags, "--json"]), "plan");
    expect(JSON.stringify(JSON.parse(plan.stdout.toString()).layers)).not.toContain(MESSAGE);
  });

  it("says what is wrong with the base, and leaves nothing behind", async () => {
    const cases = [
      [`oci:${at("missing")}:1`, /fromImage: .*missing/],
      ["docker.io/library/alpine", /fromImage: .*alpine.*\n.*docker:\/\//],
      [`docker-archive:${store.closureFile}`, /fromImage: /],
    ] as const;
    for (const [place, message] of cases) {
      const flags = ["--closure", store.closureFile, "--store-root", store.storeRoot, "--from-image", place];
      const result = await runCli(["build", ...flags, "--to", `oci:${at("nothing")}:1`]);
      expect(String(result.stderr)).toMatch(message);
      expect(String(result.stderr)).not.toContain("    at ");
      expect(result.status).not.toBe(0);
      expect(() => readFileSync(at("nothing/index.json"))).toThrow();
    }
  });
});
