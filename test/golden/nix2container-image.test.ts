import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildPlannedImage } from "../../src/build/build.js";
import { planNix2containerImage } from "../../src/build/nix2container/image.js";
import { isJsonObject, toJson } from "../../src/core/json.js";
import { openOciLayoutTarget } from "../../src/transport/oci-layout.js";
import { makeStore, readVectors, type TreeVectorEntry } from "../support/vectors.js";

interface Made {
  readonly digest: string;
  readonly size: number;
}

interface TreeVector {
  readonly storePaths: Readonly<Record<string, readonly TreeVectorEntry[]>>;
  readonly layers: readonly (readonly string[])[];
  readonly nix2container: readonly Made[];
  readonly graft?: {
    readonly path: string;
    readonly rewrite: unknown;
    readonly perms: readonly Readonly<Record<string, unknown>>[];
    readonly nix2container: Made;
  };
}

const vectors = readVectors<TreeVector>("trees.json");

function layer({ digest, size }: Made, paths: readonly unknown[]): unknown {
  return { digest, size, diff_ids: digest, paths, mediatype: "application/vnd.oci.image.layer.v1.tar", History: {} };
}

/** The image file of a vector: its layers as nix2container made them, the moved store path last. */
function imageOf({ layers, nix2container, graft }: TreeVector): unknown {
  const plain = layers.map((paths, i) =>
    layer(
      nix2container[i] as Made,
      paths.map((path) => ({ path })),
    ),
  );
  if (graft === undefined) return { version: 1, "image-config": {}, layers: plain, arch: "amd64" };
  const perms = graft.perms.map(({ path: _, ...perm }) => perm);
  const moved = layer(graft.nix2container, [{ path: graft.path, options: { rewrite: graft.rewrite, perms } }]);
  return { version: 1, "image-config": {}, layers: [...plain, moved], arch: "amd64" };
}

describe("nix2container's image files", () => {
  it.each(vectors.map((vector, index) => ({ vector, index })))(
    "keep every diff_id in an OCI layout: tree vector $index",
    async ({ vector }) => {
      const store = makeStore(vector.storePaths);
      try {
        const image = toJson(imageOf(vector));
        if (!isJsonObject(image)) throw new Error("an image file is an object");
        const directory = join(store.root, "layout");
        const plan = await planNix2containerImage(image, { source: "image.json", storeRoot: store.root });
        const { layers, imageId } = await buildPlannedImage(plan, [openOciLayoutTarget(directory, undefined)], {
          threads: 0,
        });
        const made = [...vector.nix2container, ...(vector.graft === undefined ? [] : [vector.graft.nix2container])];
        expect(layers.map(({ diffId, size }) => ({ digest: diffId, size }))).toEqual(made);
        const config = JSON.parse(readFileSync(join(directory, "blobs/sha256", imageId.slice(7)), "utf8"));
        expect(config.rootfs.diff_ids).toEqual(made.map(({ digest }) => digest));
      } finally {
        store.remove();
      }
    },
  );
});
