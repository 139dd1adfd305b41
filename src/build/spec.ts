import { type Compression, parseCompression } from "../core/compression.js";
import { OciNixError } from "../core/errors.js";
import { isJsonObject, type Json, type JsonObject } from "../core/json.js";
import { compileRegex } from "../core/regex.js";
import { parseTimestamp, type Timestamp } from "../core/timestamp.js";
import { type Pipeline, parsePipeline } from "../layers/pipeline/parse.js";
import type { LayerHistory } from "../layers/plan.js";
import { MAX_LAYERS } from "../layers/plan-layers.js";
import { checkContainerConfig } from "../oci/container-config.js";
import type { Inheritance } from "../oci/inherit-config.js";
import { checkName, checkTag } from "../oci/reference.js";
import { type TarProfile, tarProfile } from "../tar/profiles.js";
import {
  checkFile,
  checkHelpers,
  checkProgramDirectory,
  type FileSpec,
  type HelperSpec,
  script,
} from "./customisation/spec.js";
import {
  arrayOf,
  type Check,
  checkFields,
  flag,
  mode,
  OWNER_FIELDS,
  parsed,
  text,
  texts,
  wholeNumber,
  wrong,
} from "./spec-checks.js";

/** Where the closure comes from. */
export interface ClosureSpec {
  /** Store paths; without `graph` their closure is read from the Nix database under `storeRoot`. */
  readonly roots?: readonly string[] | undefined;
  /** A file that holds the closure graph, in any form that is read. */
  readonly graph?: string | undefined;
  /** Where the store's files are; by default `/`. */
  readonly storeRoot?: string | undefined;
  /** The store directory; by default that of the paths. */
  readonly storeDir?: string | undefined;
}

