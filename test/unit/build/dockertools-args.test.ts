import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  DOCKERTOOLS_ARGUMENTS,
  type DockertoolsOptions,
  translateDockertoolsArguments,
} from "../../../src/build/dockertools/arguments.js";
import type { OciNixError } from "../../../src/core/errors.js";
import { formatJson, toJson } from "../../../src/core/json.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const HELLO = path("1", "hello-2.12");
const BASH = path("2", "bash-5.2");
const BASE = path("3", "base.tar.gz");

type Arguments = Readonly<Record<string, unknown>>;

function translate(args: Arguments, options: Partial<DockertoolsOptions> = {}) {
  const { spec, ...image } = translateDockertoolsArguments(toJson(args), { source: "args.json", ...options });
  return { ...image, spec: JSON.parse(formatJson(spec)) as Record<string, unknown> };
}

const specOf = (args: Arguments, options: Partial<DockertoolsOptions> = {}) =>
  translate({ name: "app", tag: "1", ...args }, options).spec;

function errorOf(
  args: Arguments,
  options: Partial<DockertoolsOptions> = {},
): Pick<OciNixError, "code" | "message" | "hint"> {
  try {
    translate({ name: "app", ...args }, options);
  } catch (error) {
    const { code, message, hint } = error as OciNixError;
    return { code, message, hint };
  }
  throw new Error("it was taken");
}

const DEFAULTS = {
  name: "app",
  tag: "1",
  closure: { roots: [] },
  tarProfile: "dockertools",
  strategy: "dockertools-auto",
  maxLayers: 99,
};

describe("the arguments of streamLayeredImage", () => {
  it("have dockerTools' defaults, which null stands for as well", () => {
    expect(specOf({})).toEqual(DEFAULTS);
    const nulls = Object.fromEntries(DOCKERTOOLS_ARGUMENTS.map((name) => [name, null]));
    expect(specOf({ ...nulls, name: "app", tag: "1" })).toEqual(DEFAULTS);
    const explicit = {
      ...{ fromImage: null, contents: [], config: {}, uid: 0, gid: 0, uname: "root", gname: "root" },
      ...{ extraCommands: "", fakeRootCommands: "", enableFakechroot: false, includeStorePaths: true },
      ...{ maxLayers: 100, includeNixDB: false, layeringPipeline: null, debug: false, meta: { x: 1 }, passthru: {} },
    };
    const owner = { uid: 0, gid: 0, uname: "root", gname: "root" };
    expect(specOf(explicit)).toEqual({ ...DEFAULTS, ...owner, config: {} });
  });

  it("keep the values that a spec has under the same name", () => {
    const same = {
      ...{ architecture: "arm64", created: "now", mtime: "2026-01-31T12:00:00Z", uid: 1000, gid: 100 },
      ...{ uname: "me", gname: "users", extraCommands: "true\n", fakeRootCommands: "chown 1 x" },
    };
    expect(specOf(same)).toMatchObject(same);
  });

  it("take one of contents as well as several", () => {
    expect(specOf({ contents: HELLO })).toEqual(specOf({ contents: [HELLO] }));
    expect(specOf({ contents: [HELLO, BASH] })).toMatchObject({ contents: [HELLO, BASH] });
  });

  it("have all store paths of the config in the closure, keys and nested values included", () => {
    const config = {
      Cmd: [`${HELLO}/bin/hello`, "--name"],
      Env: [`PATH=${BASH}/bin:${HELLO}/bin`, "X=/nix/store/short-name"],
      Labels: { [path("4", "key")]: "x" },
      Healthcheck: { Test: ["CMD", `${path("5", "check")}`] },
    };
    expect(specOf({ config })).toMatchObject({
      config,
      closure: { roots: [HELLO, BASH, path("4", "key"), path("5", "check")] },
    });
  });

  it("have the store paths of another store, where that is theirs", () => {
    const gnu = `/gnu/store/${"1".repeat(32)}-hello`;
    const config = { Cmd: [`${gnu}/bin/hello`, HELLO] };
    expect(specOf({ config }, { storeDir: "/gnu/store" }).closure).toEqual({ roots: [gnu] });
    expect(specOf({ config, contents: gnu }).closure).toEqual({ roots: [gnu] });
  });

  it("name the image in lower case", () => {
    expect(specOf({ name: "registry.example/App" }).name).toBe("registry.example/app");
  });

  it("keep one layer of maxLayers for what is not in the store, as there", () => {
    expect(specOf({ maxLayers: 4 }).maxLayers).toBe(3);
    expect(specOf({ maxLayers: 4, contents: HELLO }).maxLayers).toBe(4);
    expect(specOf({ maxLayers: 4, contents: HELLO, includeNixDB: true })).toMatchObject({
      maxLayers: 5,
      nixDatabase: { enable: true },
    });
    expect(specOf({ maxLayers: 125, contents: HELLO, includeNixDB: true }).maxLayers).toBe(125);
    expect(specOf({ maxLayers: 4, extraCommands: "mkdir data" }).maxLayers).toBe(4);
    expect(specOf({ maxLayers: 4, fakeRootCommands: "\n" })).toEqual(specOf({ maxLayers: 4 }));
    expect(errorOf({ maxLayers: 1 }).message).toMatch(/maxLayers must be a whole number from 2/);
  });

  it("split by a pipeline instead", () => {
    const layeringPipeline = [["popularity_contest"], ["limit_layers", 3]];
    const { strategy, maxLayers, pipeline } = specOf({ layeringPipeline, maxLayers: 1 });
    expect({ strategy, maxLayers, pipeline }).toEqual({ pipeline: layeringPipeline });
    const file = path("6", "pipeline.json");
    expect(specOf({ layeringPipeline: file }).pipeline).toBe(file);
    expect(specOf({ layeringPipeline: file }, { storeRoot: "/copy" }).pipeline).toBe(`/copy${file}`);
  });

  it("leave store paths out, and run under another root, only where asked to", () => {
    expect(specOf({ includeStorePaths: false }).includeStorePaths).toBe(false);
    const fakeRootCommands = "mkdir /data";
    expect(specOf({ fakeRootCommands, enableFakechroot: true })).toMatchObject({
      fakeRootCommands,
      enableFakechroot: true,
    });
  });
});

