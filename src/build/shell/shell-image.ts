import { atPlace, OciNixError } from "../../core/errors.js";
import type { Json, JsonObject } from "../../core/json.js";
import { nameOf } from "../../layers/package-name.js";
import { type Derivation, readDerivation } from "../../nix/derivation.js";
import {
  baseNameOf,
  findStorePath,
  isDerivation,
  parseStorePath,
  type StorePath,
  storeDirOf,
} from "../../nix/store-path.js";
import { checkTag } from "../../oci/reference.js";
import { BASH, CERTIFICATES, ENV } from "../customisation/packages.js";
import type { FileSpec, HelperSpec } from "../customisation/spec.js";
import { StoreFiles } from "../customisation/store-files.js";
import { readClosure } from "../plan/closure.js";
import { checkConflicts } from "../spec/conflicts.js";
import type { ClosureSpec } from "../spec/parts.js";
import type { ImageSpec } from "../spec/spec.js";
import {
  BUILD_DIRECTORY,
  checkEnvironmentSize,
  derivationEnvironment,
  shellEnvironment,
  textOf,
} from "./environment.js";
import { contentAddressed, inputPaths } from "./inputs.js";
import { machineOf } from "./machine.js";
import { checkShellOptions, type ShellOptions } from "./options.js";
import { ADD, Programs, storePathOfShell } from "./programs.js";
import { buildScript, startScript } from "./scripts.js";

/** Where an image has what nix-shell makes when it is started. */
const OWN_DIRECTORY = "/usr/lib/nix-shell";
const START = `${OWN_DIRECTORY}/rc`;
const USER = "nixbld";

/**
 * The image in which one is where nix-shell would lead for a derivation: its inputs, its environment, and a program that builds it. Reads
 * the derivation, those of its inputs, and their closure.
 * @param derivation a store path, `/nix/store/….drv`
 * @throws OciNixError `usage` where options contradict each other; `invalid-input` for what is no derivation; `unsupported` for one with
 *   structured attributes, with content-addressed outputs, for another system than Linux, or with what an image cannot hold; `limit` for an
 *   environment that is too large to start anything in; `not-found` for
 *   an input that is not built, or a program that no input has, `conflict` where several have it; otherwise as `readClosure`
 */
export async function shellImageSpec(derivation: string, options: ShellOptions): Promise<ImageSpec> {
  const { image, home = BUILD_DIRECTORY, uid = 1000, gid = 1000 } = options;
  const path = parseStorePath(derivation, image.closure.storeDir ?? findStorePath(derivation)?.storeDir);
  const storeDir = storeDirOf(path);
  checkShellOptions(options, storeDir);
  const read = readShellDerivation(path, image.closure.storeRoot ?? "/");
  const machine = image.architecture === undefined ? atPlace(path, () => machineOf(read.system)) : {};
  const { closure, shell, env, certificates } = await ingredients(path, read, options);

  const programs = `${shell.slice(0, shell.lastIndexOf("/"))}:${OWN_DIRECTORY}/bin`;
  const { variables, files } = atPlace(path, () => derivationEnvironment(read, `${OWN_DIRECTORY}/attributes`));
  const environment = shellEnvironment(variables, { path: programs, home, storeDir, certificates });
  const derivationPath = variables.get("PATH");
  const start = startScript({ shell, path: programs, derivationPath, command: options.command ?? options.run });
  const build = atPlace(path, () => {
    const args = read.args.map((arg, i) => textOf(arg, `argument ${i + 1} of the builder`));
    return buildScript(shell, textOf(read.builder, "the builder"), args);
  });
  const finalEnvironment = withVariables(environment, image.config?.get("Env"));
  atPlace(path, () => checkEnvironmentSize(finalEnvironment));
  const own: readonly FileSpec[] = [
    { target: BUILD_DIRECTORY, directory: true, uid, gid, uname: USER, gname: USER },
    { target: "/tmp", directory: true, mode: 0o1777 },
    { target: "/bin/sh", link: shell },
    { target: "/usr/bin/env", link: env },
    { target: START, text: start },
    { target: `${OWN_DIRECTORY}/bin/buildDerivation`, text: build, mode: 0o755 },
    ...[...files].map(([target, bytes]) => ({ target, bytes })),
  ];
  const config: JsonObject = new Map<string, Json>([
    ["User", `${uid}:${gid}`],
    ["WorkingDir", BUILD_DIRECTORY],
    ["Cmd", options.run === undefined ? [shell, "--rcfile", START] : [shell, START]],
    ...(image.config ?? []),
    ["Env", finalEnvironment],
  ]);
  const spec: ImageSpec = {
    ...machine,
    ...image,
    name: image.name ?? imageNameOf(path),
    tag: checkTag(image.tag ?? baseNameOf(path).slice(0, HASH_LENGTH), "tag"),
    closure,
    files: [...own, ...(image.files ?? [])],
    helpers: withUser(
      image.helpers ?? [],
      [`${USER}:x:${uid}:${gid}:Nix build user:${home}:/noshell`],
      [`${USER}:!:${gid}:`],
    ),
    nixDatabase: { uid, gid, uname: USER, gname: USER, ...image.nixDatabase },
    config,
  };
  checkConflicts(spec, "the image of a Nix shell");
  return spec;
}

