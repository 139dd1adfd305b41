import { describe, expect, it } from "vitest";
import { OciNixError } from "../../../../src/core/errors.js";
import { toJson } from "../../../../src/core/json.js";
import { parsePipeline } from "../../../../src/layers/pipeline/parse.js";
import { storePathsOf } from "../../../../src/layers/plan.js";
import { planLayers } from "../../../../src/layers/plan-layers.js";
import { createClosure } from "../../../../src/nix/closure.js";
import type { StorePath } from "../../../../src/nix/store-path.js";

const pathOf = (name: string) => `/nix/store/${"0".repeat(32)}-${name}` as StorePath;

/** Written as `a: b c` for a that refers to b and c, smallest first. */
function closureOf(...lines: readonly string[]) {
  const objects = lines.map((line, i) => {
    const [name, references] = line.split(":") as [string, string | undefined];
    return {
      path: pathOf(name),
      narHash: undefined,
      narSize: i,
      references: (references ?? "").split(" ").filter(Boolean).map(pathOf),
    };
  });
  return createClosure({ storeDir: "/nix/store", objects, source: "the test" });
}

/** app needs lib and tool, which need libc; tool needs data, too. */
const CLOSURE = closureOf("libc", "data", "lib: libc", "tool: libc data", "app: lib tool");

const paths = (...names: string[]) => names.map(pathOf);

/** The layers as names: `libc data | lib`. */
function run(json: unknown, { closure = CLOSURE, maxLayers = 125, exclude = [] as readonly string[] } = {}): string {
  const strategy = parsePipeline(toJson(json), "pipeline");
  const plans = planLayers(closure, { strategy, maxLayers, exclude: new Set(exclude.map(pathOf)) });
  return plans
    .map((plan) =>
      storePathsOf(plan)
        .map((path) => path.slice(44))
        .join(" "),
    )
    .join(" | ");
}

function errorOf(json: unknown, options?: Parameters<typeof run>[1]): OciNixError {
  try {
    run(json, options);
  } catch (error) {
    if (error instanceof OciNixError) return error;
    throw error;
  }
  throw new Error("there was no error");
}

describe("an operation", () => {
  it.each<[unknown[], string]>([
    [[["split_every", 2]], "libc data | lib tool | app"],
    [[["split_every", 9]], "libc data lib tool app"],
    [[["split_every", 2], ["reverse"]], "app | lib tool | libc data"],
    [
      [
        ["split_every", 1],
        ["limit_layers", 3],
      ],
      "libc | data | lib tool app",
    ],
    [
      [
        ["split_every", 1],
        ["limit_layers", 1],
      ],
      "libc data lib tool app",
    ],
    [
      [
        ["split_every", 1],
        ["limit_layers", 99],
      ],
      "libc | data | lib | tool | app",
    ],
    [[["popularity_contest"]], "libc | data | lib | tool | app"],
    [[["subcomponent_out", paths("tool")]], "libc data tool | lib app"],
    [[["subcomponent_in", paths("tool", "data", "tool")]], "data tool app | libc lib"],
    [[["subcomponent_out", paths("nothing")]], "libc data lib tool app"],
    [[["split_paths", paths("tool")]], "data tool | libc | lib app"],
    [[["split_paths", [{ children_of: pathOf("app") }]]], "libc data lib tool | app"],
    [[["split_paths", [{ children_of: paths("lib", "nothing") }]]], "libc | data lib tool app"],
    [[["split_paths", paths("app", "tool")]], "libc data lib tool app"],
    [[["split_paths", paths("nothing")]], "libc data lib tool app"],
    [
      [
        ["remove_paths", pathOf("lib")],
        ["split_every", 2],
      ],
      "libc data | tool app",
    ],
    [
      [
        ["remove_paths", paths("lib", "nothing")],
        ["split_every", 9],
      ],
      "libc data tool app",
    ],
    [
      [
        ["split_paths", paths("tool")],
        ["reorder", ["rest", "nothing", "common"]],
      ],
      "lib app | libc | data tool",
    ],
    [
      [
        ["split_paths", paths("tool")],
        ["over", "rest", ["split_every", 1]],
      ],
      "data tool | libc | lib | app",
    ],
    [[["split_every", 3], ["map", ["split_every", 2]], ["flatten"], ["limit_layers", 3]], "libc data | lib | tool app"],
    [
      [
        [
          "pipe",
          [
            ["split_every", 2],
            ["pipe", []],
          ],
        ],
      ],
      "libc data | lib tool | app",
    ],
  ])("does as nixpkgs': %j", (json, layers) => {
    expect(run(json)).toBe(layers);
  });

  it("no longer sees references to what was split off", () => {
    const split = ["split_paths", paths("tool", "data")];
    expect(run([split, ["over", "main", ["subcomponent_out", paths("tool")]]])).toBe("tool | data | libc | lib app");
  });

  it("splits paths off a closure of several roots", () => {
    const closure = closureOf("libc", "data", "a: libc data", "b: libc");
    expect(run([["split_paths", paths("a")]], { closure })).toBe("data a | libc | b");
    expect(run([["split_paths", paths("a", "b")]], { closure })).toBe("libc data a b");
  });

  it("never sees what is excluded", () => {
    expect(run([["subcomponent_out", paths("app")]], { exclude: ["tool"] })).toBe("libc lib app | data");
  });
});

