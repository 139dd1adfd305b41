import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  buildPlannedImage,
  checkSpec,
  digestLayers,
  openTarget,
  parseTransport,
  planAllLayers,
  planImage,
  readSpecBase,
  readSpecClosure,
  streamPlannedImage,
  toJson,
} from "../../../dist/index.js";
import { layersOf } from "../../support/layers.js";
import { makeTreeStore, type Tree } from "../../support/trees.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const A = path("a", "a");
const B = path("b", "b");
const C = path("c", "c");

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function closureOf(
  trees: Readonly<Record<string, Tree>>,
  references: Readonly<Record<string, readonly string[]>> = {},
) {
  const store = makeTreeStore(trees, references);
  cleanups.push(store.remove);
  return store.closure;
}

/** Builds an image into a layout, to be a base. */
async function baseOf(spec: object): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-one-layer-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const place = `oci:${join(directory, "base")}:1`;
  const plan = await planImage(checkSpec(toJson(spec), "the spec"));
  await buildPlannedImage(plan, [await openTarget(parseTransport(place))]);
  return place;
}

describe("oneLayer", () => {
  it("puts store paths, copyToRoot, files and helpers into one layer, in the order of their names", async () => {
    const closure = closureOf(
      { [A]: { a: "1" }, [B]: { "etc/": "", "etc/b": { to: `${A}/a` } }, [C]: { "bin/": "", "bin/c": "2" } },
      { [B]: [A] },
    );
    const spec = {
      closure: { ...closure, roots: [A] },
      oneLayer: true,
      copyToRoot: [B],
      contents: [C],
      files: [{ target: "/etc/own", text: "own", uid: 7 }],
      perms: [{ path: B, regex: "/etc/b$", uid: 5, uname: "root", gname: "root" }],
    };
    expect(await layersOf(spec)).toEqual([
      [
        "d 0755 0:0 bin/",
        `l bin/c -> ${C}/bin/c`,
        "d 0555 0:0 etc/",
        `l 5:0 etc/b -> ${A}/a`,
        "- 0644 7():0(root) etc/own = own",
        "d 0755 0:0 nix/",
        "d 0755 0:0 nix/store/",
        `d 0555 0:0 ${A.slice(1)}/`,
        `- 0444 0:0 ${A.slice(1)}/a = 1`,
        `d 0555 0:0 ${C.slice(1)}/`,
        `d 0555 0:0 ${C.slice(1)}/bin/`,
        `- 0444 0:0 ${C.slice(1)}/bin/c = 2`,
      ],
    ]);
  });

  it("holds over a base what the base has not, and is recognised as a base itself", async () => {
    const trees = { [A]: { a: "1" }, [B]: { b: "2" }, [C]: { c: "3" } };
    const references = { [B]: [A], [C]: [B] };
    const { graph, storeRoot } = closureOf(trees, references);
    const below = await baseOf({ closure: { graph, storeRoot, roots: [A] }, oneLayer: true });
    const middle = await baseOf({ closure: { graph, storeRoot, roots: [B] }, oneLayer: true, fromImage: below });
    const [first, second, ...others] = await layersOf({
      closure: { graph, storeRoot, roots: [C] },
      oneLayer: true,
      fromImage: middle,
    }).then((layers) => layers.map((lines) => lines.filter((line) => line.startsWith("-"))));
    expect([first, second]).toEqual([[`- 0444 0:0 ${A.slice(1)}/a = 1`], [`- 0444 0:0 ${B.slice(1)}/b = 2`]]);
    expect(others).toEqual([[`- 0444 0:0 ${C.slice(1)}/c = 3`]]);
  });

  it("is there though nothing is in it, as an image has one layer more than its base", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const base = await baseOf({ closure });
    const spec = { closure, fromImage: base, oneLayer: true, config: { Cmd: ["x"] } };
    expect(await layersOf(spec)).toEqual([expect.arrayContaining([`- 0444 0:0 ${A.slice(1)}/a = 1`]), []]);
    expect(await layersOf({ ...spec, contents: [] })).toHaveLength(2);
    expect(await layersOf({ ...spec, oneLayer: false })).toHaveLength(1);
    const checked = checkSpec(toJson(spec), "the spec");
    const plans = planAllLayers(checked, await readSpecClosure(checked), undefined, await readSpecBase(checked));
    expect(plans.map(({ contents, reason }) => [contents, reason])).toEqual([[[], "everything in one layer"]]);
  });

  it("has the form of GNU tar under the tar profile dockertools, the same by any number of threads", async () => {
    const closure = closureOf({ [A]: { large: "x".repeat(3_000_000), "a/": "" }, [B]: { "b/": "", "b/b": "2" } });
    const digests = async (spec: object, threads: number) => {
      const plan = async () => await planImage(checkSpec(toJson({ closure, ...spec }), "the spec"));
      const hash = createHash("sha256");
      const sink = { write: (bytes: Uint8Array) => void hash.update(bytes) };
      await streamPlannedImage(await plan(), sink, { threads });
      return [hash.digest("hex"), ...(await digestLayers(await plan(), { threads })).map(({ diffId }) => diffId)];
    };
    const found = new Set<string>();
    for (const more of [{ oneLayer: true, contents: [B] }, { oneLayer: true }, { contents: [B] }]) {
      for (const tarProfile of ["oci", "dockertools"]) {
        const alone = await digests({ ...more, tarProfile }, 0);
        expect(await digests({ ...more, tarProfile }, 2)).toEqual(alone);
        found.add(alone.join());
      }
    }
    expect(found.size).toBe(6);
    const [lines] = await layersOf({ closure, oneLayer: true, tarProfile: "dockertools", uid: 7 });
    expect(lines?.slice(0, 4)).toEqual([
      "d 0755 7():0() ./",
      "d 0755 7():0() ./nix/",
      "d 0755 7():0() ./nix/store/",
      `d 0555 7():0() .${A}/`,
    ]);
  });

  it.each([
    ["strategy", "single"],
    ["pipeline", [["reverse"]]],
    ["maxLayers", 3],
    ["layers", [{ deps: [A] }]],
  ])("is refused together with %s", async (key, value) => {
    const spec = { closure: { roots: [A] }, oneLayer: true, [key]: value };
    expect(() => checkSpec(toJson(spec), "the spec")).toThrow(`the spec: oneLayer and ${key} contradict each other`);
    expect(() => checkSpec(toJson({ ...spec, oneLayer: false }), "the spec")).not.toThrow();
  });
});
