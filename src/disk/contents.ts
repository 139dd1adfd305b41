import { lstatSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { rootPrefix } from "../build/file-tree.js";
import { type Found, walkStore } from "../build/store-walk.js";
import { type ByteString, displayBytes, encodeUtf8, fsPath } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { EventLoopTurns } from "../core/event-loop-turns.js";
import type { DiskContent } from "./disk-spec.js";
import { type DiskNode, type DiskTree, ROOT } from "./disk-tree.js";
import { globPaths, isGlob } from "./glob.js";
import { readUsers } from "./users.js";

/** Where a path of this machine is read: what is in the store lies below the store root. */
function sourceOf(path: string, storeRoot: string, storeDir: string): ByteString {
  const absolute = resolve(path);
  return (absolute.startsWith(`${storeDir}/`) ? rootPrefix(storeRoot) : "") + encodeUtf8(absolute);
}

/**
 * The paths of this machine that a source stands for: itself, or what a pattern finds.
 * @throws OciNixError as `globPaths`
 */
export function sourcesOf(path: string, storeRoot: string, storeDir: string): readonly ByteString[] {
  const source = sourceOf(path, storeRoot, storeDir);
  return isGlob(source) ? globPaths(source) : [source];
}

/** One of a spec's `contents`, or what is copied like it. */
export interface NamedContent extends DiskContent {
  /** What errors call it. */
  readonly where: string;
  readonly isFile?: boolean | undefined;
}

/**
 * Copies a spec's `contents` into a root file system: directories whole, symlinks as they are. Owners are looked up once all is there, as
 * /etc/passwd may be among it.
 * @throws OciNixError `not-found` for a source or an owner that is not there; `conflict` where something is at a target already; as `walkStore`
 */
export async function copyContents(
  tree: DiskTree,
  contents: readonly NamedContent[],
  options: {
    readonly storeRoot: string;
    readonly storeDir: string;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const owned: { readonly nodes: readonly DiskNode[]; readonly content: NamedContent }[] = [];
  const turns = new EventLoopTurns(options.signal);
  for (const content of contents) {
    const { where } = content;
    const nodes: DiskNode[] = [];
    const source = sourceOf(content.source, options.storeRoot, options.storeDir);
    const target = encodeUtf8(content.target);
    const pairs = isGlob(source)
      ? globPaths(source).map((path) => [path, `${target}/${basename(path)}`] as const)
      : [[source, target] as const];
    if (pairs.length === 0) {
      throw new OciNixError("not-found", `${where}: nothing is called ${displayBytes(source)}`, {
        hint: CORRECT,
      });
    }
    for (const [from, to] of pairs) nodes.push(...(await copyOne(tree, from, to, content, turns)));
    if (content.user !== undefined) owned.push({ nodes, content });
  }
  const users = owned.length === 0 ? undefined : readUsers(tree);
  for (const { nodes, content } of owned) {
    const { user = "root", group = "root", where } = content;
    const owner = { ...ROOT, uid: users?.uid(user, where) ?? 0, gid: users?.gid(group, where) ?? 0 };
    for (const node of nodes) node.owner = owner;
  }
}

async function copyOne(
  tree: DiskTree,
  source: ByteString,
  target: ByteString,
  { mode, where, isFile = false }: NamedContent,
  turns: EventLoopTurns,
): Promise<readonly DiskNode[]> {
  const nodes: DiskNode[] = [];
  // A symlink to a directory stands for that directory.
  const isDirectory = leadsToDirectory(source);
  if (isFile && isDirectory) throw wrongSource(where, source, "is a directory, not a file");
  const start = isDirectory ? `${source}/.` : source;
  await walkSource(where, start, turns, (found) => {
    const { type, size, linkTarget } = found;
    const from = isDirectory ? source + found.source.slice(start.length) : found.source;
    const node: DiskNode = {
      ...{ type, size, linkTarget, from, owner: ROOT },
      mode: type === "symlink" ? 0o777 : modeOf(type, mode ?? found.mode, mode !== undefined),
      source: type === "file" ? from : undefined,
    };
    nodes.push(node);
    tree.put(target + found.source.slice(start.length), node);
  });
  return nodes;
}

/** As `walkStore`, whose errors speak of a store. */
async function walkSource(
  where: string,
  start: ByteString,
  turns: EventLoopTurns,
  visit: (found: Found) => void,
): Promise<void> {
  if (isSpecial(start)) throw wrongSource(where, start, "is no file, directory or symlink");
  try {
    await walkStore(start, compareStrings, turns, visit);
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    const { code, message, hint, cause } = error;
    const isOfStore = code === "not-found" || code === "invalid-input";
    const advice = isOfStore ? { hint: CORRECT } : hint === undefined ? {} : { hint };
    throw new OciNixError(code, `${where}: ${message}`, { ...advice, cause });
  }
}

const CORRECT = "correct its source";

function wrongSource(where: string, source: ByteString, what: string): OciNixError {
  return new OciNixError("invalid-input", `${where}: ${displayBytes(source)} ${what}`, { hint: CORRECT });
}

function isSpecial(path: ByteString): boolean {
  try {
    const stat = lstatSync(fsPath(path));
    return !stat.isFile() && !stat.isDirectory() && !stat.isSymbolicLink();
  } catch {
    // Whoever reads it says what is wrong with it.
    return false;
  }
}

function leadsToDirectory(path: ByteString): boolean {
  try {
    return statSync(fsPath(path)).isDirectory();
  } catch {
    // A symlink that leads nowhere is copied; whoever reads anything else says what is wrong with it.
    return false;
  }
}

function modeOf(type: DiskNode["type"], mode: number, isGiven: boolean): number {
  return type === "directory" && isGiven ? mode | ((mode & 0o444) >> 2) : mode;
}
