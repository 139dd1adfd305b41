import { afterEach, describe, expect, it } from "vitest";
import { layersOf } from "../../support/layers.js";
import { makeTreeStore, type Tree } from "../../support/trees.js";
import type { TreeVectorEntry } from "../../support/vectors.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const A = path("a", "a");
const B = path("b", "b");
const C = path("c", "c");
/** Every character that means something in a regex and may be in a store path's name. */
const GTK = path("d", "gtk+-3.0_1?=x");

let remove: (() => void) | undefined;
afterEach(() => {
  remove?.();
  remove = undefined;
});

/** A store and a graph of it; references by path. */
function closureOf(
  trees: Readonly<Record<string, Tree | readonly TreeVectorEntry[]>>,
  references: Readonly<Record<string, readonly string[]>> = {},
): { readonly graph: string; readonly storeRoot: string } {
  const store = makeTreeStore(trees, references);
  remove = store.remove;
  return store.closure;
}

describe("copyToRoot", () => {
  it("moves what store paths hold to the root, and ships what they refer to", async () => {
    const closure = closureOf(
      { [A]: { "bin/": "", "bin/x": { to: `${B}/bin/x` } }, [B]: { "bin/": "", "bin/x": "#!" } },
      { [A]: [B] },
    );
    expect(await layersOf({ closure, copyToRoot: [A] })).toEqual([
      [
        "d 0755 0:0 nix/",
        "d 0755 0:0 nix/store/",
        `d 0555 0:0 ${B.slice(1)}/`,
        `d 0555 0:0 ${B.slice(1)}/bin/`,
        `- 0444 0:0 ${B.slice(1)}/bin/x = #!`,
      ],
      ["d 0555 0:0 bin/", `l bin/x -> ${B}/bin/x`],
    ]);
  });

  it("takes names with characters that mean something in a regex (gtk+-3 was not relocated)", async () => {
    const closure = closureOf({ [GTK]: { "share/": "" } });
    expect(await layersOf({ closure, copyToRoot: [GTK] })).toEqual([["d 0555 0:0 share/"]]);
  });

  it("keeps a store path at its own place, too, where something else refers to it or it is a root", async () => {
    const closure = closureOf({ [A]: { a: "1" }, [B]: { b: "2" } }, { [B]: [A] });
    const [first] = await layersOf({ closure, copyToRoot: [A], maxLayers: 2 });
    expect(first).toContain(`- 0444 0:0 ${A.slice(1)}/a = 1`);
    const alone = closureOf({ [A]: { a: "1" } });
    expect(await layersOf({ closure: { ...alone, roots: [A] }, copyToRoot: [A] })).toHaveLength(2);
    expect(await layersOf({ closure: alone, copyToRoot: [A] })).toHaveLength(1);
  });

  it.each([
    ["a file", [{ path: "", type: "file", text: "x", mode: 0o444 } as const]],
    ["a symlink", [{ path: "", type: "symlink", target: "x" } as const]],
  ])("refuses a store path that is %s, with the reason", async (_, entries) => {
    const closure = closureOf({ [A]: entries });
    await expect(layersOf({ closure, copyToRoot: [A] })).rejects.toThrow(
      /-a is a (file|symlink): only a directory can become the root of the image/,
    );
  });

  it("puts everything into one layer where one is all there may be", async () => {
    const closure = closureOf({ [A]: { "etc/": "", "etc/a": "1" }, [B]: { b: "2" } }, { [A]: [B] });
    expect(await layersOf({ closure, copyToRoot: [A], maxLayers: 1 })).toEqual([
      [
        "d 0555 0:0 etc/",
        "- 0444 0:0 etc/a = 1",
        "d 0755 0:0 nix/",
        "d 0755 0:0 nix/store/",
        `d 0555 0:0 ${B.slice(1)}/`,
        `- 0444 0:0 ${B.slice(1)}/b = 2`,
      ],
    ]);
  });
});