/** Mode and owner of what a regex matches: the spec's form of {@link PermissionRule}. */
export interface PermissionSpec {
  /** A store path that is shipped. */
  readonly path: string;
  /** RE2, matched anywhere in the source path. */
  readonly regex: string;
  readonly mode?: number | undefined;
  /** By default 0; `gid` likewise. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly uname?: string | undefined;
  readonly gname?: string | undefined;
}

/** An explicit layer, or several: what the layers before hold is left out. */
export interface LayerSpec {
  /** Store paths that are shipped with all they refer to. */
  readonly deps?: readonly string[] | undefined;
  readonly copyToRoot?: readonly string[] | undefined;
  readonly perms?: readonly PermissionSpec[] | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly strategy?: string | undefined;
  /** By default 1. */
  readonly maxLayers?: number | undefined;
  readonly history?: LayerHistory | undefined;
}

/** The Nix database in the image. */
export interface NixDatabaseSpec {
  /** By default true. */
  readonly enable?: boolean | undefined;
  /** Owner of the database, and of the directories above it; by default that of the image. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly uname?: string | undefined;
  readonly gname?: string | undefined;
  /** By default 0755: of the directories above the database, and of the store's. */
  readonly directoryMode?: number | undefined;
  /** By default 0644. */
  readonly fileMode?: number | undefined;
}

/** An image to be made from a closure: the spec file's content, and what the command line's flags amount to. */
export interface ImageSpec {
  readonly name?: string | undefined;
  /** By default `latest`. */
  readonly tag?: string | undefined;
  readonly closure: ClosureSpec;
  /** Place of the image that this one is made on top of: `docker://alpine@sha256:…`, `oci:base:1`. */
  readonly fromImage?: string | undefined;
  /** What is taken over from its config; by default all, or, with the tar profile `dockertools`, the environment. */
  readonly inheritConfig?: Inheritance | undefined;
  readonly strategy?: string | undefined;
  /** Splits what is in no explicit layer, instead of a strategy. */
  readonly pipeline?: Pipeline | undefined;
  /** Layers of the whole image at most; by default 100, with a pipeline 125. */
  readonly maxLayers?: number | undefined;
  /** An image of which unchanged layers are kept: what `readPreviousLayout` takes. */
  readonly previous?: string | undefined;
  /** Store paths whose contents go to the root of the image. */
  readonly copyToRoot?: readonly string[] | undefined;
  readonly perms?: readonly PermissionSpec[] | undefined;
  /** Store paths, or directories in them, whose trees are joined into the root by symlinks. What they refer to is shipped. */
  readonly contents?: readonly string[] | undefined;
  /** What is put into the image besides, and who owns it. */
  readonly files?: readonly FileSpec[] | undefined;
  /** Files that programs expect of a system. */
  readonly helpers?: readonly HelperSpec[] | undefined;
  /** Shell scripts that change what `copyToRoot`, `contents`, `files` and `helpers` amount to; see `Commands`. */
  readonly extraCommands?: string | undefined;
  readonly fakeRootCommands?: string | undefined;
  readonly enableFakechroot?: boolean | undefined;
  /** Directories that are PATH for them. */
  readonly commandPath?: readonly string[] | undefined;
  /** Explicit layers, bottom first, below all others. */
  readonly layers?: readonly LayerSpec[] | undefined;
  readonly nixDatabase?: NixDatabaseSpec | undefined;
  /** Store paths that are planned with but never shipped. */
  readonly exclude?: readonly string[] | undefined;
  /** The image-spec's `config` object. */
  readonly config?: JsonObject | undefined;
  readonly architecture?: string | undefined;
  readonly variant?: string | undefined;
  readonly author?: string | undefined;
  readonly created?: Timestamp | undefined;
  readonly mtime?: Timestamp | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly uname?: string | undefined;
  readonly gname?: string | undefined;
  readonly tarProfile?: TarProfile | undefined;
  /** How `build` packs layers; by default not at all. */
  readonly compression?: Compression | undefined;
}

const regex: Check<string> = (value, where) => {
  // An empty one matches everything, as for nix2container.
  if (typeof value !== "string") throw wrong(where, "a string");
  compileRegex(value, where);
  return value;
};

const layerCount: Check<number> = (value, where) => {
  const count = wholeNumber(MAX_LAYERS)(value, where);
  if (count === 0) throw wrong(where, `a whole number from 1 to ${MAX_LAYERS}`);
  return count;
};

const PERMISSION_FIELDS = { path: text, regex, mode, ...OWNER_FIELDS } as const;

const permission: Check<PermissionSpec> = (value, where) => {
  const { path, regex, ...others } = checkFields(value, PERMISSION_FIELDS, where);
  if (path === undefined || regex === undefined) throw wrong(where, 'an object with "path" and "regex"');
  return { ...others, path, regex };
};

const HISTORY_FIELDS = { created_by: text, author: text, comment: text } as const;

const LAYER_FIELDS = {
  deps: texts,
  copyToRoot: texts,
  perms: arrayOf(permission),
  exclude: texts,
  strategy: text,
  maxLayers: layerCount,
  history: (value: Json, where: string): LayerHistory => checkFields(value, HISTORY_FIELDS, where),
} as const;

const layer: Check<LayerSpec> = (value, where) => {
  const checked = checkFields(value, LAYER_FIELDS, where);
  if ((checked.deps ?? []).length + (checked.copyToRoot ?? []).length > 0) return checked;
  throw wrong(where, 'an object with store paths in "deps" or "copyToRoot"');
};

const NIX_DATABASE_FIELDS = { enable: flag, ...OWNER_FIELDS, directoryMode: mode, fileMode: mode } as const;

const CLOSURE_FIELDS = { roots: texts, graph: text, storeRoot: text, storeDir: parsed(checkStoreDir) } as const;

const FIELDS = {
  name: parsed(checkName),
  tag: parsed(checkTag),
  closure: (value: Json, where: string): ClosureSpec => checkFields(value, CLOSURE_FIELDS, where),
  strategy: text,
  pipeline: parsePipeline,
  maxLayers: wholeNumber(Number.MAX_SAFE_INTEGER),
  previous: text,
  fromImage: text,
  inheritConfig: (value: Json, where: string): Inheritance => {
    if (value === true || value === "all") return "all";
    if (value === false || value === "none") return "none";
    if (value === "env") return "env";
    throw wrong(where, 'true, false or "env"');
  },
  exclude: texts,
  copyToRoot: texts,
  perms: arrayOf(permission),
  contents: texts,
  files: arrayOf(checkFile),
  helpers: checkHelpers,
  extraCommands: script,
  fakeRootCommands: script,
  enableFakechroot: flag,
  commandPath: arrayOf(parsed(checkProgramDirectory)),
  layers: arrayOf(layer),
  nixDatabase: (value: Json, where: string): NixDatabaseSpec => checkFields(value, NIX_DATABASE_FIELDS, where),
  config: checkContainerConfig,
  architecture: parsed(checkArchitecture),
  variant: text,
  author: text,
  created: parsed(parseTimestamp),
  mtime: parsed(parseTimestamp),
  ...OWNER_FIELDS,
  tarProfile: parsed(tarProfile),
  compression: parsed(parseCompression),
} as const satisfies { readonly [Key in keyof Required<ImageSpec>]: Check<unknown> };

/** Whether JSON has the shape of a spec file: an object with a `closure` object that is no export of a closure graph. */
export function isSpec(json: Json): json is JsonObject {
  return isJsonObject(json) && isJsonObject(json.get("closure"));
}

/**
 * Checks a spec.
 * @param source what errors call it
 * @throws OciNixError `invalid-input` for a missing closure, an unknown key (naming the nearest known one) or a wrong value
 */
export function checkSpec(json: Json, source: string): ImageSpec {
  const checked = checkFields(json, FIELDS, source);
  const { closure } = checked;
  const named = [
    checked.copyToRoot,
    checked.contents,
    ...(checked.layers ?? []).flatMap((layer) => [layer.deps, layer.copyToRoot]),
  ];
  if (closure === undefined || (closure.roots === undefined && closure.graph === undefined && !named.some(Boolean))) {
    throw new OciNixError("invalid-input", `${source}: closure needs roots or graph`, {
      hint: '"closure": {"roots": ["/nix/store/…"]}',
    });
  }
  if (checked.tag !== undefined && checked.name === undefined) {
    throw new OciNixError("invalid-input", `${source}: a tag needs a name`, { hint: "give a name, too" });
  }
  if (checked.pipeline !== undefined && checked.strategy !== undefined) {
    throw new OciNixError("invalid-input", `${source}: both strategy and pipeline say how the closure is split`, {
      hint: "drop one of them",
    });
  }
  return { ...checked, closure };
}

/** What GOARCH calls the machines that uname and Nix call otherwise. */
const GOARCH: Readonly<Record<string, string>> = {
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  i686: "386",
  i386: "386",
  armv7l: "arm (with variant v7)",
  armv6l: "arm (with variant v6)",
};

function checkArchitecture(architecture: string, where: string): string {
  if (!Object.hasOwn(GOARCH, architecture) && /^[a-z0-9_]+$/.test(architecture)) return architecture;
  const go = GOARCH[architecture];
  throw new OciNixError(
    "invalid-input",
    `${where}: ${JSON.stringify(architecture)} is not an architecture as images name it (GOARCH)`,
    { hint: go === undefined ? "for example amd64, arm64, riscv64" : `it is called ${go}` },
  );
}

function checkStoreDir(directory: string, where: string): string {
  const trimmed = directory.replace(/\/+$/, "");
  if (/^(\/[^/]+)+$/.test(trimmed) && !/\/\.\.?(\/|$)/.test(trimmed)) return trimmed;
  throw wrong(where, "an absolute path such as /nix/store");
}
