import { describe, expect, it } from "vitest";
import { isJsonObject, parseJson, toJson } from "../../../src/core/json.js";
import { checkGoContainerConfig } from "../../../src/oci/container-config.js";
import {
  formatNix2containerImage,
  formatNix2containerLayers,
  parseHistory,
  parseNix2containerImage,
  parseNix2containerLayers,
  parsePerms,
  parseRewrites,
  pathKey,
} from "../../../src/transport/nix2container.js";

const digest = `sha256:${"0".repeat(64)}`;
const layer = { digest, size: 1, diff_ids: digest, mediatype: "application/vnd.oci.image.layer.v1.tar" };
const perms = (perm: unknown) => [{ ...layer, paths: [{ path: "/p", options: { perms: [perm] } }] }];

describe("a layers file", () => {
  it.each([
    ["f: layers must be an array", {}],
    ["f: layers[0] must be an object", [1]],
    ['f: layers[1]: unknown key "dgst"', [layer, { ...layer, dgst: 1 }]],
    ["f: layers[0]: digest is given twice", [{ ...layer, Digest: digest }]],
    ["f: layers[0].digest: undefined is not a sha256 digest", [{ ...layer, digest: undefined }]],
    [`f: layers[0].diff_ids: ["${digest}"] is not a sha256 digest`, [{ ...layer, diff_ids: [digest] }]],
    ["f: layers[0].size must be a whole number", [{ ...layer, size: "1" }]],
    ["f: layers[0].size must be a whole number from 0 to 9007199254740991; found 1.5", [{ ...layer, size: 1.5 }]],
    ["f: layers[0].size must be a whole number", [{ ...layer, size: -1 }]],
    ["f: layers[0].mediatype must be a string that is not empty", [{ ...layer, mediatype: "" }]],
    ["f: layers[0].layer-path must be a string", [{ ...layer, "layer-path": 1 }]],
    ["f: layers[0].paths must be an array", [{ ...layer, paths: {} }]],
    ["f: layers[0].paths[0] must be an object", [{ ...layer, paths: ["/p"] }]],
    ["f: layers[0].paths[0].path must be a string that is not empty", [{ ...layer, paths: [{}] }]],
    ["f: layers[0].paths[0].options must be an object", [{ ...layer, paths: [{ path: "/p", options: [] }] }]],
    [
      "f: layers[0].paths[0].options.rewrite.repl must be a string",
      [{ ...layer, paths: [{ path: "/p", options: { rewrite: { regex: "", repl: 1 } } }] }],
    ],
    ["f: layers[0].paths[0].options.perms[0].mode must be an octal number up to 7777", perms({ mode: "0888" })],
    ["f: layers[0].paths[0].options.perms[0].mode must be an octal number up to 7777", perms({ mode: "10000" })],
    ["f: layers[0].paths[0].options.perms[0].uid must be a whole number from 0 to 4294967294", perms({ uid: 2 ** 32 })],
    ["f: layers[0].paths[0].options.perms[0].gname must be a string", perms({ gname: 0 })],
    ["f: layers[0].History must be an object", [{ ...layer, History: [] }]],
    ["f: layers[0].History.empty_layer must be true or false", [{ ...layer, History: { empty_layer: 1 } }]],
    ['f: layers[0].History.created: "now" is not a time', [{ ...layer, History: { created: "now" } }]],
  ])("is refused with %s", (message, json) => {
    expect(() => parseNix2containerLayers(toJson(json), "f")).toThrow(message);
  });

  it("may be null, and is where it is empty", () => {
    expect(parseNix2containerLayers(null, "f")).toEqual([]);
    expect(formatNix2containerLayers([])).toBe("null");
  });

  it("is read with keys of any case, null as absence", () => {
    const json = {
      DIGEST: digest,
      Size: 1,
      Diff_IDs: digest,
      MediaType: "x",
      history: null,
      paths: null,
      "layer-path": "",
    };
    expect(parseNix2containerLayers(toJson([json]), "f")).toEqual([
      { digest, size: 1, diffId: digest, mediaType: "x", paths: [], history: {} },
    ]);
  });
});

describe("an image file", () => {
  const image = { version: 1, "image-config": {}, layers: null, arch: "amd64", created: null };
  it.each([
    ["version none of nix2container's image file is not known", { ...image, version: undefined }],
    ["version 2 of nix2container's image file is not known", { ...image, version: 2 }],
    ['f: unknown key "layer"', { ...image, layer: [] }],
    ["f: arch must be a string", { ...image, arch: ["amd64"] }],
    ['f: created: "1" is not a time', { ...image, created: "1" }],
    ['f: image-config: unknown field "Cnd"', { ...image, "image-config": { Cnd: [] } }],
    ["f: layers[0].digest", { ...image, layers: [{}] }],
  ])("is refused with %s", (message, json) => {
    expect(() => parseNix2containerImage(toJson(json), "f")).toThrow(message);
  });

  it("without a time has null for it", () => {
    const text = formatNix2containerImage(parseNix2containerImage(toJson(image), "f"));
    expect(JSON.parse(text)).toEqual(image);
  });
});

describe("options", () => {
  it("are refused where the path is missing or a key is unknown", () => {
    expect(() => parseRewrites(toJson([{ regex: "" }]), "f")).toThrow("f[0].path must be");
    expect(() => parsePerms(toJson([{ path: "/p", user: 0 }]), "f")).toThrow('f[0]: unknown key "user"');
    expect(() => parseHistory(toJson({ createdby: "x" }), "f")).toThrow('f: unknown key "createdby"');
  });

  it("make a path another one", () => {
    const rewrite = { regex: "", repl: "" };
    const perm = { regex: "", mode: "", uid: 0, gid: 0, uname: "", gname: "" };
    const keys = [
      { path: "/p" },
      { path: "/q" },
      { path: "/p", options: { rewrite, perms: [] } },
      { path: "/p", options: { rewrite: { ...rewrite, regex: "x" }, perms: [] } },
      { path: "/p", options: { rewrite, perms: [perm] } },
      { path: "/p", options: { rewrite, perms: [perm, perm] } },
      { path: "/p", options: { rewrite, perms: [{ ...perm, mode: "0" }] } },
    ].map(pathKey);
    expect(new Set(keys).size).toBe(keys.length);
    expect(pathKey({ path: "/p", options: { perms: [perm], rewrite } })).toBe(keys[4]);
  });
});

describe("a container config as Go reads it", () => {
  const check = (json: string) => checkGoContainerConfig(parseJson(json, "c"), "c");

  it("has its fields in Go's order, without what is empty, maps by their bytes", () => {
    const config = check(
      '{"healthcheck":{"Test":["NONE"]},"ARGSESCAPED":true,"Labels":{"b":"","a":""},"cmd":["x"],"User":"","Env":[],"Volumes":{}}',
    );
    expect([...config.keys()]).toEqual(["Cmd", "Labels", "ArgsEscaped", "Healthcheck"]);
    const labels = config.get("Labels");
    expect(isJsonObject(labels) && [...labels.keys()]).toEqual(["a", "b"]);
  });

  it("may have values that Docker would not take", () => {
    expect([...check('{"Env":["A"],"WorkingDir":"x","StopSignal":"term"}').keys()]).toHaveLength(3);
  });

  it("is refused where a field is unknown, given twice or of a wrong shape", () => {
    expect(() => check('{"Envs":[]}')).toThrow('c: unknown field "Envs"');
    expect(() => check('{"Env":[],"ENV":[]}')).toThrow("c: Env is given twice");
    expect(() => check('{"env":"A=1"}')).toThrow("c.Env must be an array of strings");
  });
});
