import { createHash } from "node:crypto";
import { join } from "node:path";
import { compareStrings, nearest, OciNixError } from "../../core/errors.js";
import { formatJson, isJsonObject, type Json, JsonNumber, type JsonObject, toJson, wrong } from "../../core/json.js";
import { DEFAULT_MAX_LAYERS, MAX_LAYERS } from "../../layers/plan-layers.js";
import { encodeNixBase32 } from "../../nix/hash.js";
import { DEFAULT_STORE_DIR, findStorePath, storePathsNamedIn } from "../../nix/store-path.js";
import type { ArchiveForm } from "../image-plan.js";
import { type Check, check, flag, text, texts, wholeNumber } from "../spec/checks.js";
import { mebibytes } from "../spec/values.js";

/** Functions of nixpkgs' dockerTools that make images; the first one that takes all arguments is meant where nobody says which. */
export const DOCKERTOOLS_FUNCTIONS = ["streamLayeredImage", "buildLayeredImage", "buildImage"] as const;

/** A function of dockerTools whose arguments can be translated. */
export type DockertoolsFunction = (typeof DOCKERTOOLS_FUNCTIONS)[number];

const [STREAM, LAYERED, IMAGE] = DOCKERTOOLS_FUNCTIONS;
const BOTH_LAYERED: readonly DockertoolsFunction[] = [STREAM, LAYERED];

/** Which functions have an argument. */
const ARGUMENTS: Readonly<Record<string, readonly DockertoolsFunction[]>> = {
  name: DOCKERTOOLS_FUNCTIONS,
  tag: DOCKERTOOLS_FUNCTIONS,
  fromImage: DOCKERTOOLS_FUNCTIONS,
  fromImageName: [IMAGE],
  fromImageTag: [IMAGE],
  contents: DOCKERTOOLS_FUNCTIONS,
  copyToRoot: [IMAGE],
  keepContentsDirlinks: [IMAGE],
  config: DOCKERTOOLS_FUNCTIONS,
  architecture: DOCKERTOOLS_FUNCTIONS,
  created: DOCKERTOOLS_FUNCTIONS,
  mtime: BOTH_LAYERED,
  uid: DOCKERTOOLS_FUNCTIONS,
  gid: DOCKERTOOLS_FUNCTIONS,
  uname: BOTH_LAYERED,
  gname: BOTH_LAYERED,
  maxLayers: BOTH_LAYERED,
  layeringPipeline: BOTH_LAYERED,
  extraCommands: DOCKERTOOLS_FUNCTIONS,
  fakeRootCommands: BOTH_LAYERED,
  enableFakechroot: BOTH_LAYERED,
  runAsRoot: [IMAGE],
  diskSize: [IMAGE],
  buildVMMemorySize: [IMAGE],
  includeStorePaths: BOTH_LAYERED,
  includeNixDB: DOCKERTOOLS_FUNCTIONS,
  compressor: [LAYERED, IMAGE],
  debug: DOCKERTOOLS_FUNCTIONS,
  meta: DOCKERTOOLS_FUNCTIONS,
  passthru: DOCKERTOOLS_FUNCTIONS,
};

/** The names of all arguments, as they are written. */
export const DOCKERTOOLS_ARGUMENTS = Object.keys(ARGUMENTS);

/** Arguments that say nothing about the image. */
const IGNORED = ["debug", "meta", "passthru"];

/** Scripts, which are empty by default. A spec has them under the same names, as it has {@link SAME}. */
const SCRIPTS = ["extraCommands", "fakeRootCommands"];

/** Arguments that are checked with the spec. */
const SAME = ["architecture", "config", "created", "mtime", "uid", "gid", "uname", "gname"];

/** What arguments of dockerTools amount to. */
export interface DockertoolsImage {
  readonly function: DockertoolsFunction;
  /** A spec as its file would have it, still to be checked. */
  readonly spec: JsonObject;
  /** How the function writes its archive. */
  readonly archive: ArchiveForm;
}

export interface DockertoolsOptions {
  /** What errors call the arguments. */
  readonly source: string;
  /** By default the one that the arguments tell. */
  readonly function?: DockertoolsFunction | undefined;
  /** By default that of the contents' store paths, else `/nix/store`. */
  readonly storeDir?: string | undefined;
  /** Where the files that arguments name are, if they are in the store; by default `/`. */
  readonly storeRoot?: string | undefined;
}

/**
 * Translates the arguments of one of dockerTools' functions, as `builtins.toJSON` writes them: null is as good as missing, a derivation is
 * its output path. The closure is that of what ends up in the image: the contents, and all store paths in `config`.
 * @throws OciNixError `invalid-input` for an unknown argument, naming the nearest, or one that is wrong; `usage` for arguments that no
 *   function takes together
 */
