import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { hexSha256, makeCustomisation, readConfCases, unpackTar, writeConfCase } from "../support/confs.js";
import { copySampleStore } from "../support/sample-store.js";

let directory: string;
let storeRoot: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-conf-"));
  ({ storeRoot } = copySampleStore(directory));
  await makeCustomisation(storeRoot);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the image of a conf.json", () => {
  it.each(readConfCases())("$title is nixpkgs' own", async ({ base, conf: fields, image, diffIds }) => {
    const input = await writeConfCase(directory, { base, conf: fields, storeRoot });
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