describe("the base image of dockerTools' arguments", () => {
  it("is an archive, under the store root where it is in the store, and only its environment is inherited", () => {
    expect(specOf({ fromImage: BASE })).toMatchObject({ fromImage: `docker-archive:${BASE}`, inheritConfig: "env" });
    expect(specOf({ fromImage: BASE }, { storeRoot: "/copy" }).fromImage).toBe(`docker-archive:/copy${BASE}`);
    expect(specOf({ fromImage: "base.tar" }, { storeRoot: "/copy" }).fromImage).toBe("docker-archive:base.tar");
  });

  it("is chosen by name and tag together", () => {
    const chosen = { fromImage: BASE, fromImageName: "base", fromImageTag: "2" };
    expect(specOf(chosen).fromImage).toBe(`docker-archive:${BASE}:base:2`);
    const { message, hint } = errorOf({ fromImage: BASE, fromImageName: "base" });
    expect(message).toMatch(/fromImageName and fromImageTag choose an image together/);
    expect(hint).toBe("give fromImageTag, too");
  });
});

describe("the arguments of buildImage", () => {
  const BUILD = { function: "buildImage" } as const;

  it("put everything into one layer, copyToRoot at the root", () => {
    const { name, tag, closure, tarProfile } = DEFAULTS;
    const expected = {
      name,
      tag,
      closure,
      tarProfile,
      copyToRoot: [HELLO],
      oneLayer: true,
      keepContentsDirlinks: false,
    };
    expect(specOf({ copyToRoot: HELLO })).toEqual(expected);
    expect(specOf({ contents: [HELLO] }, BUILD)).toEqual(expected);
    expect(specOf({ copyToRoot: HELLO, keepContentsDirlinks: true }).keepContentsDirlinks).toBe(true);
  });

  it("do not name what is at the root twice", () => {
    expect(errorOf({ copyToRoot: HELLO, contents: HELLO }).message).toMatch(/contents is the old name of copyToRoot/);
  });

  it("hand on runAsRoot, and the sizes of its machine", () => {
    const sizes = { diskSize: 2048, buildVMMemorySize: 1024 };
    expect(specOf({ runAsRoot: "mkdir /data", ...sizes })).toMatchObject({ runAsRoot: "mkdir /data", ...sizes });
    expect(errorOf({ diskSize: "1G" }).message).toMatch(/^args\.json: diskSize must be a whole number/);
  });
});

