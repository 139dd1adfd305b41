import { dirname, resolve } from "node:path";
import {
  checkSpec,
  type ImageSpec,
  type Input,
  isJsonObject,
  type Json,
  type JsonObject,
  OciNixError,
  pathInStore,
  readJsonFile,
  recogniseInput,
  toJson,
} from "../index.js";
import { type FlagValues, list, number, text } from "./command.js";
import { dockertoolsInput } from "./dockertools-args.js";

/** INPUT as the flags and its shape say it; the graph of `--closure` where it is alone. */
export async function inputOf(inputs: readonly string[], flags: FlagValues): Promise<Input> {
  const dockertools = await dockertoolsInput(inputs, flags);
  if (dockertools !== undefined) return dockertools;
  const graph = graphOf(flags);
  if (inputs.length === 0 && graph !== undefined) return { kind: "closure-file", file: graph };
  // These name store paths, too.
  if (inputs.length === 0 && (list(flags, "copy-to-root") ?? list(flags, "contents")) !== undefined) {
    return { kind: "store-paths", roots: [] };
  }
  return recogniseInput(inputs, text(flags, "store-root") ?? "/");
}

/** Inputs in which somebody else decided everything about the image, and what they are called. */
const DECIDED = { "dockertools-conf": "dockerTools conf.json", "nix2container-image": "nix2container image" } as const;

type DecidedInput = Extract<Input, { kind: keyof typeof DECIDED }>;

/** Whether nothing but names can be changed. */
export function isDecided(input: Input): input is DecidedInput {
  return Object.hasOwn(DECIDED, input.kind);
}

/** What people call it. */
export function whatIs(input: DecidedInput): string {
  return DECIDED[input.kind];
}

/** The checked spec for a command that needs a closure graph. @throws OciNixError as {@link specOf}; `usage` for an input that has none */
export async function closureSpecOf(inputs: readonly string[], flags: FlagValues): Promise<ImageSpec> {
  const input = await inputOf(inputs, flags);
  if (isDecided(input)) {
    throw new OciNixError("usage", `${input.source} is a ${whatIs(input)}, which holds layers but no closure graph`, {
      hint: "give store paths, a spec file or a closure graph",
    });
  }
  return await checkedSpecOf(input, flags);
}

/** {@link specOf}, checked: what is wrong is the file's fault where there is one, else the call's. */
export async function checkedSpecOf(input: SpecInput, flags: FlagValues): Promise<ImageSpec> {
  const spec = await specOf(input, flags);
  if (input.kind === "spec") return checkSpec(spec, input.source);
  try {
    return checkSpec(spec, "the command line");
  } catch (error) {
    if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
    throw new OciNixError("usage", error.message, error.hint === undefined ? {} : { hint: error.hint });
  }
}

type SpecInput = Exclude<Input, DecidedInput>;

/**
 * The spec that a spec file, store paths or a closure graph and the flags amount to; flags win over the file.
 * @throws OciNixError `usage` where a flag's value is malformed or makes no sense with this input
 */
