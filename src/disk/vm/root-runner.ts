import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { RootRun, RootRunner } from "../../build/customisation/root-script.js";
import type { ByteString } from "../../core/byte-string.js";
import { EntryCursor, EntryList } from "../../tar/entry-list.js";
import { readImageTree } from "../image-tree.js";
import { DiskTools } from "../tools.js";
import { layerOfChanges } from "./changes.js";
import { runAsRoot } from "./run-as-root.js";
import { entryAt, entryListOf, type TreeEntry } from "./tree-entries.js";

/** A script that waits for something would wait for ever. */
const DEADLINE_MS = 3600 * 1000;

/**
 * Runs scripts that change an image as root in a virtual machine. At its start a script finds the image below, with the image's own files and the
 * store over it.
 * @throws OciNixError as {@link readImageTree} and {@link runAsRoot}
 */
export const runInVirtualMachine: RootRunner = async (run) => {
  const { script, fromImage, reading, own, store, memoryMiB, diskMiB, system, signal, onLine } = run;
  const tools = new DiskTools({ signal });
  try {
    const below = await readBelow(fromImage, join(tools.directory, "below"), { ...reading, signal });
    const inBelow = pathsOf(below);
    const tree = laidOver([below, own, store]);
    const job = { script, memoryMiB, diskMiB, system, deadlineMs: DEADLINE_MS, signal, onLine };
    const changes = await runAsRoot({ tree, ...job }, tools);
    return {
      layer: layerOfChanges(changes, { own, isBelow: (path) => inBelow.has(path) }),
      close: () => tools.close(),
    };
  } catch (error) {
    tools.close();
    throw error;
  }
};

async function readBelow(
  fromImage: string | undefined,
  directory: string,
  options: RootRun["reading"] & { readonly signal: AbortSignal | undefined },
): Promise<EntryList> {
  if (fromImage === undefined) return new EntryList();
  mkdirSync(directory);
  const { tree } = await readImageTree(fromImage, { directory, ...options });
  return await tree.entries(options.signal);
}

function pathsOf(list: EntryList): ReadonlySet<ByteString> {
  const paths = new Set<ByteString>();
  for (const cursor = new EntryCursor(list); cursor.next(); ) paths.add(cursor.path);
  return paths;
}

/** Several trees as an engine lays layers over each other: directories coincide, and all else takes the place of what is below. */
function laidOver(lists: readonly EntryList[]): EntryList {
  const entries = new Map<ByteString, TreeEntry>();
  for (const list of lists) {
    for (const cursor = new EntryCursor(list); cursor.next(); ) {
      const { path, type } = cursor;
      if (type !== "directory" && entries.get(path)?.type === "directory") remove(entries, path);
      entries.set(path, entryAt(cursor));
    }
  }
  return entryListOf([...entries.values()]);
}

function remove(entries: Map<ByteString, unknown>, directory: ByteString): void {
  for (const path of [...entries.keys()]) if (path.startsWith(`${directory}/`)) entries.delete(path);
}