describe("two sources of one place", () => {
  const both = (a: Tree, b: Tree, others: object = {}) => {
    const closure = closureOf({ [A]: a, [B]: b });
    return layersOf({ closure, copyToRoot: [A, B], ...others });
  };
  const apart = (a: Tree, b: Tree, others: object = {}) => {
    const closure = closureOf({ [A]: a, [B]: b });
    return layersOf({ closure, layers: [{ copyToRoot: [A] }, { copyToRoot: [B] }], ...others });
  };

  it("may be directories, also of other modes: the first stands", async () => {
    const [a, b]: Tree[] = [
      { "etc/": ["", 0o755], "etc/a": "1" },
      { "etc/": "", "etc/b": "2" },
    ];
    expect(await both(a as Tree, b as Tree)).toEqual([
      ["d 0755 0:0 etc/", "- 0444 0:0 etc/a = 1", "- 0444 0:0 etc/b = 2"],
    ]);
    expect(await apart(a as Tree, b as Tree)).toEqual([
      ["d 0755 0:0 etc/", "- 0444 0:0 etc/a = 1"],
      ["d 0755 0:0 etc/", "- 0444 0:0 etc/b = 2"],
    ]);
  });

  it.each([A, B])("may be directories of which a rule speaks: it wins, in all layers (%s)", async (ruled) => {
    const perms = [{ path: ruled, regex: "/tmp$", mode: "1777", uid: 7, gid: 8 }];
    const trees: [Tree, Tree] = [
      { "tmp/": "", "tmp/a": "1" },
      { "tmp/": "", "tmp/b": "2" },
    ];
    expect(await both(...trees, { perms })).toEqual([
      ["d 1777 7:8 tmp/", "- 0444 0:0 tmp/a = 1", "- 0444 0:0 tmp/b = 2"],
    ]);
    remove?.();
    const layers = [A, B].map((path) => ({ copyToRoot: [path], perms: path === ruled ? perms : [] }));
    expect(await apart(...trees, { layers })).toEqual([
      ["d 1777 7:8 tmp/", "- 0444 0:0 tmp/a = 1"],
      ["d 1777 7:8 tmp/", "- 0444 0:0 tmp/b = 2"],
    ]);
  });

  it("may be equal files or symlinks", async () => {
    const tree: Tree = { "a/": "", "a/x": "same", l: { to: "a" } };
    const lines = ["d 0555 0:0 a/", "- 0444 0:0 a/x = same", "l l -> a"];
    expect(await both(tree, tree)).toEqual([lines]);
    remove?.();
    expect(await apart(tree, tree)).toEqual([lines, lines]);
  });

  it.each<readonly [string, Tree, Tree, RegExp]>([
    ["files that differ", { x: "1" }, { x: "2" }, /^\/x comes from both .*-a\/x and .*-b\/x, with different contents$/],
    [
      "files of the same size that differ late",
      { x: `${"z".repeat(70000)}1` },
      { x: `${"z".repeat(70000)}2` },
      /with different contents/,
    ],
    ["symlinks that differ", { x: { to: "1" } }, { x: { to: "2" } }, /with different targets \(1 and 2\)$/],
    ["a file and a directory", { x: "1" }, { "x/": "" }, /as a file and as a directory$/],
    [
      "a symlink and a directory with something in it",
      { x: { to: "y" } },
      { "x/": "", "x/z": "" },
      /as a symlink and as a directory/,
    ],
    ["equal files of other modes", { x: "1" }, { x: ["1", 0o555] }, /as 0444 0:0 and from .* as 0555 0:0$/],
  ])("is an error naming both: %s", async (_, a, b, message) => {
    await expect(both(a, b)).rejects.toThrow(message);
    remove?.();
    await expect(apart(a, b)).rejects.toThrow(message);
    remove?.();
    await expect(apart(b, a)).rejects.toThrow();
  });

  it("is an error where rules contradict each other", async () => {
    const perms = [A, B].map((path, i) => ({ path, regex: "/etc$", mode: `075${i}` }));
    await expect(both({ "etc/": "" }, { "etc/": "" }, { perms })).rejects.toThrow(
      /^\/etc comes from .*-a\/etc as 0750 0:0 and from .*-b\/etc as 0751 0:0$/,
    );
  });

  it("is an error where a store path that is shipped would get another file", async () => {
    const graft = (tree: Tree) => {
      const closure = closureOf({
        [A]: { "nix/": "", "nix/store/": "", [`${B.slice(1)}/`]: "", ...tree },
        [B]: { b: "2", l: { to: "b" } },
      });
      return layersOf({ closure: { ...closure, roots: [B] }, copyToRoot: [A] });
    };
    await expect(graft({ [`${B.slice(1)}/b`]: "other" })).rejects.toThrow(
      /in the store path .*-b, which the image holds itself/,
    );
    await expect(graft({ [`${B.slice(1)}/new`]: "2" })).rejects.toThrow("which the image holds itself");
    await expect(graft({ [`${B.slice(1)}/l`]: { to: "c" } })).rejects.toThrow("which the image holds itself");
    await expect(graft({ [`${B.slice(1)}/b`]: "2", [`${B.slice(1)}/l`]: { to: "b" } })).resolves.toHaveLength(2);
  });
});

