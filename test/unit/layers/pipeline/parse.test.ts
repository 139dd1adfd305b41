import { describe, expect, it } from "vitest";
import { OciNixError } from "../../../../src/core/errors.js";
import { parseJson, toJson } from "../../../../src/core/json.js";
import { parsePipeline } from "../../../../src/layers/pipeline/parse.js";

function errorOf(json: unknown): OciNixError {
  try {
    parsePipeline(toJson(json), "pipeline");
  } catch (error) {
    if (error instanceof OciNixError) return error;
    throw error;
  }
  throw new Error("there was no error");
}

describe("a pipeline that is wrong", () => {
  it.each<[unknown, string]>([
    [{}, "pipeline must be an array of operations"],
    [
      "pipeline.json",
      'pipeline must be an array of operations, such as [["popularity_contest"]]; found "pipeline.json"',
    ],
    [["reverse"], "pipeline[0] must be an operation"],
    [[["reverse"], []], "pipeline[1] must be an operation"],
    [[[7]], "pipeline[0] must be an operation"],
    [[null], "pipeline[0] must be an operation"],
    [[["reverse", 1]], 'pipeline[0] must be of the form ["reverse"]'],
    [[["popularity_contest"], ["reverse"], ["limit_layers", 0]], "pipeline[2][1] must be a whole number of at least 1"],
    [[["split_every", -1]], "pipeline[0][1] must be a whole number of at least 1"],
    [[["split_every", 1.5]], "pipeline[0][1] must be a whole number of at least 1; found 1.5"],
    [[["split_every", "7"]], "pipeline[0][1] must be a whole number of at least 1"],
    [[["split_every", true]], "pipeline[0][1] must be a whole number of at least 1"],
    [[["split_every"]], "pipeline[0] must be of the form"],
    [[["subcomponent_out", "/nix/store/x"]], "pipeline[0][1] must be an array of strings"],
    [[["subcomponent_in", ["a", 1]]], "pipeline[0][1][1] must be a string"],
    [[["remove_paths", { a: 1 }]], "pipeline[0][1] must be an array of strings"],
    [[["split_paths", "a"]], "pipeline[0][1] must be an array of store paths"],
    [[["split_paths", [["a"]]]], "pipeline[0][1][0] must be a store path"],
    [[["split_paths", ["a", { parents_of: "a" }]]], "pipeline[0][1][1] must be a store path"],
    [[["split_paths", [{ children_of: 1 }]]], "pipeline[0][1][0]: children_of must be an array of strings"],
    [[["reorder", "main"]], "pipeline[0][1] must be an array of strings"],
    [[["over", "rest"]], "pipeline[0] must be of the form"],
    [[["over", 1, ["reverse"]]], "pipeline[0][1] must be a string"],
    [[["over", "rest", "reverse"]], "pipeline[0][2] must be an operation"],
    [[["map", [["reverse"]]]], "pipeline[0][1] must be an operation"],
    [[["pipe", ["reverse"]]], "pipeline[0][1][0] must be an operation"],
    [[["over", "rest", ["pipe", [["map", ["split_every", 0]]]]]], "pipeline[0][2][1][0][1][1] must be a whole number"],
  ])("is an error that says where: %j", (json, message) => {
    const error = errorOf(json);
    expect(error.message).toContain(message);
    expect(error.code).toBe("invalid-input");
  });

  it("names the nearest operation", () => {
    const error = errorOf([["popularity_contest"], ["map", ["split_evry", 3]]]);
    expect(error.message).toBe('pipeline[1][1]: unknown operation "split_evry"');
    expect(error.hint).toBe("did you mean split_every?");
  });

  it("lists the operations where none is near, and does not repeat endless names", () => {
    const error = errorOf([["x".repeat(1e6)]]);
    expect(error.message.length).toBeLessThan(100);
    expect(error.hint).toContain("subcomponent_out");
    expect(errorOf([["constructor"]]).message).toContain("unknown operation");
  });

  it("may not be endless", () => {
    const error = errorOf(Array.from({ length: 1001 }, () => ["reverse"]));
    expect(error.code).toBe("limit");
    expect(error.message).toContain("pipeline[1000]: a layering pipeline may have at most 1000 operations");
  });

  it("may not be endlessly deep", () => {
    let deep: unknown = ["reverse"];
    for (let i = 0; i < 300; i++) deep = ["map", deep];
    const error = errorOf([deep]);
    expect(error.code).toBe("limit");
    expect(error.message).toContain("at most 100 levels");
  });
});

describe("a pipeline that is right", () => {
  it("may count higher than numbers go", () => {
    const { operations } = parsePipeline(parseJson(`[["split_every", 1${"0".repeat(400)}]]`, "the test"), "pipeline");
    expect(operations).toEqual([{ name: "split_every", at: "pipeline[0]", count: Number.MAX_SAFE_INTEGER }]);
  });

  it("may be empty", () => {
    expect(parsePipeline([], "pipeline").operations).toEqual([]);
  });
});
