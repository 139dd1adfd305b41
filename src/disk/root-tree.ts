import { statSync } from "node:fs";
import { rootPrefix } from "../build/file-tree.js";
import { checkStorePathsExist } from "../build/image-plan.js";
import { readClosure } from "../build/plan/closure.js";
import { encodeUtf8, fsPath } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { Closure } from "../nix/closure.js";
import { nixDatabaseTree } from "../nix/database-tree.js";
import { baseNameOf, DEFAULT_STORE_DIR, findStorePath, type StorePath, stateDirOf } from "../nix/store-path.js";
import type { EntryList } from "../tar/entry-list.js";
import type { BootLoaderFile } from "./boot-loader/boot-entry.js";
import { copyContents } from "./contents.js";
import type { DiskSpec } from "./disk-spec.js";
import { DiskTree, ROOT } from "./disk-tree.js";
import type { HardLinks } from "./ext4/plan.js";
import { readImageTree } from "./image-tree.js";
import { checkNixosPaths } from "./nixos-paths.js";
import type { ChangedEntry } from "./vm/changes.js";

/** What the root file system of a disk holds. */
export interface RootTree {
  /** A directory before what is in it, the root first, as an empty path. */
  readonly entries: EntryList;
  /** Which of them are further names of a file; they stand there as files, too. */
  readonly links: HardLinks;
  /** Store paths that are in it. */
  readonly storePaths: number;
}