describe("permission rules", () => {
  it("apply in their order to all that they match, at its source path", async () => {
    const closure = closureOf({ [A]: { "bin/": "", "bin/a": "1", "bin/b": "2", l: { to: "x" } } });
    const perms = [
      { path: A, regex: "/bin/", mode: "0750", uid: 1, gid: 2, uname: "u", gname: "g" },
      { path: A, regex: "a$", uid: 3 },
      { path: A, regex: "/l$", uid: 5, gid: 6 },
    ];
    expect(await layersOf({ closure, perms })).toEqual([
      [
        "d 0755 0:0 nix/",
        "d 0755 0:0 nix/store/",
        // Rules without ids set them to 0, as nix2container's do; the regex also matches the store path itself.
        `d 0555 3:0 ${A.slice(1)}/`,
        `d 0555 0:0 ${A.slice(1)}/bin/`,
        `- 0750 3(u):0(g) ${A.slice(1)}/bin/a = 1`,
        `- 0750 1(u):2(g) ${A.slice(1)}/bin/b = 2`,
        `l 5:6 ${A.slice(1)}/l -> x`,
      ],
    ]);
  });

  it("hold for directories above the store, whichever layer has them", async () => {
    const closure = closureOf({ [A]: { "nix/": "", "nix/store/": "" }, [B]: { b: "2" } });
    const perms = [{ path: A, regex: "/nix/store$", mode: "0755", uid: 1000, gid: 100 }];
    const layers = await layersOf({ closure: { ...closure, roots: [B] }, copyToRoot: [A], perms });
    expect(layers).toEqual([
      ["d 0555 0:0 nix/", "d 0755 1000:100 nix/store/", `d 0555 0:0 ${B.slice(1)}/`, `- 0444 0:0 ${B.slice(1)}/b = 2`],
      ["d 0555 0:0 nix/", "d 0755 1000:100 nix/store/"],
    ]);
  });

  it("are refused for what an earlier layer holds without them: it would be shipped twice", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const perms = [{ path: A, regex: "a$", mode: "0400" }];
    await expect(layersOf({ closure, layers: [{ deps: [A] }], perms })).rejects.toThrow(
      /^perms: .*-a is in an earlier layer already, without this rule$/,
    );
    const layers = [{ deps: [A], perms }];
    expect(await layersOf({ closure, layers })).toHaveLength(1);
    expect(await layersOf({ closure, layers, perms })).toHaveLength(1);
  });

  it.each([
    ["a path outside the closure", { path: C, regex: "x" }, /layers\[0\]: perms: .*-c is not in the closure/],
    ["no regex", { path: A, regex: "(" }, /layers\[0\]: perms\[0\]: regex: "\(" is not an RE2 regular expression/],
    [
      "a decimal mode",
      { path: A, regex: "", mode: 755 },
      /layers\[0\]: perms\[0\]: mode must be octal digits in a string/,
    ],
    ["a mode of letters", { path: A, regex: "", mode: "u+x" }, /layers\[0\]: perms\[0\]: mode must be octal digits/],
    ["an unknown key", { path: A, regex: "", user: 1 }, /layers\[0\]: perms\[0\]: unknown key "user"/],
    ["a path that its layer does not hold", { path: B, regex: "x" }, /perms: .*-b is not in/],
    ["no path", { regex: "" }, /layers\[0\]: perms\[0\] must be an object with "path" and "regex"/],
  ])("are refused with %s", async (_, rule, message) => {
    const closure = closureOf({ [A]: {}, [B]: {} });
    await expect(layersOf({ closure, layers: [{ deps: [A], perms: [rule] }] })).rejects.toThrow(message);
  });
});