describe("the function of dockerTools' arguments", () => {
  it.each([
    [{}, "streamLayeredImage"],
    [{ contents: HELLO, debug: true }, "streamLayeredImage"],
    [{ compressor: "zstd" }, "buildLayeredImage"],
    [{ compressor: "gz", maxLayers: 10 }, "buildLayeredImage"],
    [{ copyToRoot: HELLO, compressor: "none" }, "buildImage"],
    [{ runAsRoot: "true" }, "buildImage"],
  ])("is the first that has all of %j: %s", (args, called) => {
    expect(translate({ name: "app", ...args }).function).toBe(called);
  });

  it("may be given", () => {
    expect(translate({ name: "app" }, { function: "buildImage" }).function).toBe("buildImage");
    expect(errorOf({ maxLayers: 4 }, { function: "buildImage" })).toEqual({
      code: "usage",
      message: "args.json: buildImage has no argument maxLayers",
      hint: "it is one of streamLayeredImage and buildLayeredImage",
    });
  });

  it("does not exist for arguments of two", () => {
    expect(errorOf({ copyToRoot: HELLO, maxLayers: 4 }).message).toMatch(
      /no function of dockerTools takes copyToRoot and maxLayers/,
    );
  });

  it("decides how the archive is written", () => {
    const archiveOf = (args: Arguments, options: Partial<DockertoolsOptions> = {}) =>
      translate({ name: "app", ...args }, options).archive;
    expect(archiveOf({})).toEqual({ compression: undefined, repositories: false });
    expect(archiveOf({}, { function: "buildLayeredImage" })).toEqual({ compression: "gzip", repositories: false });
    expect(archiveOf({ compressor: "zstd" })).toEqual({ compression: "zstd", repositories: false });
    expect(archiveOf({ compressor: "none" })).toEqual({ compression: undefined, repositories: false });
    expect(archiveOf({}, { function: "buildImage" })).toEqual({ compression: "gzip", repositories: true });
    expect(errorOf({ compressor: "xz" }).message).toBe(
      'args.json: compressor must be "none", "gz" or "zstd"; found "xz"',
    );
  });
});

describe("the tag of dockerTools' arguments", () => {
  const tagOf = (args: Arguments, options: Partial<DockertoolsOptions> = {}) =>
    translate({ name: "app", ...args }, options).spec.tag;

  it("is of the form of a store path's hash, as there", () => {
    expect(tagOf({ contents: HELLO })).toMatch(/^[0-9abcdfghijklmnpqrsvwxyz]{32}$/);
  });

  it("changes with every argument that counts, and with the function", () => {
    const tags = [
      tagOf({}),
      tagOf({ contents: HELLO }),
      tagOf({ contents: BASH }),
      tagOf({ uid: 1 }),
      tagOf({ created: "now" }),
      tagOf({}, { function: "buildImage" }),
    ];
    expect(new Set(tags).size).toBe(tags.length);
  });

  it("does not depend on the order of arguments, null, or what says nothing of the image", () => {
    const config = { Env: ["A=1"], Cmd: ["a"] };
    const tag = tagOf({ config, uid: 1 });
    expect(tagOf({ uid: 1, config: { Cmd: ["a"], Env: ["A=1"] } })).toBe(tag);
    expect(tagOf({ config, uid: 1, gid: null, debug: true, meta: { description: "x" }, passthru: {} })).toBe(tag);
  });
});

describe("arguments that are wrong", () => {
  it("are named, with what was meant", () => {
    expect(errorOf({ maxLayer: 4 })).toEqual({
      code: "invalid-input",
      message: 'args.json: dockerTools has no argument "maxLayer"',
      hint: "did you mean maxLayers?",
    });
    expect(errorOf({ maxLayer: null }).hint).toBe("did you mean maxLayers?");
    expect(errorOf({ constructor: 1 }).message).toMatch(/no argument "constructor"/);
    expect(errorOf({ name: null }).message).toBe("args.json: name is missing");
    expect(errorOf({ contents: [[HELLO]] }).message).toMatch(/^args\.json: contents\[0\] must be/);
    expect(() => translate([] as never)).toThrow("args.json must be an object of arguments");
  });

  it("are all in docs/dockertools.md", () => {
    const docs = readFileSync(new URL("../../../docs/dockertools.md", import.meta.url), "utf8");
    const named = new Set(
      [...docs.matchAll(/^\| (.*?) \|/gm)]
        .flatMap((row) => [...(row[1] ?? "").matchAll(/`(\w+)`/g)])
        .map((match) => match[1]),
    );
    expect(DOCKERTOOLS_ARGUMENTS.filter((name) => !named.has(name))).toEqual([]);
  });
});