export function translateDockertoolsArguments(json: Json, options: DockertoolsOptions): DockertoolsImage {
  const { source, storeRoot = "/" } = options;
  if (!isJsonObject(json)) throw wrong(source, "an object of arguments", json);
  for (const key of json.keys()) checkKnown(key, source);
  const values = new Map([...json].filter(([, value]) => value !== null));
  const called = functionOf([...values.keys()], options);
  const read: Read = (key, argument) => {
    const value = values.get(key);
    return value === undefined ? undefined : argument(value, `${source}: ${key}`);
  };
  const name = read("name", text)?.toLowerCase();
  if (name === undefined) throw new OciNixError("invalid-input", `${source}: name is missing`);
  const contents = contentsOf(read, source);
  const [first] = contents;
  const storeDir = options.storeDir ?? (first && findStorePath(first)?.storeDir) ?? DEFAULT_STORE_DIR;
  const args: Arguments = {
    ...{ values, source, read, contents },
    located: (path) => (path.startsWith(`${storeDir}/`) ? join(storeRoot, path) : path),
    hasNixDatabase: read("includeNixDB", flag) ?? false,
  };
  const spec = toJson({
    name,
    tag: read("tag", text) ?? tagOf(called, values),
    closure: { roots: storePathsInJson(values.get("config"), storeDir) },
    tarProfile: "dockertools",
    nixDatabase: args.hasNixDatabase ? { enable: true } : undefined,
    ...Object.fromEntries(SAME.map((key) => [key, values.get(key)])),
    ...Object.fromEntries(SCRIPTS.filter((key) => isScript(key, values.get(key))).map((key) => [key, values.get(key)])),
    ...baseFields(args),
    ...(called === IMAGE ? oneLayerFields(args) : layeredFields(args)),
  }) as JsonObject;
  const compressor = read("compressor", compressorName) ?? (called === STREAM ? "none" : "gzip");
  const compression = compressor === "none" ? undefined : compressor;
  return { function: called, spec, archive: { compression, repositories: called === IMAGE } };
}

/** The value of an argument, checked; undefined where it is not given. */
type Read = <T>(key: string, argument: Check<T>) => T | undefined;

interface Arguments {
  /** Without nulls. */
  readonly values: JsonObject;
  readonly source: string;
  readonly read: Read;
  /** Or `copyToRoot`. */
  readonly contents: readonly string[];
  readonly hasNixDatabase: boolean;
  /** Where a file is that an argument names. */
  readonly located: (path: string) => string;
}

type SpecFields = Readonly<Record<string, unknown>>;

function contentsOf(read: Read, source: string): readonly string[] {
  const [contents, copyToRoot] = [read("contents", paths), read("copyToRoot", paths)];
  if (contents === undefined || copyToRoot === undefined) return contents ?? copyToRoot ?? [];
  throw new OciNixError("invalid-input", `${source}: contents is the old name of copyToRoot, and both are given`, {
    hint: "drop contents",
  });
}

function baseFields({ read, source, located }: Arguments): SpecFields {
  const fromImage = read("fromImage", text);
  if (fromImage === undefined) return {};
  const [name, tag] = [read("fromImageName", text), read("fromImageTag", text)];
  if ((name === undefined) !== (tag === undefined)) {
    throw new OciNixError("invalid-input", `${source}: fromImageName and fromImageTag choose an image together`, {
      hint: `give ${name === undefined ? "fromImageName" : "fromImageTag"}, too`,
    });
  }
  const chosen = name === undefined ? "" : `:${name}:${tag}`;
  return { fromImage: `docker-archive:${located(fromImage)}${chosen}`, inheritConfig: "env" };
}

function oneLayerFields({ values, read, contents }: Arguments): SpecFields {
  return {
    diskSize: read("diskSize", mebibytes),
    buildVMMemorySize: read("buildVMMemorySize", mebibytes),
    oneLayer: true,
    copyToRoot: contents.length > 0 ? contents : undefined,
    keepContentsDirlinks: read("keepContentsDirlinks", flag) ?? false,
    runAsRoot: values.get("runAsRoot"),
  };
}

