import { wrong } from "../../core/json.js";
import type { LayerHistory, PermissionRule } from "../../layers/plan.js";
import { MAX_LAYERS, STRATEGY_NAMES } from "../../layers/plan-layers.js";
import {
  arrayOf,
  type Check,
  field,
  flag,
  mode,
  OWNER_FIELDS,
  object,
  objectOf,
  text,
  texts,
  wholeNumber,
} from "./checks.js";
import { absolutePath, regex, storeDirectory } from "./values.js";

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

/** What a virtual machine runs before anything of an image's: files of this machine, by default those that are installed. */
export interface VirtualMachineSpec {
  /** A Linux kernel (bzImage). Goes with `modules`. */
  readonly kernel?: string | undefined;
  /** The directory with its modules: `…/lib/modules/VERSION`. */
  readonly modules?: string | undefined;
  /** A static busybox. */
  readonly busybox?: string | undefined;
}

const layerCount = wholeNumber(MAX_LAYERS, 1);

/** Checks one of `perms`. */
export const permission = objectOf(
  {
    path: field("Store path below which the rule applies", text),
    regex: field("RE2 expression that the source path must match anywhere", regex),
    mode: field("Mode in octal", mode, { examples: ["0755"] }),
    ...OWNER_FIELDS,
  },
  ["path", "regex"],
  ({ path, regex, ...others }, where): PermissionSpec => {
    if (path === undefined || regex === undefined) throw wrong(where, 'an object with "path" and "regex"');
    return { ...others, path, regex };
  },
);

const history: Check<LayerHistory> = object({
  created_by: field("What made the layer", text),
  author: field("Who made the layer", text),
  comment: field("Anything else", text),
});

/** Checks one of `layers`. */
export const layer = objectOf(
  {
    deps: field("Store paths that the layer holds, with all they refer to", texts),
    copyToRoot: field("Store paths whose contents go to the root of the image", texts),
    perms: field("Modes and owners of what a regular expression matches", arrayOf(permission)),
    exclude: field("Store paths that the layer leaves out", texts),
    strategy: field("How the layer is split where it may be several", text, { examples: STRATEGY_NAMES }),
    maxLayers: field("Layers at most", layerCount, { default: 1 }),
    history: field("What the image's history says of the layer", history),
  },
  [],
  (checked, where): LayerSpec => {
    if ((checked.deps ?? []).length + (checked.copyToRoot ?? []).length > 0) return checked;
    throw wrong(where, 'an object with store paths in "deps" or "copyToRoot"');
  },
);

export const nixDatabase: Check<NixDatabaseSpec> = object({
  enable: field("Whether there is to be a Nix database", flag, { default: true }),
  ...OWNER_FIELDS,
  directoryMode: field("Mode of the database's directories and of the store", mode, { default: "0755" }),
  fileMode: field("Mode of the database's files", mode, { default: "0644" }),
});

/** Where a spec says its store paths come from. */
export const closure: Check<ClosureSpec> = object({
  roots: field("Store paths whose closure is shipped", texts),
  graph: field("File of the closure graph, instead of the Nix database", text),
  storeRoot: field("Directory below which the store's files are", text, { default: "/" }),
  storeDir: field("The store directory, where it is not that of the store paths", storeDirectory),
});

/** Checks `vm`. */
export const virtualMachine = objectOf(
  {
    kernel: field("File of its Linux kernel (bzImage), by default one that is installed", absolutePath),
    modules: field("Directory of that kernel's modules (lib/modules/VERSION)", absolutePath),
    busybox: field("File of its static busybox, by default that on the PATH", absolutePath),
  },
  [],
  (checked, where): VirtualMachineSpec => {
    if ((checked.kernel === undefined) === (checked.modules === undefined)) return checked;
    throw wrong(where, 'an object with both "kernel" and "modules", or neither');
  },
);
