import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { conf, hexSha256, makeCustomisation, packImage, packTar, unpackTar } from "../support/confs.js";
import { copySampleStore } from "../support/sample-store.js";

interface Golden {
  readonly title: string;
  readonly base?: "plain" | "gzip";
  readonly conf: Readonly<Record<string, unknown>>;
  /** What nixpkgs' stream_layered_image.py gave for it over the sample store. */
  readonly image: string;
  readonly diffIds: readonly string[];
}

const cases = JSON.parse(
  readFileSync(new URL("../../testdata/conf/cases.json", import.meta.url), "utf8"),
) as readonly Golden[];
const BASE = "/nix/store/11111111111111111111111111111111-base.tar.gz";

let directory: string;
let storeRoot: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-conf-"));
  ({ storeRoot } = copySampleStore(directory));
  await makeCustomisation(storeRoot);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The base image: layers of odd names, and a config of which only Env is inherited. */
async function makeBase(kind: "plain" | "gzip"): Promise<void> {
  const layers = [
    { name: "one/layer.tar", tar: await packTar([["one", "1"]]) },
    { name: 'it\'s "two" é\u2028.tar', tar: await packTar([["two", "2"]]) },
  ];
  const archive = await packImage(layers, { Env: ["A=base", "PATH=/bin", "B=1"], Cmd: ["dropped"], User: "dropped" });
  writeFileSync(join(storeRoot, BASE), kind === "gzip" ? gzipSync(archive) : archive);
}

describe("the image of a conf.json", () => {
  it.each(cases)("$title is nixpkgs' own", async ({ base, conf: fields, image, diffIds }) => {
    if (base !== undefined) await makeBase(base);
    const input = join(directory, "conf.json");
    writeFileSync(input, JSON.stringify(conf({ from_image: base === undefined ? null : BASE, ...fields })));
    const result = expectOk(await runCli(["stream", input, "--store-root", storeRoot]), "stream");
    const members = await unpackTar(result.stdout);
    const [manifest] = JSON.parse(`${members.get("manifest.json")}`) as [
      { Config: string; RepoTags: string[]; Layers: string[] },
    ];
    const config = members.get(manifest.Config) as Buffer;
    expect((JSON.parse(`${config}`) as { rootfs: { diff_ids: string[] } }).rootfs.diff_ids).toEqual(diffIds);
    expect(manifest.Layers.map((name) => `sha256:${hexSha256(members.get(name) as Buffer)}`)).toEqual(diffIds);
    expect(`sha256:${hexSha256(config)}`).toBe(image);
    expect(manifest.Config).toBe(`${hexSha256(config)}.json`);
    expect(manifest.RepoTags).toEqual([fields.repo_tag ?? "app:1"]);
  });
});