export interface RootTreeOptions {
  /** A directory for the files of an image, which must stay until they are written to the disk. */
  readonly directory: string;
  /** Files of the boot loader. */
  readonly bootFiles?: readonly BootLoaderFile[] | undefined;
  /** What an installer that found all the rest left in the root file system; a directory comes before what is in it. */
  readonly installed?: readonly ChangedEntry[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where Linux and what it starts mount things. */
const MOUNT_POINTS: readonly (readonly [path: string, mode: number])[] = [
  ["/dev", 0o755],
  ["/proc", 0o755],
  ["/run", 0o755],
  ["/sys", 0o755],
  ["/tmp", 0o1777],
];

/**
 * Decides everything in the root file system that a spec asks for; reads no contents but those of images.
 * @param spec as `checkDiskSpec` gives it
 * @throws OciNixError for a closure or an image that cannot be read, a store path or a source that is missing, a system or a channel that is none, an
 *   owner that is not known, two things that want the same place
 */
export async function makeRootTree(spec: DiskSpec, options: RootTreeOptions): Promise<RootTree> {
  const { storeRoot = "/", storeDir: givenDir } = spec.closure ?? {};
  const { signal } = options;
  if (spec.fromImage !== undefined) {
    const { tree, links } = await readImageTree(spec.fromImage, { ...options, platform: spec.platform });
    await addContents(tree, spec, { ...options, storeRoot, storeDir: DEFAULT_STORE_DIR });
    return { entries: await tree.entries(signal), links, storePaths: 0 };
  }
  const closure = await closureOf(spec, givenDir);
  const paths = [...closure.objects.keys()];
  checkStorePathsExist(
    paths.map((storePath) => ({ contents: [{ storePath }], reason: "" })),
    storeRoot,
  );
  if (spec.onlyNixStore !== true) checkNixosPaths(spec, { storeRoot, storeDir: closure.storeDir });
  const tree = new DiskTree();
  const prefix = rootPrefix(storeRoot);
  const above = spec.onlyNixStore === true ? closure.storeDir.length : 0;
  for (const path of paths) tree.putStorePath(path.slice(above), prefix + path);
  if (spec.onlyNixStore !== true) {
    if (spec.nixDatabase !== false) addDatabase(tree, closure, storeRoot, spec);
    addProfiles(tree, closure, spec);
    await addContents(tree, spec, { ...options, storeRoot, storeDir: closure.storeDir });
  }
  for (const { path, ...node } of options.installed ?? []) {
    const source = node.type === "file" ? node.source : undefined;
    tree.replace(path, { ...node, source, from: "the boot loader's installer" });
  }
  return { entries: await tree.entries(signal), links: new Map(), storePaths: paths.length };
}

async function closureOf(spec: DiskSpec, storeDir: string | undefined): Promise<Closure> {
  const { closure = {}, toplevel, additionalPaths = [], channel } = spec;
  const added = [
    ...(toplevel === undefined ? [] : [toplevel]),
    ...additionalPaths,
    ...(channel === undefined ? [] : [channel]),
  ];
  for (const path of added) {
    if (path === findStorePath(path)?.storePath || storeDir !== undefined) continue;
    throw new OciNixError("invalid-input", `${path} is no store path`, {
      hint: "name a path such as /nix/store/…-name",
    });
  }
  // A graph without roots is taken whole.
  if (closure.graph !== undefined && closure.roots === undefined) {
    const whole = await readClosure(closure);
    const missing = added.find((path) => !whole.objects.has(path as StorePath));
    if (missing === undefined) return whole;
    throw new OciNixError("not-found", `${missing} is not in the graph ${closure.graph}`, {
      hint: "make the graph of it, too",
    });
  }
  return await readClosure({ ...closure, roots: [...new Set([...(closure.roots ?? []), ...added])] });
}

/** The Nix database. What keeps store paths from the garbage collector is left to {@link addProfiles}: on a disk, not all of them are roots. */
function addDatabase(tree: DiskTree, closure: Closure, storeRoot: string, { toplevel, ...spec }: DiskSpec): void {
  const { storeDir } = closure;
  const gcRoots = `${stateDirOf(storeDir)}/gcroots`;
  for (const object of nixDatabaseTree(closure.objects.values(), { storeDir, storeRoot, owner: ROOT })) {
    if (object.path.startsWith(`${gcRoots}/`)) continue;
    const contents = object.type === "file" && "contents" in object ? object.contents : undefined;
    const { path, type, mode } = object;
    tree.put(path, {
      type,
      mode,
      owner: ROOT,
      size: contents?.length ?? 0,
      linkTarget: "",
      contents,
      from: `the Nix database: ${path}`,
    });
  }
  const roots = spec.closure?.roots ?? (toplevel === undefined ? closure.roots : []);
  for (const root of new Set(roots)) {
    if (root !== toplevel) link(tree, `${gcRoots}/${baseNameOf(root as StorePath)}`, root);
  }
  link(tree, `${gcRoots}/profiles`, `${stateDirOf(storeDir)}/profiles`);
}

/** What nixos-install leaves besides: the system profile, root's channel. */
function addProfiles(
  tree: DiskTree,
  closure: Closure,
  { toplevel, channel, copyChannel = channel !== undefined }: DiskSpec,
): void {
  const profiles = `${stateDirOf(closure.storeDir)}/profiles`;
  if (toplevel !== undefined) {
    link(tree, `${profiles}/system`, "system-1-link");
    link(tree, `${profiles}/system-1-link`, toplevel);
  }
  if (channel !== undefined && copyChannel) {
    const channels = `${profiles}/per-user/root/channels`;
    link(tree, channels, "channels-1-link");
    link(tree, `${channels}-1-link`, channel);
    tree.ensureDirectory("/root", 0o700);
    tree.ensureDirectory("/root/.nix-defexpr", 0o700);
    link(tree, "/root/.nix-defexpr/channels", channels);
  }
}

async function addContents(
  tree: DiskTree,
  spec: DiskSpec,
  options: RootTreeOptions & { readonly storeRoot: string; readonly storeDir: string },
): Promise<void> {
  const { contents = [], configFile, toplevel, bootLoader } = spec;
  const configuration = "/etc/nixos/configuration.nix";
  const config = { where: "configFile", source: configFile ?? "", target: configuration, mode: 0o644, isFile: true };
  const named = contents.map((content, i) => ({ ...content, where: `contents[${i}]` }));
  await copyContents(tree, configFile === undefined ? named : [...named, config], options);
  if (toplevel !== undefined && !tree.has("/etc/NIXOS")) {
    tree.put("/etc/NIXOS", {
      type: "file",
      mode: 0o644,
      owner: ROOT,
      size: 0,
      linkTarget: "",
      contents: Buffer.alloc(0),
      from: "the NixOS system",
    });
  }
  for (const file of options.bootFiles ?? []) putBootFile(tree, file);
  if (toplevel === undefined && (bootLoader?.kind ?? "none") === "none") return;
  for (const [path, mode] of MOUNT_POINTS) tree.ensureDirectory(path, mode);
}

function putBootFile(tree: DiskTree, file: BootLoaderFile): void {
  const from = "the boot loader";
  const node = { type: "file", mode: 0o644, owner: ROOT, linkTarget: "", from } as const;
  if ("contents" in file) tree.put(file.path, { ...node, size: file.contents.length, contents: file.contents });
  else tree.put(file.path, { ...node, size: statSync(fsPath(file.source)).size, source: file.source });
}

function link(tree: DiskTree, path: string, target: string): void {
  tree.put(encodeUtf8(path), {
    type: "symlink",
    mode: 0o777,
    owner: ROOT,
    size: 0,
    linkTarget: encodeUtf8(target),
    from: "the Nix profiles",
  });
}
