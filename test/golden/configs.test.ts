import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseDigest, sha256 } from "../../src/core/digest.js";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../../src/core/json.js";
import { goTimestamp, parseTimestamp } from "../../src/core/timestamp.js";
import { checkGoContainerConfig } from "../../src/oci/container-config.js";
import { formatDockertoolsConfig, formatNix2containerConfig, inheritEnv } from "../../src/oci/image.js";
import { parseHistory } from "../../src/transport/nix2container.js";

// Not JSON.parse: the order of keys such as "443" counts.
const file = new URL("../../testdata/vectors/configs.json", import.meta.url);
const vectors = parseJson(readFileSync(file, "utf8"), "configs.json") as readonly JsonObject[];

function object(vector: JsonObject, key: string): JsonObject {
  const value = vector.get(key);
  if (!isJsonObject(value)) throw new Error(`${key} is no object`);
  return value;
}

describe.each(vectors.map((vector, index) => ({ vector, index })))("config vector $index", ({ vector }) => {
  it("gives the config bytes of nixpkgs' program", () => {
    const layer = object(vector, "customisationLayer");
    const base = vector.get("baseConfig") as Json;
    const config = base === null ? object(vector, "config") : inheritEnv(base, object(vector, "config"));
    const text = formatDockertoolsConfig(
      {
        architecture: vector.get("architecture") as string,
        created: parseTimestamp(vector.get("created") as string, "created"),
        config,
      },
      [{ diffId: parseDigest(`sha256:${layer.get("sha256")}`, "layer"), paths: [layer.get("path") as string] }],
    );
    const expected = object(vector, "dockertools");
    expect(text).toBe(expected.get("config"));
    expect(`${sha256(text).slice(7)}.json`).toBe(expected.get("file"));
  });

  it("gives the config bytes of nix2container's transport", () => {
    const expected = object(vector, "nix2container");
    const created = (expected.get("created") ?? "0001-01-01T00:00:00Z") as string;
    const text = formatNix2containerConfig(
      {
        architecture: vector.get("architecture") as string,
        created: goTimestamp(created, "created"),
        config: checkGoContainerConfig(object(vector, "config"), "config"),
      },
      [
        {
          diffId: parseDigest(expected.get("layerDiffId"), "layerDiffId"),
          history: parseHistory(object(expected, "history"), "history"),
        },
      ],
    );
    expect(text).toBe(expected.get("config"));
  });
});