async function specOf(input: SpecInput, flags: FlagValues): Promise<JsonObject> {
  const file: JsonObject = input.kind === "spec" ? input.json : new Map();
  const spec = new Map<string, Json>(file);
  const closure = closureOf(input, flags, file.get("closure"));
  spec.set("closure", closure);
  for (const key of input.kind === "spec" ? ["previous", "fromImage"] : []) {
    const place = file.get(key);
    if (typeof place === "string") spec.set(key, besideFile(place, (input as { readonly source: string }).source));
  }
  const givenRoot = isJsonObject(closure) ? closure.get("storeRoot") : undefined;
  const storeRoot = typeof givenRoot === "string" ? givenRoot : "/";
  const set = (key: string, value: unknown) => {
    if (value !== undefined) spec.set(key, toJson(value));
  };
  for (const key of ["name", "tag", "architecture", "variant", "created", "mtime", "uname", "gname", "strategy"]) {
    set(key, text(flags, key));
  }
  set("previous", text(flags, "previous"));
  set("fromImage", text(flags, "from-image"));
  set("inheritConfig", text(flags, "inherit-config"));
  for (const key of ["uid", "gid"]) set(key, number(flags, key));
  const pipeline = await pipelineOf(input, flags, file.get("pipeline"));
  spec.delete("pipeline");
  if (pipeline !== undefined) spec.set("pipeline", pipeline);
  if (text(flags, "layering-pipeline") !== undefined) spec.delete("strategy");
  set("tarProfile", text(flags, "tar-profile"));
  set("maxLayers", number(flags, "max-layers"));
  set("oneLayer", flags["one-layer"]);
  set("includeStorePaths", truth(flags, "include-store-paths"));
  set("exclude", storePaths(list(flags, "exclude"), storeRoot));
  set("copyToRoot", storePaths(list(flags, "copy-to-root"), storeRoot));
  set("keepContentsDirlinks", truth(flags, "keep-contents-dirlinks"));
  set("contents", storePaths(list(flags, "contents"), storeRoot));
  set("helpers", list(flags, "helper"));
  set("extraCommands", text(flags, "extra-commands"));
  set("fakeRootCommands", text(flags, "fake-root-commands"));
  set("enableFakechroot", flags["enable-fakechroot"] === true ? true : undefined);
  set("commandPath", list(flags, "command-path"));
  const files = file.get("files");
  if (input.kind === "spec" && files !== undefined) spec.set("files", filesBeside(files, input));
  const perms = text(flags, "perms");
  if (perms !== undefined) spec.set("perms", await readJsonFile(perms));
  // The file may say more of the database than that it is wanted.
  if (flags["nix-db"] === true) spec.set("nixDatabase", toJson({ ...ownersOf(file.get("nixDatabase")), enable: true }));
  const config = configOf(file.get("config"), flags);
  if (!isJsonObject(config) || config.size > 0) spec.set("config", config);
  return spec;
}

/** What links lead to (`./result`) as well as what is a store path; what is neither is refused with the spec. */
function storePaths(args: readonly string[] | undefined, storeRoot: string): readonly string[] | undefined {
  return args?.map((arg) => pathInStore(arg, storeRoot) ?? arg);
}

/** A flag whose values are `true` and `false`. */
function truth(flags: FlagValues, name: string): boolean | undefined {
  const value = text(flags, name);
  return value === undefined ? undefined : value === "true";
}

/** What a spec file names lies beside it, wherever the command is run. @param place of images, or a file */
function besideFile(place: string, specFile: string): string {
  const [, kind, rest = ""] = /^([a-z-]+:)(.*)$/s.exec(place) ?? [undefined, "", place];
  const isFile = ["", "oci:", "oci-archive:", "docker-archive:"].includes(kind);
  return isFile && rest !== "" && !/^-(:|$)/.test(rest) ? kind + resolve(dirname(specFile), rest) : place;
}

function ownersOf(nixDatabase: Json | undefined): Readonly<Record<string, Json>> {
  return isJsonObject(nixDatabase) ? Object.fromEntries(nixDatabase) : {};
}

/** The file that `--closure` names. */
function graphOf(flags: FlagValues): string | undefined {
  const given = text(flags, "closure");
  return given === "-" ? "/dev/stdin" : given;
}

/** The pipeline itself, where the file or a flag names one that is in a file of its own. A strategy that a flag gives wins over the file. */
async function pipelineOf(input: SpecInput, flags: FlagValues, fromFile: Json | undefined): Promise<Json | undefined> {
  const given = text(flags, "layering-pipeline");
  if (given !== undefined && text(flags, "strategy") !== undefined) {
    throw new OciNixError("usage", "both --strategy and --layering-pipeline say how the closure is split", {
      hint: "drop one of them",
    });
  }
  if (given !== undefined) return await readJsonFile(given);
  if (text(flags, "strategy") !== undefined) return undefined;
  if (input.kind !== "spec" || typeof fromFile !== "string" || fromFile === "") return fromFile;
  return await readJsonFile(besideSpec(input, fromFile));
}

/** What a spec file names lies beside it, wherever the command is run. */
function besideSpec({ source }: Extract<SpecInput, { kind: "spec" }>, path: string): string {
  return resolve(dirname(source), path);
}

/** The files that are to be put into the image lie beside the spec. A wrong value is left for the check to find. */
function filesBeside(files: Json, input: Extract<SpecInput, { kind: "spec" }>): Json {
  if (!Array.isArray(files)) return files;
  return files.map((file: Json) => {
    const path = isJsonObject(file) ? file.get("path") : undefined;
    if (!isJsonObject(file) || typeof path !== "string" || path === "") return file;
    return new Map([...file, ["path", besideSpec(input, path)]]);
  });
}

