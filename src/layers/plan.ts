import type { GeneratedObject, SpecialFile } from "../core/generated-object.js";
import type { StorePath } from "../nix/store-path.js";
import type { PreviousLayout } from "./previous.js";

/** Moves every path below a store path: all matches of an RE2 regex in the source path are replaced (`$1` expands). */
export interface Rewrite {
  readonly regex: string;
  readonly replacement: string;
  /** Whether files whose path becomes empty are left out, as nix2container does, rather than refused. */
  readonly leavesOut?: boolean;
}

/** Overrides owner and mode of the paths below a store path whose source path the RE2 regex matches anywhere. */
export interface PermissionRule {
  readonly regex: string;
  /** Permission bits with setuid, setgid and sticky; undefined keeps what the store or an earlier rule says. */
  readonly mode?: number;
  readonly uid: number;
  readonly gid: number;
  /** Undefined keeps what the layer or an earlier rule says. */
  readonly uname?: string;
  readonly gname?: string;
}

/** One store path in a layer; where it lands and who owns it can be overridden. */
export interface LayerContent {
  readonly storePath: StorePath;
  readonly rewrite?: Rewrite;
  readonly permissions?: readonly PermissionRule[];
}

/** Fields of a layer's history entry, as the image-spec names them. */
export interface LayerHistory {
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
}

/** What a layer will hold. It has no digest: nothing has been read yet. */
export interface LayerPlan {
  /** In the order of the strategy. */
  readonly contents: readonly LayerContent[];
  /** What exists nowhere yet. */
  readonly generated?: readonly (GeneratedObject | SpecialFile)[];
  /** Name of the tar profile that decides its bytes, where it is not the image's. */
  readonly tarProfile?: string;
  /** What the history is to say, besides the default. */
  readonly history?: LayerHistory;
  /** Why these are together, for people. */
  readonly reason: string;
}

/** What every strategy gets. */
export interface StrategyOptions {
  /** Store layers at most; at least 1. */
  readonly maxLayers: number;
  /** The image that this one follows, of which unchanged layers are kept. */
  readonly previous?: PreviousLayout | undefined;
}

/** The store paths of a plan, in its order. */
export function storePathsOf(plan: LayerPlan): StorePath[] {
  return plan.contents.map((content) => content.storePath);
}

/** A plan that holds whole store paths where they are. */
export function storeLayer(paths: readonly StorePath[], reason: string): LayerPlan {
  return { contents: paths.map((storePath) => ({ storePath })), reason };
}
