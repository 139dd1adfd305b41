import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { checkSpec, SPEC_SCHEMA } from "../../../src/build/spec/spec.js";
import { IMAGE_FLAGS } from "../../../src/cli/image-flags.js";
import type { OciNixError } from "../../../src/core/errors.js";
import { toJson } from "../../../src/core/json.js";
import { SPEC_ONLY, specFields, specReference } from "../../support/spec-reference.js";

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SPEC_SCHEMA);

const closure = { roots: [`/nix/store/${"a".repeat(32)}-a`] };

describe("the schema of spec files", () => {
  it("is what docs/spec.schema.json says", async () => {
    await expect(`${JSON.stringify(SPEC_SCHEMA, undefined, 2)}\n`).toMatchFileSnapshot(
      "../../../docs/spec.schema.json",
    );
  });

  it("describes every field in one line", () => {
    for (const { path, schema } of specFields()) expect(schema.description, path).toMatch(/^[A-Z][^\n]{5,100}[^.\n]$/);
  });

  it("takes the key by which editors find it, and so does the program", () => {
    const spec = { $schema: "./spec.schema.json", closure };
    expect(validate(spec)).toBe(true);
    expect(checkSpec(toJson(spec), "spec")).toEqual({ closure });
  });

  it.each([
    { closure, nmae: "app" },
    { closure: { ...closure, root: [] } },
    { closure, files: [{ target: "/a", text: "", owner: 1 }] },
    { closure, config: { Entrypoin: [] } },
    { closure, helpers: ["binsh"] },
    { closure, helpers: [{ binSh: { extraPasswdLines: [] } }] },
    { closure, layers: [{ deps: closure.roots, history: { by: "me" } }] },
    { closure, maxLayers: "100" },
    { closure, perms: [{ regex: "", mode: "755" }] },
    { closure, perms: [{ path: closure.roots[0], regex: "", mode: "10000" }] },
    { closure, inheritConfig: "some" },
    { closure, tarProfile: "tar" },
    { closure: null },
    {},
  ])("refuses what the program refuses: %j", (spec) => {
    expect(() => checkSpec(toJson(spec), "spec")).toThrow();
    expect(validate(spec)).toBe(false);
  });
});

describe("runAsRoot", () => {
  const errorOf = (runAsRoot: unknown) => {
    try {
      return checkSpec(toJson({ closure, runAsRoot }), "image.json") as never;
    } catch (error) {
      return error as OciNixError;
    }
  };

  it("is a text", () => {
    expect(errorOf(["mkdir /data"]).message).toBe(
      "image.json: runAsRoot must be the text of a shell script; found an array",
    );
  });

  it("may be empty, as there is nothing to run then", () => {
    expect(errorOf("\n")).toEqual({ closure });
    expect(errorOf(null)).toEqual({ closure });
  });
});

describe("vm", () => {
  const checked = (vm: object) => checkSpec(toJson({ closure, vm }), "image.json");

  it("names what the machine runs by absolute paths", () => {
    const vm = { kernel: "/nix/store/linux/bzImage", modules: "/nix/store/linux/lib/modules/6.12.1" };
    expect(checked(vm)).toEqual({ closure, vm });
    expect(() => checked({ busybox: "busybox" })).toThrow("image.json: vm: busybox must be an absolute path");
  });

  it("has a kernel with its modules, or neither", () => {
    const modules = "/lib/modules/6.12.1";
    expect(() => checked({ modules })).toThrow('image.json: vm must be an object with both "kernel" and "modules"');
  });
});

describe("the fields of a spec", () => {
  const fields = specFields();

  it("all have a flag, or a reason for having none", () => {
    const flags = new Set([...Object.keys(IMAGE_FLAGS), "compression", "INPUT", "below"]);
    const unreachable = fields.filter(({ flag, specOnly }) => specOnly === undefined && !flags.has(flag ?? ""));
    expect(unreachable.map(({ path }) => path)).toEqual([]);
  });

  it("are what each flag of an image stands for", () => {
    const named = new Set(fields.map(({ flag }) => flag));
    expect(Object.keys(IMAGE_FLAGS).filter((flag) => !named.has(flag))).toEqual([]);
  });

  it("have no reason for what is not there", () => {
    const paths = new Set(fields.map(({ path }) => path));
    expect(Object.keys(SPEC_ONLY).filter((path) => !paths.has(path))).toEqual([]);
  });

  it("are all in docs/spec.md", async () => {
    await expect(specReference()).toMatchFileSnapshot("../../../docs/spec.md");
  });
});
