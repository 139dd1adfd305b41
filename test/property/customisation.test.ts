import { posix } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layersOf } from "../support/layers.js";
import { makeTreeStore, type Tree } from "../support/trees.js";

const DIGITS = "0123456789";
const pathOf = (i: number) => `/nix/store/${(DIGITS[i] as string).repeat(32)}-p${i}`;

/** Few names, so that store paths often want the same place. */
const name = fc.constantFrom("a", "b", "c", "d~", "é");
const places = fc.array(name, { minLength: 1, maxLength: 3 });

/** Trees whose symlinks lead into their own store path, or one of a lower number. */
const trees = fc.array(
  fc.array(
    fc.record({
      place: places,
      kind: fc.constantFrom("file", "file", "directory", "link"),
      text: fc.constantFrom("1", "1", "2"),
      into: fc.nat({ max: 9 }),
      target: places,
      relative: fc.boolean(),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  { minLength: 2, maxLength: 4 },
);

type Entry = (typeof trees)["generate"] extends (...args: never[]) => { readonly value: readonly (infer T)[] }
  ? T extends readonly (infer E)[]
    ? E
    : never
  : never;

/** What of it can be in one tree. */
function treeOf(entries: readonly Entry[], number: number): Tree {
  const tree: Record<string, string | { to: string }> = {};
  const isThere = (place: string) => place in tree || `${place}/` in tree;
  for (const { place, kind, text, into, target, relative } of entries) {
    const parents = place.slice(0, -1).map((_, i) => place.slice(0, i + 1).join("/"));
    const whole = place.join("/");
    if (parents.some((parent) => parent in tree) || isThere(whole)) continue;
    for (const parent of parents) tree[`${parent}/`] = "";
    const up = "../".repeat(place.length - 1);
    if (kind === "directory") tree[`${whole}/`] = "";
    else if (kind === "file") tree[whole] = text;
    else tree[whole] = { to: relative ? up + target.join("/") : `${pathOf(into % (number + 1))}/${target.join("/")}` };
  }
  return tree;
}

/** An image's files by path. */
type Image = ReadonlyMap<string, { readonly link: string } | { readonly text: string } | "directory">;

function imageOf(layers: readonly (readonly string[])[]): Image {
  const image = new Map<string, { link: string } | { text: string } | "directory">([["/", "directory"]]);
  for (const line of layers.flat()) {
    const [, directory] = /^d \d+ 0:0 (.*)\/$/.exec(line) ?? [];
    const [, from, link] = /^l (.*) -> (.*)$/.exec(line) ?? [];
    const [, file, text] = /^- \d+ 0:0 (.*) = (.*)$/s.exec(line) ?? [];
    if (directory !== undefined) image.set(`/${directory}`, "directory");
    else if (from !== undefined) image.set(`/${from}`, { link: link as string });
    else image.set(`/${file}`, { text: text as string });
  }
  return image;
}

/** What a path leads to: `directory`, a file's text, or undefined. */
function follow(image: Image, path: string, links = 0): string | undefined {
  let at = "/";
  const names = path.split("/").filter(Boolean);
  for (const [i, name] of names.entries()) {
    if (image.get(at) !== "directory") return undefined;
    at = posix.join(at, name);
    const found = image.get(at);
    if (found === undefined) return undefined;
    if (typeof found === "object" && "link" in found) {
      if (links > 40) return undefined;
      const target = found.link.startsWith("/") ? found.link : `${posix.dirname(at)}/${found.link}`;
      // Not normalised: `..` goes up from where a link has led.
      return follow(image, [target, ...names.slice(i + 1)].join("/"), links + 1);
    }
  }
  const found = image.get(at);
  return typeof found === "object" && "text" in found ? `text ${found.text}` : (found as string | undefined);
}

describe("contents joined by symlinks", () => {
  it("are the same in any order, and have all that the store paths have, leading to the same", async () => {
    let made = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        trees.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray([...all.keys()], { minLength: all.length })),
        ),
        async ([all, order]) => {
          const given = all.map(treeOf);
          const store = makeTreeStore(
            Object.fromEntries(given.map((tree, i) => [pathOf(i), tree])),
            Object.fromEntries(given.map((_, i) => [pathOf(i), [...Array(i).keys()].map(pathOf)])),
          );
          try {
            const make = (contents: readonly string[]) =>
              layersOf({ closure: store.closure, contents }).catch((error: Error) => error);
            const layers = await make([...given.keys()].map(pathOf));
            const shuffled = await make(order.map(pathOf));
            if (layers instanceof Error || shuffled instanceof Error) {
              expect(String(shuffled)).toBe(String(layers));
              expect(String(layers)).toMatch(/ comes from both /);
              refused++;
              return;
            }
            made++;
            expect(shuffled).toEqual(layers);
            const image = imageOf(layers);
            for (const [i, tree] of given.entries()) {
              for (const place of Object.keys(tree)) {
                const path = `/${place.replace(/\/$/, "")}`;
                expect(image.has(path), path).toBe(true);
                const there = follow(image, pathOf(i) + path);
                // A relative one that leads nowhere there may lead to what another store path brings along.
                if (there !== undefined) expect(follow(image, path), path).toBe(there);
              }
            }
          } finally {
            store.remove();
          }
        },
      ),
      { numRuns: 200 },
    );
    expect(made).toBeGreaterThan(40);
    expect(refused).toBeGreaterThan(20);
  });
});
