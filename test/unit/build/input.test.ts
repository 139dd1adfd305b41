import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recogniseInput } from "../../../src/build/input.js";
import { conf } from "../../support/confs.js";

const TREE = "/nix/store/00000000000000000000000000000000-tree";
const TEXT = "/nix/store/11111111111111111111111111111111-text";
const CONF = "/nix/store/22222222222222222222222222222222-conf.json";
const BRACE = "/nix/store/33333333333333333333333333333333-brace";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "oci-nix-input-"));
  mkdirSync(join(root, TREE, "bin"), { recursive: true });
  writeFileSync(join(root, TREE, "bin/program"), "#!");
  writeFileSync(join(root, TREE, "conf.json"), JSON.stringify(conf()));
  writeFileSync(join(root, TEXT), "/nix/store is no closure graph\n");
  writeFileSync(join(root, CONF), JSON.stringify(conf()));
  writeFileSync(join(root, BRACE), "{ a shell function's body; }");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function link(name: string, target: string): string {
  symlinkSync(target, join(root, name));
  return join(root, name);
}

function file(name: string, content: unknown): string {
  writeFileSync(join(root, name), typeof content === "string" ? content : JSON.stringify(content));
  return join(root, name);
}

const storePaths = (...roots: string[]) => ({ kind: "store-paths", roots });

describe("store paths", () => {
  it.each([
    ["a logical path", () => TREE, TREE],
    ["a path below it", () => `${TREE}/bin/program`, TREE],
    ["a physical path under the store root", () => join(root, TREE), TREE],
    ["a physical path below it", () => join(root, TREE, "bin"), TREE],
    ["a trailing slash", () => `${TREE}/`, TREE],
    ["a logical path of a file", () => TEXT, TEXT],
    ["a file that starts like JSON", () => BRACE, BRACE],
    ["a result link to a logical path", () => link("result", TREE), TREE],
    ["a result link to a physical path", () => link("result", join(root, TREE)), TREE],
    ["a relative result link", () => link("result", `.${TREE}/bin`), TREE],
    ["a link to a result link", () => link("again", relative(root, link("result", TREE))), TREE],
    ["a result link to a store path that is a file", () => link("result", TEXT), TEXT],
    ["a result link to a physical file in the store", () => link("result", join(root, TEXT)), TEXT],
  ])("are recognised: %s", (_, arg, expected) => {
    expect(recogniseInput([arg()], root)).toEqual(storePaths(expected));
  });

  it("may be several, in their order", () => {
    expect(recogniseInput([TEXT, `${TREE}/bin`], root)).toEqual(storePaths(TEXT, TREE));
    expect(recogniseInput([CONF, TREE], root)).toEqual(storePaths(CONF, TREE));
  });

  it("need not exist: the closure may come from a file", () => {
    const missing = "/nix/store/44444444444444444444444444444444-missing";
    expect(recogniseInput([missing], root)).toEqual(storePaths(missing));
  });
});

describe("files", () => {
  it.each([
    ["a store path that is one", () => CONF],
    ["one inside a store path", () => `${TREE}/conf.json`],
    ["a result link to one", () => link("result", CONF)],
    ["one anywhere", () => file("conf.json", conf())],
    ["one behind a page of empty lines", () => file("conf.json", "\n".repeat(3000) + JSON.stringify(conf()))],
    ["one with a byte order mark", () => file("conf.json", `\ufeff${JSON.stringify(conf())}`)],
  ])("are recognised as a conf.json: %s", (_, arg) => {
    expect(recogniseInput([arg()], root)).toMatchObject({ kind: "dockertools-conf" });
  });

  it("are recognised as a nix2container image", () => {
    const image = file("image.json", { version: 1, "image-config": {}, layers: [] });
    expect(recogniseInput([image], root)).toMatchObject({ kind: "nix2container-image", source: image });
  });

  it("are recognised as a spec or a closure graph", () => {
    expect(recogniseInput([file("spec.json", { closure: { roots: [] } })], root)).toMatchObject({ kind: "spec" });
    for (const graph of ["[]", "{}", `${TREE}\n\n0\n`, ""]) {
      const path = file("graph", graph);
      expect(recogniseInput([path], root)).toEqual({ kind: "closure-file", file: path });
    }
  });

  it("must be the only input", () => {
    expect(() => recogniseInput([file("conf.json", conf()), TREE], root)).toThrow(/is not a store path/);
  });
});