function closureOf(input: SpecInput, flags: FlagValues, fromFile: Json | undefined): Json {
  const closure = new Map<string, Json>(isJsonObject(fromFile) ? fromFile : []);
  for (const key of input.kind === "spec" ? ["graph", "storeRoot"] : []) {
    const path = closure.get(key);
    if (typeof path === "string") closure.set(key, besideSpec(input as Extract<SpecInput, { kind: "spec" }>, path));
  }
  if (input.kind === "store-paths") closure.set("roots", input.roots);
  const graph = graphOf(flags);
  if (input.kind === "closure-file") {
    if (graph !== undefined && graph !== input.file) {
      throw new OciNixError(
        "usage",
        `the input ${input.file} is a closure graph already, and --closure gives another`,
        {
          hint: "with --closure the inputs are the store paths to start from",
        },
      );
    }
    closure.set("graph", input.file);
  } else if (graph !== undefined) {
    closure.set("graph", graph);
  }
  for (const [key, flag] of [
    ["storeRoot", "store-root"],
    ["storeDir", "store-dir"],
  ] as const) {
    const value = text(flags, flag);
    if (value !== undefined) closure.set(key, value);
  }
  return closure;
}

/** The container config: what the file has, with what the flags add or replace. Its values are checked with the spec. */
function configOf(fromFile: Json | undefined, flags: FlagValues): Json {
  // A wrong value is left for the check to find, not replaced.
  if (isPresent(fromFile) && !isJsonObject(fromFile)) return fromFile;
  const config = new Map<string, Json>(isJsonObject(fromFile) ? fromFile : []);
  const set = (key: string, value: Json | undefined) => {
    if (value !== undefined) config.set(key, value);
  };
  set("Cmd", wordsOf(flags, "cmd"));
  set("Entrypoint", wordsOf(flags, "entrypoint"));
  set("User", text(flags, "user"));
  set("WorkingDir", text(flags, "workdir"));
  set("StopSignal", text(flags, "stop-signal"));
  const env = list(flags, "env");
  if (env !== undefined) {
    const given = config.get("Env");
    const names = new Set(env.map((entry) => entry.split("=", 1)[0]));
    if (!isPresent(given) || Array.isArray(given)) {
      const kept = (given ?? []).filter(
        (entry: Json) => typeof entry !== "string" || !names.has(entry.split("=", 1)[0]),
      );
      config.set("Env", [...kept, ...env]);
    }
  }
  extend(config, "Labels", list(flags, "label")?.map(labelOf));
  extend(config, "ExposedPorts", list(flags, "expose")?.map(portOf));
  extend(
    config,
    "Volumes",
    list(flags, "volume")?.map((directory) => [directory, new Map()]),
  );
  return config;
}

function extend(
  config: Map<string, Json>,
  key: string,
  entries: readonly (readonly [string, Json])[] | undefined,
): void {
  if (entries === undefined) return;
  const given = config.get(key);
  if (isPresent(given) && !isJsonObject(given)) return;
  config.set(key, new Map([...(isJsonObject(given) ? given : []), ...entries]));
}

function isPresent(value: Json | undefined): value is Exclude<Json, null> {
  return value !== undefined && value !== null;
}

/** One word a flag, or a JSON array of them all. */
function wordsOf(flags: FlagValues, name: string): readonly string[] | undefined {
  const values = list(flags, name);
  const [first] = values ?? [];
  if (values === undefined || first === undefined || !/^\s*\[/.test(first)) return values;
  let words: unknown;
  try {
    words = JSON.parse(first);
  } catch {
    words = undefined;
  }
  if (values.length === 1 && Array.isArray(words) && words.every((word): word is string => typeof word === "string")) {
    return words;
  }
  throw new OciNixError("usage", `--${name} ${first} is not a JSON array of strings`, {
    hint: `--${name} '["/bin/sh","-c","echo hi"]', or --${name} once for each word`,
  });
}

function labelOf(label: string): readonly [string, Json] {
  const equals = label.indexOf("=");
  if (equals > 0) return [label.slice(0, equals), label.slice(equals + 1)];
  throw new OciNixError("usage", `--label ${JSON.stringify(label)} is not KEY=VALUE`);
}

function portOf(port: string): readonly [string, Json] {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(port);
  if (match !== null && Number(match[1]) <= 65535) return [`${match[1]}/${match[2] ?? "tcp"}`, new Map()];
  throw new OciNixError("usage", `--expose ${JSON.stringify(port)} is not a port such as 8080 or 53/udp`);
}
