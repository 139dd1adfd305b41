import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseDerivationOutputs, readDerivationOutputs } from "../../../src/nix/derivation-outputs.js";
import { path } from "./fixtures.js";

const REST = `[("${path("b.drv")}",["out"])],["${path("c")}"],"x86_64-linux","/bin/sh",["-c","x"],[("out","${path("a")}")])`;
const parse = (text: string) => parseDerivationOutputs(text, "/nix/store", "a.drv");

describe("parseDerivationOutputs", () => {
  it("reads the outputs, sorted by name", () => {
    expect(parse(`Derive([("out","${path("a")}","",""),("dev","${path("d")}","r:sha256","abc")],${REST}`)).toEqual([
      { name: "dev", path: path("d") },
      { name: "out", path: path("a") },
    ]);
  });

  it("leaves out what has no path before it is built", () => {
    expect(parse(`Derive([("out","","r:sha256","")],${REST}`)).toEqual([]);
  });

  it("reads derivations that name their version", () => {
    expect(parse(`DrvWithVersion("xp-dyn-drv",[("out","${path("a")}","","")],${REST}`)).toHaveLength(1);
  });

  it.each([
    ["nothing", ""],
    ["another text", "hello"],
    ["no outputs", `Derive([],${REST}`],
    ["half an output", `Derive([("out","${path("a")}","`],
  ])("refuses %s", (_, text) => {
    expect(() => parse(text)).toThrowError(/^a\.drv is not a derivation/);
  });

  it("refuses an output in another store", () => {
    expect(() => parse(`Derive([("out","/x","","")],${REST}`)).toThrowError("not a store path");
  });
});

describe("readDerivationOutputs", () => {
  it("reads below the store's root, and says what is missing where", () => {
    const storeRoot = mkdtempSync(join(tmpdir(), "derivation-outputs-"));
    try {
      mkdirSync(join(storeRoot, "nix/store"), { recursive: true });
      writeFileSync(join(storeRoot, path("a.drv")), `Derive([("out","${path("a")}","","")],${REST}`);
      expect(readDerivationOutputs(path("a.drv"), `${storeRoot}/`)).toEqual([{ name: "out", path: path("a") }]);
      expect(() => readDerivationOutputs(path("b.drv"), storeRoot)).toThrowError(
        expect.objectContaining({
          code: "not-found",
          message: expect.stringContaining(join(storeRoot, path("b.drv"))),
          hint: expect.stringContaining("--store-root"),
        }),
      );
    } finally {
      rmSync(storeRoot, { recursive: true });
    }
  });
});