const HASH_LENGTH = 32;

function readShellDerivation(path: StorePath, storeRoot: string): Derivation {
  if (!isDerivation(path)) {
    throw new OciNixError("invalid-input", `${path} is no derivation: its name does not end in .drv`, {
      hint: `nix-instantiate prints derivations; of what is built: nix-store --query --deriver ${path}`,
    });
  }
  const derivation = readDerivation(path, storeRoot);
  if (derivation.env.has("__json")) {
    throw new OciNixError("unsupported", `${path} has structured attributes, which are no environment`, {
      hint: "set __structuredAttrs = false in the Nix expression, where that will do",
    });
  }
  const floating = derivation.outputs.find((output) => output.path === undefined);
  if (floating !== undefined) throw contentAddressed(`the output ${floating.name} of ${path}`);
  return derivation;
}

/** What is shipped, and the programs in it that are needed. */
async function ingredients(
  path: StorePath,
  derivation: Derivation,
  { image, extra = [], shell }: ShellOptions,
): Promise<{
  readonly closure: ClosureSpec;
  readonly shell: string;
  readonly env: string;
  readonly certificates: string | undefined;
}> {
  const storeRoot = image.closure.storeRoot ?? "/";
  const storeDir = storeDirOf(path);
  const files = new StoreFiles(storeRoot, storeDir);
  const added = extra.map((each) => parseStorePath(each, storeDir));
  if (shell !== undefined) added.push(storePathOfShell(shell, storeDir, files));
  const roots = [...new Set([...inputPaths(derivation, storeRoot), ...added])];
  if (roots.length === 0) {
    throw new OciNixError("not-found", `${path} has no inputs, and so there is no shell`, { hint: ADD });
  }
  const closure = { ...image.closure, roots };
  const { objects } = await readClosure(closure);
  const programs = new Programs(files, [added, [...objects.keys()]]);
  return {
    closure,
    shell: shell ?? programs.need(BASH),
    env: programs.need(ENV),
    certificates: programs.find(CERTIFICATES),
  };
}

/** As nixpkgs names it, as far as images can have that name. */
function imageNameOf(path: StorePath): string {
  const name = nameOf(path).slice(0, -".drv".length).toLowerCase();
  const plain = name
    .replace(/[^a-z0-9._-]/g, "-")
    .replace(/[._-]{2,}/g, "-")
    .replace(/^[._-]|[._-]$/g, "");
  return plain === "" ? "env" : `${plain}-env`;
}

/** The environment with `NAME=value` entries that win. */
function withVariables(environment: readonly string[], given: Json | undefined): readonly string[] {
  const entries = Array.isArray(given) ? given.filter((entry) => typeof entry === "string") : [];
  const names = new Set(entries.map(nameOfVariable));
  return [...environment.filter((entry) => !names.has(nameOfVariable(entry))), ...entries];
}

function nameOfVariable(entry: string): string {
  return entry.split("=", 1)[0] as string;
}

/** The helpers, with users and groups that programs can look up. */
function withUser(
  helpers: readonly HelperSpec[],
  passwd: readonly string[],
  group: readonly string[],
): readonly HelperSpec[] {
  const given = helpers.find(({ name }) => name === "fakeNss");
  return [
    ...helpers.filter((helper) => helper !== given),
    {
      name: "fakeNss",
      extraPasswdLines: [...(given?.extraPasswdLines ?? []), ...passwd],
      extraGroupLines: [...(given?.extraGroupLines ?? []), ...group],
    },
  ];
}
