import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDerivation, readDerivation } from "../../../src/nix/derivation.js";
import { path } from "./fixtures.js";

const REST = `[("${path("b.drv")}",["dev","out"])],["${path("c")}"],"x86_64-linux","/bin/sh",["-c","x"],[("a","1"),("out","${path("a")}")])`;
const parse = (text: string) => parseDerivation(text, "/nix/store", "a.drv");
const simple = (env: string) => `Derive([("out","${path("a")}","","")],[],[],"s","b",[],[${env}])`;

describe("a derivation", () => {
  it("is read whole, outputs sorted by name", () => {
    const text = `Derive([("out","${path("a")}","",""),("dev","${path("d")}","r:sha256","abc")],${REST}`;
    expect(parse(text)).toEqual({
      outputs: [
        { name: "dev", path: path("d") },
        { name: "out", path: path("a") },
      ],
      inputDerivations: [{ path: path("b.drv"), outputs: ["dev", "out"] }],
      inputSources: [path("c")],
      system: "x86_64-linux",
      builder: "/bin/sh",
      args: ["-c", "x"],
      env: new Map([
        ["a", "1"],
        ["out", path("a")],
      ]),
    });
  });

  it("has outputs without a path before it is built", () => {
    expect(parse(`Derive([("out","","r:sha256","")],${REST}`).outputs).toEqual([{ name: "out", path: undefined }]);
  });

  it("may name its version, and have outputs of outputs among its inputs", () => {
    const outputs = `[("out","${path("a")}","","")]`;
    expect(parse(`DrvWithVersion("xp-dyn-drv",${outputs},${REST}`).outputs).toHaveLength(1);
    const dynamic = REST.replace('["dev","out"]', '(["dev"],[("out",["x"]),("y",(["z"],[]))])');
    expect(parse(`DrvWithVersion("xp-dyn-drv",${outputs},${dynamic}`).inputDerivations[0]?.outputs).toEqual(["dev"]);
  });

  it("has texts of any bytes, escaped as Nix escapes them", () => {
    const escaped = (text: string) =>
      text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
    const bytes = fc
      .array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 })
      .map((list) => String.fromCharCode(...list));
    fc.assert(
      fc.property(bytes, bytes, (name, value) => {
        const { env } = parse(simple(`("${escaped(name)}","${escaped(value)}")`));
        expect([...env]).toEqual([[name, value]]);
      }),
    );
  });

  it.each([
    ["nothing", ""],
    ["another text", "hello"],
    ["no outputs", `Derive([],${REST}`],
    ["an output without a name", `Derive([("","${path("a")}","","")],${REST}`],
    ["half an output", `Derive([("out","${path("a")}","`],
    ["an escape at the end", `${simple("").slice(0, -3)}[("a","\\`],
    ["something behind it", `${simple("")} `],
    ["a list that does not end", `Derive([("out","${path("a")}","",""),`],
  ])("is not %s", (_, text) => {
    expect(() => parse(text)).toThrowError(/^a\.drv is not a derivation/);
  });

  it("is refused where it is cut or changed anywhere, or read as something, in time", () => {
    const text = `Derive([("out","${path("a")}","","")],${REST}`;
    const change = fc.tuple(fc.nat({ max: text.length }), fc.string({ maxLength: 3 }), fc.nat({ max: 5 }));
    fc.assert(
      fc.property(change, ([at, put, cut]) => {
        try {
          parse(text.slice(0, at) + put + text.slice(at + cut));
        } catch (error) {
          expect(error).toMatchObject({ name: "OciNixError" });
        }
      }),
      { numRuns: 2000 },
    );
    expect(() => parse(`Derive([("out","${"\\n".repeat(1_000_000)}`)).toThrowError("not a derivation");
    const nested = `(["x"],[("o",`.repeat(5000);
    expect(() => parse(`Derive([("out","","","")],[("${path("b.drv")}",${nested}`)).toThrowError("not a derivation");
  });

  it("refuses an output in another store", () => {
    expect(() => parse(`Derive([("out","/x","","")],${REST}`)).toThrowError("not a store path");
  });

  it("is read below the store's root, and is said to be missing where it is", () => {
    const storeRoot = mkdtempSync(join(tmpdir(), "derivation-"));
    try {
      mkdirSync(join(storeRoot, "nix/store"), { recursive: true });
      writeFileSync(join(storeRoot, path("a.drv")), `Derive([("out","${path("a")}","","")],${REST}`);
      expect(readDerivation(path("a.drv"), `${storeRoot}/`).outputs).toEqual([{ name: "out", path: path("a") }]);
      expect(() => readDerivation(path("b.drv"), storeRoot)).toThrowError(
        expect.objectContaining({ code: "not-found", message: expect.stringContaining(path("b.drv")) }),
      );
    } finally {
      rmSync(storeRoot, { recursive: true, force: true });
    }
  });

  it("says where it ends too early, and what is there instead", () => {
    const text = `Derive([("out","${path("a")}","","")],${REST}`;
    const cut = text.indexOf(',"x86_64-linux"');
    expect(() => parse(text.slice(0, cut))).toThrowError(
      expect.objectContaining({
        message: `a.drv is not a derivation as Nix writes them: at byte ${cut} it ends, where , is expected`,
        hint: expect.stringContaining("nix-store --verify --check-contents"),
      }),
    );
    expect(() => parse("hello\n\xff")).toThrowError("at byte 0 there is hello\\x0a\\xff, where Derive( is expected");
  });

  it("is not waited for where it is a FIFO, and not read where no derivation is so large", () => {
    const storeRoot = mkdtempSync(join(tmpdir(), "derivation-"));
    try {
      mkdirSync(join(storeRoot, "nix/store"), { recursive: true });
      execFileSync("mkfifo", [join(storeRoot, path("a.drv"))]);
      writeFileSync(join(storeRoot, path("b.drv")), "Derive(");
      truncateSync(join(storeRoot, path("b.drv")), 64 * 1024 * 1024 + 1);
      expect(() => readDerivation(path("a.drv"), storeRoot)).toThrowError("it is not a regular file");
      expect(() => readDerivation(path("b.drv"), storeRoot)).toThrowError(expect.objectContaining({ code: "limit" }));
    } finally {
      rmSync(storeRoot, { recursive: true, force: true });
    }
  });
});