describe("explicit layers", () => {
  const trees = { [A]: { a: "1" }, [B]: { b: "2" }, [C]: { c: "3" } };
  const names = async (spec: object) =>
    (await layersOf(spec)).map((lines) => lines.flatMap((line) => /^- .*-([a-z])\//.exec(line)?.[1] ?? []).join(""));

  it("come first, each without what those before it hold, grand-parents included", async () => {
    const closure = closureOf(trees, { [C]: [B], [B]: [A] });
    expect(await names({ closure, layers: [{ deps: [A] }, { deps: [B] }] })).toEqual(["a", "b", "c"]);
    expect(await names({ closure, layers: [{ deps: [A] }, { deps: [A] }, { deps: [C], maxLayers: 2 }] })).toEqual([
      "a",
      "b",
      "c",
    ]);
    expect(await names({ closure, layers: [{ deps: [C] }] })).toEqual(["abc"]);
  });

  it("leave out what they exclude, and the image's others have it", async () => {
    const closure = closureOf(trees, { [C]: [B], [B]: [A] });
    expect(await names({ closure, layers: [{ deps: [B], exclude: [A] }], maxLayers: 2 })).toEqual(["b", "ac"]);
    expect(await names({ closure, layers: [{ deps: [B] }], exclude: [A], maxLayers: 2 })).toEqual(["b", "c"]);
  });

  it("need no roots beside them", async () => {
    const { graph, storeRoot } = closureOf(trees, { [C]: [B], [B]: [A] });
    expect(await names({ closure: { graph, storeRoot, roots: [] }, layers: [{ deps: [B] }] })).toEqual(["ab"]);
  });

  it("count towards the layers of the image", async () => {
    const closure = closureOf(trees, { [C]: [B], [B]: [A] });
    const layers = [{ deps: [A] }, { deps: [B] }];
    expect(await names({ closure, layers, maxLayers: 3 })).toEqual(["a", "b", "c"]);
    await expect(layersOf({ closure, layers, maxLayers: 2 })).rejects.toThrow(
      "of 2 layers, 2 are taken already: none is left for the rest",
    );
  });

  it.each([
    [{ deps: [] }, /layers\[0\] must be an object with store paths in "deps" or "copyToRoot"/],
    [{ dep: [A] }, /layers\[0\]: unknown key "dep"/],
    [{ deps: [path("f", "f")] }, /layers\[0\]: deps: .*-f is not in the closure/],
    [{ deps: ["/nix/store/x"] }, /layers\[0\]: deps: "\/nix\/store\/x" is not a store path/],
    [{ deps: [A], exclude: [B] }, /layers\[0\]: exclude: .*-b would not be in layer 1 of the spec anyway/],
    [{ deps: [A], strategy: "popular" }, /layers\[0\]: unknown layer strategy/],
    [{ deps: [A], maxLayers: 0 }, /layers\[0\]: maxLayers must be a whole number from 1 to 125; found 0$/],
  ])("are refused: %j", async (layer, message) => {
    const closure = closureOf(trees);
    await expect(layersOf({ closure, layers: [layer] })).rejects.toThrow(message);
  });
});
