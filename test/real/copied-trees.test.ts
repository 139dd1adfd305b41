import { spawnSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { layersOf } from "../support/layers.js";
import { REAL_STORE_TOOLS, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

type Node = string | { readonly to: string } | { readonly directory: Readonly<Record<string, Node>> };

const NAMES = ["a", "b", "c"];
const STORE_PATHS = ["1", "2", "3"].map((digit) => `${digit.repeat(32)}-tree`);

const { node } = fc.letrec<{ node: Node; directory: Node }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", maxDepth: 3 },
    fc.constantFrom("one", "two"),
    fc
      .tuple(
        fc.constantFrom("", "../", "../../", "./", ...STORE_PATHS.map((name) => `STORE/${name}/`)),
        fc.array(fc.constantFrom(...NAMES, ".", ".."), { maxLength: 2 }).map((names) => names.join("/")),
      )
      .map(([start, names]) => ({ to: start + names || "." })),
    tie("directory"),
  ),
  directory: fc
    .dictionary(fc.constantFrom(...NAMES), tie("node"), { maxKeys: 3 })
    .map((directory): Node => ({ directory })),
}));

/** A tree whose root is a directory. */
const tree = fc.dictionary(fc.constantFrom(...NAMES), node, { maxKeys: 3 });

function make(place: string, children: Readonly<Record<string, Node>>, store: string): void {
  mkdirSync(place);
  for (const [name, what] of Object.entries(children)) {
    const path = join(place, name);
    if (typeof what === "string") writeFileSync(path, what);
    else if ("to" in what) symlinkSync(what.to.replace("STORE", store), path);
    else make(path, what.directory, store);
  }
}

/** What is in a directory, as `layersOf` says it. */
function linesIn(directory: string, below = ""): string[] {
  return readdirSync(directory)
    .sort()
    .flatMap((name) => {
      const [path, place] = [join(directory, name), `${below}${name}`];
      const stat = lstatSync(path);
      const rights = `${(stat.mode & 0o7777).toString(8).padStart(4, "0")} ${stat.uid}:${stat.gid}`;
      if (stat.isSymbolicLink()) return [`l ${place} -> ${readlinkSync(path)}`];
      if (stat.isDirectory()) return [`d ${rights} ${place}/`, ...linesIn(path, `${place}/`)];
      return [`- ${rights} ${place} = ${readFileSync(path, "latin1")}`];
    });
}

describe.skipIf(requireTools("rsync"))("copyToRoot with keepContentsDirlinks", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-rsync-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** The root that rsync makes of trees one after the other, as nixpkgs' buildImage calls it. */
  function byRsync(sources: readonly string[], kept: boolean): readonly string[] | "fails" {
    const target = mkdtempSync(join(directory, "root-"));
    try {
      for (const source of sources) {
        const { status, error } = spawnSync(
          "rsync",
          [kept ? "-aK" : "-ak", "--chown=0:0", `${source}/`, `${target}/`],
          {
            timeout: 20_000,
          },
        );
        if (status !== 0 || error !== undefined) return "fails";
      }
      return linesIn(target);
    } finally {
      rmSync(target, { recursive: true, force: true });
    }
  }

  it.each([true, false])(
    "%s: gives what rsync gives of any trees, unless they collide or have no end",
    { timeout: 300_000 },
    async (kept) => {
      const seen = { same: 0, refused: 0 };
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(tree, { minLength: 1, maxLength: 3 }), async (trees) => {
          const storeDir = join(directory, `store-${kept}-${run++}`);
          mkdirSync(storeDir);
          const paths = trees.map((_, i) => join(storeDir, STORE_PATHS[i] as string));
          for (const [i, children] of trees.entries()) make(paths[i] as string, children, storeDir);
          const graph = `${storeDir}.json`;
          // Links lead anywhere: all are roots, so that all are in the image.
          writeFileSync(graph, JSON.stringify(paths.map((path) => ({ path, references: [] }))));
          const closure = { graph, storeRoot: "/", storeDir, roots: paths };
          const spec = { closure, copyToRoot: paths, keepContentsDirlinks: kept };
          const made = await layersOf(spec).then(
            (layers) => layers.at(-1) as readonly string[],
            (error) => error.code as string,
          );
          if (typeof made === "string") {
            expect(["conflict", "unsupported", "invalid-input"]).toContain(made);
            // One tree alone cannot collide.
            if (trees.length === 1 && kept) expect(made).toBe("invalid-input");
            seen.refused++;
          } else {
            expect(made).toEqual(byRsync(paths, kept));
            seen.same++;
          }
          rmSync(storeDir, { recursive: true, force: true });
        }),
        { numRuns: 150, seed: 1 },
      );
      expect(seen.same).toBeGreaterThan(50);
    },
  );
});

describe.skipIf(requireTools("rsync", ...REAL_STORE_TOOLS))("a real package copied to the root", () => {
  it.each([true, false])(
    "is what rsync makes of it with keepContentsDirlinks %s",
    { timeout: 600_000 },
    async (kept) => {
      const { storeRoot, packages } = await realStore("small");
      const package_ = packages.bash as string;
      const directory = mkdtempSync(join(tmpdir(), "oci-nix-rsync-"));
      try {
        const root = join(directory, "root");
        mkdirSync(root);
        await runOk("rsync", [kept ? "-aK" : "-ak", "--chown=0:0", `${join(storeRoot, package_)}/`, `${root}/`]);
        const archive = join(directory, "image.tar");
        const dirlinks = ["--copy-to-root", package_, "--keep-contents-dirlinks", String(kept)];
        const only = ["--include-store-paths", "false", "--store-root", storeRoot, "--no-cache"];
        const to = ["--to", `docker-archive:${archive}:t:1`];
        expectOk(await runCli(["build", package_, ...dirlinks, ...only, ...to], { timeoutMs: 300_000 }), "build");
        const tar = join(directory, "root.tar");
        expectOk(await runCli(["export", `docker-archive:${archive}`, "--output", tar]), "export");
        const unpacked = join(directory, "unpacked");
        mkdirSync(unpacked);
        await runOk("tar", ["-C", unpacked, "-xpf", tar]);
        expect(linesIn(unpacked)).toEqual(linesIn(root));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  );
});
