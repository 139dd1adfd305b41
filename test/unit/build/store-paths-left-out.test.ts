import { afterEach, describe, expect, it } from "vitest";
import { checkSpec } from "../../../src/build/spec/spec.js";
import { toJson } from "../../../src/core/json.js";
import { layersOf } from "../../support/layers.js";
import { makeTreeStore, type Tree } from "../../support/trees.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const A = path("a", "a");
const B = path("b", "b");
const BASH = path("d", "bash-5.2p37");

let remove: (() => void) | undefined;
afterEach(() => {
  remove?.();
  remove = undefined;
});

function closureOf(
  trees: Readonly<Record<string, Tree>>,
  references: Readonly<Record<string, readonly string[]>> = {},
) {
  const store = makeTreeStore(trees, references);
  remove = store.remove;
  return store.closure;
}

const TREES = {
  [A]: { a: "1" },
  [B]: { "etc/": "", "etc/b": { to: `${A}/a` } },
  [BASH]: { "bin/": "", "bin/bash": ["#!", 0o555] },
} as const;

describe("an image without store paths", () => {
  it("holds what goes to the root, whose links lead to the store that is mounted", async () => {
    const spec = {
      closure: closureOf(TREES, { [B]: [A] }),
      includeStorePaths: false,
      contents: [A],
      files: [{ target: "/etc/link", link: `${A}/a` }],
      helpers: ["binSh"],
      copyToRoot: [B],
    };
    const copied = ["d 0555 0:0 etc/", `l etc/b -> ${A}/a`];
    const made = [`l a -> ${A}/a`, "d 0755 0:0 bin/", `l bin/sh -> ${BASH}/bin/bash`, "d 0555 0:0 etc/"];
    expect(await layersOf(spec)).toEqual([copied, [...made, `l etc/link -> ${A}/a`]]);
    const [only, ...others] = await layersOf({ ...spec, oneLayer: true });
    expect(others).toEqual([]);
    expect(only).toEqual([...made, `l etc/b -> ${A}/a`, `l etc/link -> ${A}/a`]);
  });

  it("has an empty layer where it would have none, as there is no image without any", async () => {
    const spec = { closure: closureOf(TREES), includeStorePaths: false };
    expect(await layersOf(spec)).toEqual([[]]);
    expect(await layersOf({ ...spec, oneLayer: true })).toEqual([[]]);
    expect(await layersOf({ ...spec, copyToRoot: [B] })).toHaveLength(1);
    await expect(layersOf({ ...spec, copyToRoot: [B], exclude: [B] })).rejects.toThrow("no layer is left");
  });

  it("still refuses links to what is excluded, and permissions of what is not in it", async () => {
    const spec = { closure: closureOf(TREES), includeStorePaths: false };
    await expect(layersOf({ ...spec, contents: [A], exclude: [A] })).rejects.toThrow(`${A} is not in the image`);
    const perms = [{ path: A, regex: "", mode: "0755" }];
    await expect(layersOf({ ...spec, perms })).rejects.toThrow(`perms: ${A} is not in`);
  });

  it.each([
    ["nixDatabase", {}, "no Nix database, which registers those in the image"],
    ["layers", [{ copyToRoot: [B] }, { deps: [A] }], "no layers[1]: deps"],
  ])("is refused together with %s", (key, value, message) => {
    const spec = { closure: { roots: [A] }, includeStorePaths: false, [key]: value };
    expect(() => checkSpec(toJson(spec), "the spec")).toThrow(message);
    expect(() => checkSpec(toJson({ ...spec, includeStorePaths: true }), "the spec")).not.toThrow();
  });
});