describe("a pipeline that does not fit together", () => {
  it.each<[unknown[], string]>([
    [[], "pipeline does not end with layers but with a graph"],
    [[["remove_paths", paths("lib")]], "pipeline does not end with layers but with a graph"],
    [[["reverse"]], "pipeline[0]: reverse takes a list, not a graph"],
    [[["flatten"]], "pipeline[0]: flatten takes a list, or what a split gave, not a graph"],
    [
      [
        ["split_every", 2],
        ["split_every", 2],
      ],
      "pipeline[1]: split_every takes a graph, not a list",
    ],
    [
      [["split_paths", paths("tool")], ["popularity_contest"]],
      "popularity_contest takes a graph, not main, common, rest",
    ],
    [
      [
        ["split_paths", paths("tool")],
        ["limit_layers", 2],
      ],
      "limit_layers takes a list, not main, common, rest",
    ],
    [
      [
        ["split_every", 2],
        ["over", "main", ["reverse"]],
      ],
      "pipeline[1]: over takes what a split gave",
    ],
    [
      [
        ["split_paths", []],
        ["over", "main", ["reverse"]],
      ],
      'pipeline[1]: there is no "main" here, only rest',
    ],
    [
      [
        ["split_paths", []],
        ["over", "rest", ["pipe", [["map", ["reverse"]]]]],
      ],
      "pipeline[1][2][1][0]: map takes a list",
    ],
    [
      [
        ["split_every", 1],
        ["map", ["subcomponent_out", []]],
        ["limit_layers", 2],
      ],
      "pipeline[2]: limit_layers takes a list of graphs, not main, rest",
    ],
  ])("is an error that says where and what: %j", (json, message) => {
    const error = errorOf(json);
    expect(error.message).toContain(message);
    expect(error.code).toBe("invalid-input");
  });
});

describe("the layers of a pipeline", () => {
  it("are an error where there are more than allowed", () => {
    const error = errorOf([["popularity_contest"]], { maxLayers: 4 });
    expect(error.code).toBe("limit");
    expect(error.message).toBe("pipeline gives 5 layers, and there may be 4");
    expect(error.hint).toContain('["limit_layers", 4]');
    expect(run([["popularity_contest"], ["flatten"], ["limit_layers", 4]], { maxLayers: 4 })).toContain("tool app");
  });

  it("cannot be had of a closure without sizes", () => {
    const object = { path: pathOf("a"), narHash: undefined, narSize: undefined, references: [] };
    const closure = createClosure({ storeDir: "/nix/store", objects: [object], source: "the test" });
    expect(errorOf([["popularity_contest"]], { closure }).message).toContain(`the NAR size of ${pathOf("a")}`);
    expect(() => planLayers(closure, { strategy: "dockertools-auto", maxLayers: 2 })).toThrow("the NAR size of");
    expect(planLayers(closure, { strategy: "single", maxLayers: 2 })).toHaveLength(1);
  });
});
