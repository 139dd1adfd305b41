import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { readVectors } from "../support/vectors.js";

interface GraphVector {
  readonly graph: readonly { readonly path: string; readonly references: readonly string[] }[];
  readonly exclude: readonly string[];
  readonly limit: number;
  readonly "dockertools-auto": readonly (readonly string[])[];
  readonly pipeline: readonly unknown[];
  readonly "pipeline-layers": readonly (readonly string[])[] | { readonly error: true };
}

const vectors = readVectors<GraphVector>("graphs.json");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-layers-"));
  return () => rmSync(directory, { recursive: true, force: true });
});

function file(name: string, content: unknown): string {
  const path = join(directory, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

interface Plan {
  readonly strategy: string;
  readonly maxLayers?: number;
  readonly layers: readonly { readonly storePaths: readonly string[] }[];
}

async function planOf(...args: readonly string[]): Promise<Plan> {
  const result = await runCli(["plan", "--json", ...args]);
  expect(result.stderr).toBe("");
  return JSON.parse(result.stdout.toString()) as Plan;
}

const layersOf = (plan: Plan) => plan.layers.map(({ storePaths }) => storePaths);

async function errorOf(...args: readonly string[]) {
  const result = await runCli([...args, "--json"]);
  expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
  expect(result.stdout).toHaveLength(0);
  return { ...(JSON.parse(result.stderr) as { code: string; message: string; hint?: string }), status: result.status };
}

const flagsOf = ({ exclude }: GraphVector) => exclude.flatMap((path) => ["--exclude", path]);

/** The larger vectors that exclude something, and one that nixpkgs refuses. */
const chosen = vectors.filter(
  (vector) => "error" in vector["pipeline-layers"] || (vector.exclude.length > 0 && vector.graph.length > 10),
);

describe.each(chosen.map((vector) => ({ vector, size: vector.graph.length })))(
  "a plan of $size paths",
  ({ vector }) => {
    it("has the layers of nixpkgs' default split", async () => {
      const graph = file("graph.json", vector.graph);
      const split = ["--strategy", "dockertools-auto", "--max-layers", String(vector.limit)];
      const plan = await planOf("--closure", graph, ...split, ...flagsOf(vector));
      expect(plan.strategy).toBe("dockertools-auto");
      expect(layersOf(plan)).toEqual(vector["dockertools-auto"]);
    });

    it("has the layers of nixpkgs' pipeline", async () => {
      const args = [file("graph.json", vector.graph), "--layering-pipeline", file("pipeline.json", vector.pipeline)];
      const expected = vector["pipeline-layers"];
      if ("error" in expected) {
        const error = await errorOf("plan", ...args, ...flagsOf(vector));
        expect(error).toMatchObject({ code: "invalid-input", status: 1 });
        expect(error.message).toContain("there is no");
      } else {
        const plan = await planOf(...args, ...flagsOf(vector));
        expect(plan.strategy).toBe("pipeline");
        expect(layersOf(plan)).toEqual(expected);
      }
    });
  },
);

describe("a layering pipeline", () => {
  const [{ graph }] = vectors as [GraphVector];
  const paths = graph.map(({ path }) => path);
  const bySize = [["split_every", 7]];

  it("is a field of a spec file", async () => {
    const expected = layersOf(await planOf(file("g.json", graph), "--layering-pipeline", file("p.json", bySize)));
    expect(expected).toHaveLength(Math.ceil(graph.length / 7));
    const spec = { closure: { graph: "g.json" }, pipeline: bySize };
    expect(layersOf(await planOf(file("spec.json", spec)))).toEqual(expected);
  });

  it("is a file beside the spec file that names it", async () => {
    mkdirSync(join(directory, "sub"));
    file("g.json", graph);
    file("sub/p.json", bySize);
    const plan = await planOf(file("spec.json", { closure: { graph: "g.json" }, pipeline: "sub/p.json" }));
    expect(plan.layers).toHaveLength(Math.ceil(graph.length / 7));
  });

  it("gives way to a strategy on the command line, as a strategy in the file does to a pipeline there", async () => {
    file("g.json", graph);
    const spec = file("spec.json", { closure: { graph: "g.json" }, pipeline: bySize });
    expect(layersOf(await planOf(spec, "--strategy", "single"))).toEqual([paths]);
    const other = file("other.json", { closure: { graph: "g.json" }, strategy: "single" });
    const plan = await planOf(other, "--layering-pipeline", file("p.json", bySize));
    expect(plan.layers).toHaveLength(Math.ceil(graph.length / 7));
  });

  it("is not for explicit layers, and works on what they leave", async () => {
    file("g.json", graph);
    const [first] = paths as [string];
    const layers = [{ deps: [first] }];
    const plan = await planOf(
      file("spec.json", { closure: { graph: "g.json" }, layers, pipeline: [["split_every", 100]] }),
    );
    expect(plan.layers).toHaveLength(2);
    expect(layersOf(plan)[0]).toContain(first);
    expect(layersOf(plan).flat().sort()).toEqual(paths);
  });

  it("may give more layers than an image can have, but not to an image", async () => {
    const many = Array.from({ length: 130 }, (_, i) => ({
      path: `/nix/store/${String(i).padStart(32, "0")}-a`,
      narSize: 1,
      references: [],
    }));
    const args = [file("g.json", many), "--layering-pipeline", file("p.json", [["popularity_contest"]])];
    const plan = await planOf(...args);
    expect(plan.layers).toHaveLength(130);
    expect(plan.maxLayers).toBeUndefined();
    const error = await errorOf("stream", ...args);
    expect(error).toMatchObject({ code: "limit", status: 1 });
    expect(error.message).toContain("gives 130 layers, and there may be 125");
    expect(error.hint).toContain('["limit_layers", 125]');
    expect(await errorOf("plan", ...args, "--max-layers", "100")).toMatchObject({ code: "limit" });
  });

  it("and a strategy contradict each other", async () => {
    const args = ["plan", file("g.json", graph), "--layering-pipeline", file("p.json", bySize)];
    const error = await errorOf(...args, "--strategy", "single");
    expect(error).toMatchObject({ code: "usage", status: 2 });
    expect(error.message).toContain("--strategy and --layering-pipeline");
    const spec = file("spec.json", { closure: { graph: "g.json" }, pipeline: bySize, strategy: "single" });
    expect((await errorOf("plan", spec)).message).toContain("both strategy and pipeline");
  });

  it.each([
    ["is not there", undefined, "not-found", "cannot read"],
    ["is no JSON", "[[", "invalid-input", "not valid JSON"],
    ["is no pipeline", '{"a": 1}', "usage", "pipeline must be an array of operations"],
    ["is too deep", `[${'["map",'.repeat(300)}["reverse"]${"]".repeat(301)}`, "limit", "may have at most 100 levels"],
    ["is deeper than files may be", "[".repeat(100_000), "invalid-input", "more than 512 levels"],
    [
      "has a wrong number",
      '[["pipe", [["split_every", 1e99]]]]',
      "usage",
      "pipeline[0][1][0][1] must be a whole number",
    ],
  ])("that %s is a clear error", async (_, content, code, message) => {
    const pipeline = content === undefined ? join(directory, "nothing.json") : file("p.json", content);
    const error = await errorOf("plan", file("g.json", graph), "--layering-pipeline", pipeline);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
  });
});
