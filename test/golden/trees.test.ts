import { describe, expect, it } from "vitest";
import { layerEntries, ownership } from "../../src/build/file-tree.js";
import { BlockWriter } from "../../src/core/block-writer.js";
import { nullSink } from "../../src/core/byte-sink.js";
import type { LayerContent, LayerPlan } from "../../src/layers/plan.js";
import { type TarProfileName, tarProfile } from "../../src/tar/profiles.js";
import { tarBlob } from "../../src/tar/writer.js";
import { makeStore, readVectors, type TreeVector } from "../support/vectors.js";

const vectors = readVectors<TreeVector>("trees.json");

async function layer(
  storeRoot: string,
  contents: readonly LayerContent[],
  profileName: TarProfileName,
  owner = ownership(0, 0, "root", "root"),
  mtime = 1,
  blockSize = 16384,
): Promise<{ digest: string; size: number; written: number }> {
  const profile = tarProfile(profileName);
  const plan: LayerPlan = { contents, reason: "" };
  const entries = await layerEntries(plan, { storeRoot, profile, owner });
  const blob = tarBlob("layer", entries, { profile, mtime });
  const out = new BlockWriter(nullSink, { blockSize });
  const digest = await blob.writeTo(out);
  return { digest, size: blob.size, written: out.written };
}

describe.each(vectors.map((vector, index) => ({ vector, index })))("tree vector $index", ({ vector }) => {
  it("gives nixpkgs' diff_ids under the dockertools profile", async () => {
    const store = makeStore(vector.storePaths);
    try {
      const { uid, gid, uname, gname, mtime } = vector.ownership;
      const owner = ownership(Number(uid ?? 0), Number(gid ?? 0), uname ?? "root", gname ?? "root");
      const seconds = mtime === undefined ? 1 : Date.parse(mtime) / 1000;
      const layers = [];
      for (const paths of vector.layers) {
        const contents = paths.map((storePath) => ({ storePath }));
        const made = await layer(store.root, contents, "dockertools", owner, seconds);
        expect(made.written).toBe(made.size);
        layers.push(made.digest);
      }
      expect(layers).toEqual(vector.dockertools);
    } finally {
      store.remove();
    }
  });

  it("gives nix2container's digests and sizes under its profile, in blocks of any size", async () => {
    const store = makeStore(vector.storePaths);
    try {
      for (const blockSize of [512, 1000, 65536]) {
        const layers = [];
        for (const paths of vector.layers) {
          const contents = paths.map((storePath) => ({ storePath }));
          const { digest, size } = await layer(store.root, contents, "nix2container", undefined, 1, blockSize);
          layers.push({ digest, size });
        }
        expect(layers).toEqual(vector.nix2container);
      }
    } finally {
      store.remove();
    }
  });

  it.skipIf(vector.graft === undefined)(
    "gives nix2container's digest for a moved store path with permission rules",
    async () => {
      const graft = vector.graft as NonNullable<typeof vector.graft>;
      const store = makeStore(vector.storePaths);
      try {
        const permissions = graft.perms.map((rule) => ({
          regex: rule.regex,
          ...(rule.mode ? { mode: Number.parseInt(rule.mode, 8) } : {}),
          uid: rule.uid ?? 0,
          gid: rule.gid ?? 0,
          ...(rule.uname ? { uname: rule.uname } : {}),
          ...(rule.gname ? { gname: rule.gname } : {}),
        }));
        const rewrite = { regex: graft.rewrite.regex, replacement: graft.rewrite.repl };
        const { digest, size } = await layer(
          store.root,
          [{ storePath: graft.path, rewrite, permissions }],
          "nix2container",
        );
        expect({ digest, size }).toEqual(graft.nix2container);
      } finally {
        store.remove();
      }
    },
  );
});