function layeredFields({ values, source, read, contents, hasNixDatabase, located }: Arguments): SpecFields {
  const hasCommands = [...values].some(([key, value]) => isScript(key, value));
  const isFakechroot =
    read("enableFakechroot", flag) === true && isScript("fakeRootCommands", values.get("fakeRootCommands"));
  const maxLayers = read("maxLayers", wholeNumber(Number.MAX_SAFE_INTEGER)) ?? DEFAULT_MAX_LAYERS;
  const pipeline = values.get("layeringPipeline");
  const own = Number(contents.length > 0 || hasCommands) + Number(hasNixDatabase);
  return {
    contents: contents.length > 0 ? contents : undefined,
    enableFakechroot: isFakechroot ? true : undefined,
    includeStorePaths: read("includeStorePaths", flag) === false ? false : undefined,
    ...(pipeline === undefined
      ? { strategy: "dockertools-auto", maxLayers: withRoomForOwn(maxLayers, own, source) }
      : { pipeline: typeof pipeline === "string" ? located(pipeline) : pipeline }),
  };
}

const paths: Check<readonly string[]> = check({}, (value, where) =>
  typeof value === "string" ? [text(value, where)] : texts(value, where),
);

const compressorName = check({}, (value, where) => {
  if (value === "none" || value === "zstd") return value;
  if (value === "gz") return "gzip";
  throw wrong(where, '"none", "gz" or "zstd"', value);
});

/** Whether an argument is a script in which there is something to run. */
function isScript(key: string, value: Json | undefined): boolean {
  return SCRIPTS.includes(key) && value !== undefined && !(typeof value === "string" && value.trim() === "");
}

/**
 * dockerTools keeps one layer for what is not store paths, whether there is such a thing or not; here each such thing takes one.
 * @throws OciNixError `invalid-input`
 */
function withRoomForOwn(maxLayers: number, own: number, source: string): number {
  if (maxLayers < 2)
    throw wrong(
      `${source}: maxLayers`,
      "a whole number from 2: one layer is for what is not in the store",
      new JsonNumber(maxLayers),
    );
  return maxLayers > MAX_LAYERS ? maxLayers : Math.min(maxLayers - 1 + own, MAX_LAYERS);
}

/** As there, a tag that is another one whenever an argument is: 32 characters of Nix base-32. */
function tagOf(called: DockertoolsFunction, args: JsonObject): string {
  const counting = [...args].filter(([key]) => !IGNORED.includes(key));
  const canonical = `${called}\n${formatJson(sorted(new Map(counting)))}`;
  return encodeNixBase32(createHash("sha256").update(canonical).digest().subarray(0, 20));
}

/** With the keys of all objects in order. */
function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  return new Map([...value].sort(([a], [b]) => compareStrings(a, b)).map(([key, item]) => [key, sorted(item)]));
}

/** All store paths in the texts of a value, in order. */
function storePathsInJson(value: Json | undefined, storeDir: string): readonly string[] {
  const found = new Set<string>();
  const look = (item: Json | undefined): void => {
    if (typeof item === "string") for (const path of storePathsNamedIn(item, storeDir)) found.add(path);
    else if (Array.isArray(item)) item.forEach(look);
    else if (isJsonObject(item)) [...item].flat().forEach(look);
  };
  look(value);
  return [...found].sort(compareStrings);
}

function checkKnown(key: string, source: string): void {
  if (Object.hasOwn(ARGUMENTS, key)) return;
  const near = nearest(key, DOCKERTOOLS_ARGUMENTS);
  throw new OciNixError("invalid-input", `${source}: dockerTools has no argument ${JSON.stringify(key)}`, {
    hint: near === undefined ? `known arguments: ${DOCKERTOOLS_ARGUMENTS.join(", ")}` : `did you mean ${near}?`,
  });
}

/** The function that takes these arguments. @throws OciNixError `usage` */
function functionOf(keys: readonly string[], { source, function: given }: DockertoolsOptions): DockertoolsFunction {
  const takes = (called: DockertoolsFunction) => keys.every((key) => ARGUMENTS[key]?.includes(called));
  const found = given === undefined ? DOCKERTOOLS_FUNCTIONS.find(takes) : given;
  if (found !== undefined && takes(found)) return found;
  const lacking = (called: DockertoolsFunction) => keys.find((key) => !ARGUMENTS[key]?.includes(called)) as string;
  if (given !== undefined) {
    const key = lacking(given);
    throw new OciNixError("usage", `${source}: ${given} has no argument ${key}`, {
      hint: `it is one of ${(ARGUMENTS[key] ?? []).join(" and ")}`,
    });
  }
  throw new OciNixError(
    "usage",
    `${source}: no function of dockerTools takes ${lacking(LAYERED)} and ${lacking(IMAGE)}`,
    {
      hint: `${lacking(LAYERED)} is of buildImage, ${lacking(IMAGE)} of the layered ones`,
    },
  );
}
