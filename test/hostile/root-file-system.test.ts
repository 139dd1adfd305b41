import { describe, expect, it } from "vitest";
import { RootFileSystem } from "../../src/examine/root-file-system.js";

/** It takes memory, and so time. */
const LONG = process.env.OCI_NIX_HOSTILE_CASES !== undefined;

describe.runIf(LONG)("a root file system", { timeout: 120_000 }, () => {
  it("of more than 2,000,000 files and directories is refused, whichever layers they are of", () => {
    const inode = { entry: { type: "file", name: "x", linkName: "" }, layer: 0, index: 0 };
    const layer = (from: number, to: number) => ({
      ...{ hiddenPaths: new Set<string>(), hiddenContents: new Set<string>() },
      entries: Array.from({ length: to - from }, (_, n) => ({ path: `${from + n}`, inode })),
    });
    type Layer = Parameters<RootFileSystem["apply"]>[0];
    const root = new RootFileSystem();
    root.apply(layer(0, 1_000_000) as unknown as Layer, "layer 1");
    // What is there already is not counted again.
    root.apply(layer(500_000, 2_000_000) as unknown as Layer, "layer 2");
    expect(() => root.apply(layer(0, 2_000_001) as unknown as Layer, "layer 3")).toThrow(
      /more than 2000000 files and directories/,
    );
  });
});
