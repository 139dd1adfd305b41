import { type ByteString, encodeUtf8 } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { GeneratedObject, SpecialFile } from "../../core/generated-object.js";
import { EntryCursor, type EntryList } from "../../tar/entry-list.js";
import type { SourceOptions } from "../../transport/open.js";
import type { VirtualMachineSpec } from "../spec/parts.js";

/** A script that changes an image as root of a machine of its own. */
export interface RootRun {
  readonly script: string;
  /** Place of the image below, whose files are there, too. */
  readonly fromImage: string | undefined;
  /** How it is read. */
  readonly reading: Pick<SourceOptions, "platform" | "tlsVerify" | "deadlineMs">;
  /** What the image itself has, without store paths. */
  readonly own: EntryList;
  /** The store paths that are there. */
  readonly store: EntryList;
  readonly memoryMiB: number | undefined;
  /** Room for what it writes. */
  readonly diskMiB: number | undefined;
  /** What the machine runs, where it is not what is installed. */
  readonly system: VirtualMachineSpec | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onLine: ((line: string) => void) | undefined;
}

/** Runs such scripts: gives what is then the image's own, with whiteouts for what is gone of the image below. */
export type RootRunner = (run: RootRun) => Promise<{
  readonly layer: EntryList;
  /** Removes the files that it refers to. */
  close(): void;
}>;

/**
 * What an image has besides store paths after a script that runs as root.
 * @throws OciNixError `unsupported` without a runner; `invalid-input` where it changed the store; as the runner
 */
export async function runRootScript(
  run: RootRun,
  storeDir: string,
  runner: RootRunner | undefined,
): Promise<{ readonly objects: readonly (GeneratedObject | SpecialFile)[]; close(): void }> {
  if (runner === undefined) {
    throw new OciNixError("unsupported", "runAsRoot needs a virtual machine, and nothing is there to run one", {
      hint: "from a library: planImage(spec, { rootRunner: runInVirtualMachine })",
    });
  }
  const { layer, close } = await runner(run);
  try {
    return { objects: objectsOf(layer, encodeUtf8(storeDir.slice(1))), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Whether it is nothing that a tree on this machine can have: a whiteout, which says that something of an image below is gone, or a device. */
export function isForLayersOnly({ path, type }: GeneratedObject | SpecialFile): boolean {
  if (type === "character" || type === "block" || type === "fifo") return true;
  return type === "file" && path.slice(path.lastIndexOf("/") + 1).startsWith(".wh.");
}

function objectsOf(layer: EntryList, store: ByteString): readonly (GeneratedObject | SpecialFile)[] {
  const objects: (GeneratedObject | SpecialFile)[] = [];
  const cursor = new EntryCursor(layer);
  while (cursor.next()) {
    const { path, type, mode, owner, linkTarget, contents, source, size, device } = cursor;
    if (path === "") continue;
    if (path.startsWith(`${store}/`)) {
      throw new OciNixError("invalid-input", `runAsRoot changed /${path}, in the store, which holds store paths only`, {
        hint: "what is to be in the store is built by Nix and given as a root",
      });
    }
    const common = { path: `/${path}`, mode, owner, source: "runAsRoot" };
    if (type === "directory") objects.push({ ...common, type });
    else if (type === "symlink") objects.push({ ...common, type, linkTarget });
    else if ((type === "character" || type === "block") && device !== undefined)
      objects.push({ ...common, type, device });
    else if (type === "fifo") objects.push({ ...common, type });
    else objects.push({ ...common, type: "file", ...(contents ? { contents } : { copyOf: source, size }) });
  }
  return objects;
}
