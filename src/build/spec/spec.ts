import { type Compression, parseCompression } from "../../core/compression.js";
import { OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.js";
import type { Schema } from "../../core/json-schema.js";
import { DEFAULT_TIMESTAMP, parseTimestamp, type Timestamp } from "../../core/timestamp.js";
import { type Pipeline, parsePipeline } from "../../layers/pipeline/parse.js";
import { DEFAULT_STRATEGY, STRATEGY_NAMES } from "../../layers/plan-layers.js";
import { checkContainerConfig } from "../../oci/container-config.js";
import { CONTAINER_CONFIG_SCHEMA } from "../../oci/container-config-fields.js";
import type { Inheritance } from "../../oci/inherit-config.js";
import { checkName, checkTag } from "../../oci/reference.js";
import { TAR_PROFILE_NAMES, type TarProfile, tarProfile } from "../../tar/profiles.js";
import { checkFile, checkHelpers, type FileSpec, type HelperSpec } from "../customisation/spec.js";
import {
  arrayOf,
  check,
  type Described,
  field,
  flag,
  OWNER_FIELDS,
  object,
  parsed,
  text,
  texts,
  wholeNumber,
} from "./checks.js";
import { checkConflicts } from "./conflicts.js";
import {
  type ClosureSpec,
  closure,
  type LayerSpec,
  layer,
  type NixDatabaseSpec,
  nixDatabase,
  type PermissionSpec,
  permission,
  type VirtualMachineSpec,
  virtualMachine,
} from "./parts.js";
import { architecture, inheritance, mebibytes, programDirectory, script } from "./values.js";

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
  /** Whether everything is in one layer, on top of those of `fromImage`. Goes with nothing that says how layers are split. */
  readonly oneLayer?: boolean | undefined;
  /** By default true. Without, only what goes to the root is in the image, and its links lead to a store that is mounted. */
  readonly includeStorePaths?: boolean | undefined;
  /** An image of which unchanged layers are kept: what `readPreviousLayout` takes. */
  readonly previous?: string | undefined;
  /** Store paths whose contents go to the root of the image. */
  readonly copyToRoot?: readonly string[] | undefined;
  /**
   * Whether `copyToRoot` copies as nixpkgs' buildImage does: without, a symlink to a directory becomes that directory; with it, such symlinks
   * stay, and directories of later store paths go through them. By default symlinks stay and nothing goes through.
   */
  readonly keepContentsDirlinks?: boolean | undefined;
  readonly perms?: readonly PermissionSpec[] | undefined;
  /** Store paths, or directories in them, whose trees are joined into the root by symlinks. What they refer to is shipped. */
  readonly contents?: readonly string[] | undefined;
  /** What is put into the image besides, and who owns it. */
  readonly files?: readonly FileSpec[] | undefined;
  /** Files that programs expect of a system. */
  readonly helpers?: readonly HelperSpec[] | undefined;
  /** A shell script that runs as root in a virtual machine, over `fromImage` and all that goes to the root, before the other commands. */
  readonly runAsRoot?: string | undefined;
  /** Room for what it writes, and memory of the virtual machine; MiB. */
  readonly diskSize?: number | undefined;
  readonly buildVMMemorySize?: number | undefined;
  /** What that machine runs. */
  readonly vm?: VirtualMachineSpec | undefined;
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

const time = { default: DEFAULT_TIMESTAMP.text, examples: ["2026-01-31T12:00:00Z", "now"] };

const FIELDS = {
  name: field("Image name", parsed(checkName), { examples: ["registry.example/app"] }),
  tag: field("Image tag", parsed(checkTag), { default: "latest" }),
  closure: field("Where the store paths come from", closure),
  strategy: field("How the closure is split into layers", text, {
    default: DEFAULT_STRATEGY,
    examples: STRATEGY_NAMES,
  }),
  // In a file it may be the name of another one, which holds it.
  pipeline: field(
    "A layeringPipeline of nixpkgs that splits the closure, or the file that holds it",
    check({ type: ["array", "string"], items: { type: "array", minItems: 1 } }, parsePipeline),
  ),
  maxLayers: field("Layers of the whole image at most", wholeNumber(Number.MAX_SAFE_INTEGER), { default: 100 }),
  oneLayer: field("Whether everything is in one layer, on top of those of fromImage", flag, { default: false }),
  includeStorePaths: field("Whether the image has the store paths, or only what links to them", flag, {
    default: true,
  }),
  previous: field("Place or file of the image that this one follows, of which unchanged layers are kept", text),
  fromImage: field("Place of the image that this one is made on top of", text, { examples: ["docker://alpine:3"] }),
  inheritConfig: field("What is taken over from the config of fromImage", inheritance),
  exclude: field("Store paths that are planned with but never shipped", texts),
  copyToRoot: field("Store paths whose contents go to the root of the image", texts),
  keepContentsDirlinks: field(
    "Whether symlinks to directories in copyToRoot stay (true), or become what they lead to (false)",
    flag,
  ),
  perms: field("Modes and owners of what a regular expression matches", arrayOf(permission)),
  contents: field("Store paths, or directories in them, whose trees are joined into the root by symlinks", texts),
  files: field("Texts, copies of files, directories and symlinks that are put into the image", arrayOf(checkFile)),
  runAsRoot: field(
    "Shell script that runs as root in a virtual machine, over fromImage and what goes to the root",
    script,
  ),
  diskSize: field("Room for what runAsRoot writes, in MiB", mebibytes, { default: 1024 }),
  buildVMMemorySize: field("Memory of the virtual machine of runAsRoot, in MiB", mebibytes, { default: 512 }),
  vm: field("What the virtual machine of runAsRoot runs, by default what is installed", virtualMachine),
  extraCommands: field("Shell script that changes what goes to the root, in a sandbox", script),
  fakeRootCommands: field("Shell script that does so as root, under fakeroot", script),
  enableFakechroot: field("Whether fakeRootCommands have what they change as their root", flag, { default: false }),
  commandPath: field("Directories with the programs for commands", arrayOf(programDirectory)),
  helpers: field("Files that programs expect of a system", checkHelpers),
  layers: field("Explicit layers, bottom first, below all others", arrayOf(layer)),
  nixDatabase: field("A Nix database of the store paths in the image", nixDatabase),
  config: field(
    "What containers run with: the image-spec's config",
    check(CONTAINER_CONFIG_SCHEMA, checkContainerConfig),
  ),
  architecture: field("CPU architecture as GOARCH names it", architecture, { default: "amd64" }),
  variant: field("Variant of the architecture", text, { examples: ["v8"] }),
  author: field("Who made the image", text),
  created: field("Creation time of the image", parsed(parseTimestamp), time),
  mtime: field("Modification time of the files", parsed(parseTimestamp), time),
  ...OWNER_FIELDS,
  tarProfile: field("Whose bytes the layers have", parsed(tarProfile, { enum: TAR_PROFILE_NAMES }), { default: "oci" }),
  compression: field("How build and push pack layers", parsed(parseCompression), {
    examples: ["none", "gzip", "zstd:19"],
  }),
} as const satisfies { readonly [Key in keyof Required<ImageSpec>]: Described<unknown> };

const checkSpecFile = object({ $schema: field("The schema of this file, for editors", text), ...FIELDS }, ["closure"]);

/** The JSON Schema of spec files, a draft 2020-12 document. */
export const SPEC_SCHEMA: Schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "oci-nix spec file",
  ...checkSpecFile.schema,
};

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
  const { $schema: _, ...checked } = checkSpecFile(json, source);
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
  checkConflicts(checked, source);
  if (checked.pipeline !== undefined && checked.strategy !== undefined) {
    throw new OciNixError("invalid-input", `${source}: both strategy and pipeline say how the closure is split`, {
      hint: "drop one of them",
    });
  }
  return { ...checked, closure };
}
