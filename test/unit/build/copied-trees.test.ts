import { afterEach, describe, expect, it } from "vitest";
import { planImage } from "../../../src/build/plan/plan-image.js";
import { checkSpec } from "../../../src/build/spec/spec.js";
import { toJson } from "../../../src/core/json.js";
import { layersOf } from "../../support/layers.js";
import { makeTreeStore, type Tree } from "../../support/trees.js";
import type { TreeVectorEntry } from "../../support/vectors.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const A = path("a", "a");
const B = path("b", "b");

let remove: (() => void) | undefined;
afterEach(() => {
  remove?.();
  remove = undefined;
});

function closureOf(
  trees: Readonly<Record<string, Tree | readonly TreeVectorEntry[]>>,
  references: Readonly<Record<string, readonly string[]>> = {},
) {
  const store = makeTreeStore(trees, references);
  remove = store.remove;
  return store.closure;
}

const top = async (spec: object) => (await layersOf(spec)).at(-1);

const LIB: Tree = { "lib/": "", "lib/x": "1", lib64: { to: "lib" }, "lib/y": { to: "x" } };

describe("copyToRoot with keepContentsDirlinks", () => {
  it("false: copies the directories that symlinks lead to, also of other store paths, and keeps other symlinks", async () => {
    const closure = closureOf(
      { [A]: { ...LIB, share: { to: `${B}/share` }, nowhere: { to: "/none" } }, [B]: { "share/": "", "share/b": "2" } },
      { [A]: [B] },
    );
    expect(await top({ closure, copyToRoot: [A], keepContentsDirlinks: false })).toEqual([
      "d 0555 0:0 lib/",
      "- 0444 0:0 lib/x = 1",
      "l lib/y -> x",
      "d 0555 0:0 lib64/",
      "- 0444 0:0 lib64/x = 1",
      "l lib64/y -> x",
      "l nowhere -> /none",
      "d 0555 0:0 share/",
      "- 0444 0:0 share/b = 2",
    ]);
  });

  it("true: keeps them, and directories of later store paths go into what they lead to", async () => {
    const closure = closureOf({
      [A]: { ...LIB, "a/": "", up: { to: "a" }, "a/l": { to: "../lib64" } },
      [B]: { "lib64/": "", "lib64/b": "2", "up/": "", "up/l/": "", "up/l/c": "3" },
    });
    expect(await top({ closure, copyToRoot: [A, B], keepContentsDirlinks: true })).toEqual([
      "d 0555 0:0 a/",
      "l a/l -> ../lib64",
      "d 0555 0:0 lib/",
      "- 0444 0:0 lib/b = 2",
      "- 0444 0:0 lib/c = 3",
      "- 0444 0:0 lib/x = 1",
      "l lib/y -> x",
      "l lib64 -> lib",
      "l up -> a",
    ]);
    const other = { closure, copyToRoot: [B, A], keepContentsDirlinks: true };
    await expect(layersOf(other)).rejects.toThrow("/lib64 comes from both");
  });

  it("is without it as nix2container has it: symlinks stay, and nothing goes through them", async () => {
    const closure = closureOf({ [A]: LIB, [B]: { "lib64/": "" } });
    expect(await top({ closure, copyToRoot: [A] })).toContain("l lib64 -> lib");
    await expect(layersOf({ closure, copyToRoot: [A, B] })).rejects.toThrow("/lib64 comes from");
  });

  it.each([false, true])("%s: equal files coincide, others are an error that names both", async (kept) => {
    const closure = closureOf({ [A]: { x: "1" }, [B]: { x: "1" } });
    expect(await top({ closure, copyToRoot: [A, B], keepContentsDirlinks: kept })).toEqual(["- 0444 0:0 x = 1"]);
    remove?.();
    for (const different of ["2", ["1", 0o555] as const]) {
      const differing = closureOf({ [A]: { x: "1" }, [B]: { x: different } });
      const spec = { closure: differing, copyToRoot: [A, B], keepContentsDirlinks: kept };
      await expect(layersOf(spec)).rejects.toThrow(`/x comes from both ${A} (a file`);
      remove?.();
    }
  });

  it("refuses a symlink to a directory that it is in, which has no end", async () => {
    const spec = {
      closure: closureOf({ [A]: { "d/": "", "d/e/": "", "d/e/loop": { to: "../.." } } }),
      copyToRoot: [A],
    };
    await expect(layersOf({ ...spec, keepContentsDirlinks: false })).rejects.toMatchObject({
      code: "unsupported",
      message: `copyToRoot: ${A}/d/e/loop leads to ${A}, which it is in: to copy it would have no end`,
    });
    expect(await top({ ...spec, keepContentsDirlinks: true })).toContain("l d/e/loop -> ../..");
    remove?.();
    const two = closureOf({ [A]: { "d/": "", "d/l": { to: "../e" }, "e/": "", "e/l": { to: "../d" } } });
    const looping = { closure: two, copyToRoot: [A], keepContentsDirlinks: false };
    await expect(layersOf(looping)).rejects.toMatchObject({ code: "unsupported" });
  });

  it("ends where symlinks to directories multiply without end in sight", { timeout: 120_000 }, async () => {
    const names = Array.from({ length: 25 }, (_, i) => `d${i}`);
    const tree = Object.fromEntries(
      names.flatMap((name, i) => [
        [`${name}/`, ""],
        ...["x", "y"].map((link) => [`${name}/${link}`, { to: `../${names[i + 1] ?? "none"}` }]),
      ]),
    );
    const spec = { closure: closureOf({ [A]: tree as Tree }), copyToRoot: [A], keepContentsDirlinks: false };
    await expect(layersOf(spec)).rejects.toMatchObject({ code: "limit" });
  });

  it("ships a store path itself, too, where it refers to itself, and refuses links to what is excluded", async () => {
    const tree: Tree = { "bin/": "", "bin/x": "1", "bin/y": { to: `${A}/bin/x` }, b: { to: `${B}/b` } };
    const closure = closureOf({ [A]: tree, [B]: { b: "2" } }, { [A]: [A, B] });
    const spec = { closure, copyToRoot: [A], keepContentsDirlinks: false };
    const lines = (await layersOf(spec)).flat();
    expect(lines).toEqual(expect.arrayContaining([`- 0444 0:0 ${A.slice(1)}/bin/x = 1`, "- 0444 0:0 bin/x = 1"]));
    expect(lines).toContain(`- 0444 0:0 ${B.slice(1)}/b = 2`);
    await expect(layersOf({ ...spec, exclude: [B] })).rejects.toThrow(
      `${A}/b leads to ${B}, which is not in the image`,
    );
  });

  it("refuses permission rules for what is copied, and what is no directory", async () => {
    const spec = { copyToRoot: [A], keepContentsDirlinks: false };
    const closure = closureOf({ [A]: { x: "1" } });
    const perms = [{ path: A, regex: "", mode: "0777" }];
    await expect(layersOf({ ...spec, closure, perms })).rejects.toMatchObject({ code: "unsupported" });
    remove?.();
    const file = closureOf({ [A]: [{ path: "", type: "file", text: "x", mode: 0o444 }] });
    await expect(layersOf({ ...spec, closure: file })).rejects.toThrow(`copyToRoot: ${A} is a file`);
  });

  it("joins with contents and files, whose directories decide modes", async () => {
    const closure = closureOf({ [A]: { "etc/": "", "etc/a": "1" }, [B]: { "etc/": "", "etc/b": "2" } });
    const files = [{ target: "/etc", directory: true, mode: "0700" }];
    expect(await top({ closure, copyToRoot: [A], keepContentsDirlinks: true, contents: [B], files })).toEqual([
      "d 0700 0:0 etc/",
      "- 0444 0:0 etc/a = 1",
      `l etc/b -> ${B}/etc/b`,
    ]);
  });

  it("has no key for the cache where what is copied may change", async () => {
    const closure = closureOf({ [A]: { x: "1" } });
    const spec = checkSpec(toJson({ closure, copyToRoot: [A], keepContentsDirlinks: false }), "the spec");
    const [layer] = (await planImage(spec)).layers;
    expect(layer).toMatchObject({ kind: "store", plan: { copied: [A] }, key: undefined });
  });
});
