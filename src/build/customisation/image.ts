import type { ByteString } from "../../core/byte-string.js";
import { EventLoopTurns } from "../../core/event-loop-turns.js";
import type { GeneratedObject, SpecialFile } from "../../core/generated-object.js";
import type { Ownership } from "../../core/ownership.js";
import { compileRegex } from "../../core/regex.js";
import type { LayerContent } from "../../layers/plan.js";
import type { Closure } from "../../nix/closure.js";
import type { StorePath } from "../../nix/store-path.js";
import { linuxPlatform } from "../../oci/platform.js";
import { EntryList } from "../../tar/entry-list.js";
import type { SourceOptions } from "../../transport/open.js";
import { type FileTreeOptions, layerEntries, rootPrefix } from "../file-tree.js";
import type { ImageSpec } from "../spec/spec.js";
import { runCommands } from "./commands/commands.js";
import { customise, hasCommands, hasScripts } from "./customisation.js";
import { referencesOf } from "./references.js";
import { isForLayersOnly, type RootRunner, runRootScript } from "./root-script.js";

/** What is put into an image besides store paths. */
export interface Customisation {
  readonly objects: readonly (GeneratedObject | SpecialFile)[];
  /** The store paths that it refers to. */
  readonly references: readonly StorePath[];
  /** Removes the files that {@link objects} are copies of. */
  close(): void;
}

export interface CustomiseOptions {
  readonly closure: Closure;
  /** Store paths that are in the image at their own place. */
  readonly shipped: ReadonlySet<StorePath>;
  /** What is copied to the root, where commands change it. */
  readonly copied: readonly LayerContent[];
  /** Store paths that a script that runs as root finds. */
  readonly store: readonly LayerContent[];
  readonly rootRunner?: RootRunner | undefined;
  /** How registries are reached. */
  readonly registry: Pick<SourceOptions, "tlsVerify" | "deadlineMs">;
  /** Store paths that could be shipped as well. */
  readonly known: () => Promise<Iterable<StorePath>>;
  readonly files: Omit<FileTreeOptions, "signal">;
  /** Of what says nothing else. */
  readonly owner: Ownership;
  readonly mtime: number;
  readonly signal?: AbortSignal | undefined;
  readonly onCommandLine?: ((line: string) => void) | undefined;
}

/**
 * Makes what a spec's `contents`, `files`, `helpers` and commands amount to, and finds what it refers to.
 * @throws OciNixError see {@link customise}, {@link runCommands} and {@link referencesOf}
 */
export async function customiseImage(spec: ImageSpec, options: CustomiseOptions): Promise<Customisation> {
  const { closure, shipped, copied, known, files, owner, mtime, signal, onCommandLine: onLine } = options;
  const { storeDir } = closure;
  const { storeRoot } = files;
  const generated = await customise(spec, { storeDir, shipped, owner, signal });
  // A layer of nothing would begin with the directories above the store.
  const entriesOf = async (contents: readonly LayerContent[], generated: Customisation["objects"]) =>
    contents.length + generated.length === 0
      ? new EntryList()
      : await layerEntries({ contents, generated, reason: "" }, { ...files, owner, signal });
  const start =
    spec.runAsRoot === undefined
      ? { objects: generated, copied, close: () => undefined }
      : {
          ...(await runRootScript(
            {
              ...{ script: spec.runAsRoot, fromImage: spec.fromImage, signal, onLine },
              ...{ memoryMiB: spec.buildVMMemorySize, diskMiB: spec.diskSize, system: spec.vm },
              reading: {
                ...options.registry,
                platform: spec.architecture === undefined ? undefined : linuxPlatform(spec),
              },
              own: await entriesOf(copied, generated),
              store: await entriesOf(options.store, []),
            },
            storeDir,
            options.rootRunner,
          )),
          copied: [],
        };
  const made = await changed();
  try {
    const candidates = { known, storeRoot, storeDir };
    const objects = mayRefer(spec, made.objects);
    return { ...made, references: await referencesOf(objects, candidates, new EventLoopTurns(signal)) };
  } catch (error) {
    made.close();
    throw error;
  }

  /** What other commands leave of it; whiteouts and devices pass them by. */
  async function changed(): Promise<Pick<Customisation, "objects" | "close">> {
    if (!hasScripts(spec)) return start;
    try {
      const apart = start.objects.filter(isForLayersOnly);
      const others = start.objects.filter((each) => !isForLayersOnly(each));
      const left = await runCommands(spec, await entriesOf(start.copied, others), {
        ...{ owner, mtime, signal, onLine, keepsMode: ruledModes(start.copied, rootPrefix(storeRoot)) },
        store: { files: rootPrefix(storeRoot) + storeDir, directory: storeDir },
      });
      const close = () => {
        left.close();
        start.close();
      };
      return { objects: [...left.objects, ...apart], close };
    } catch (error) {
      start.close();
      throw error;
    }
  }
}

/** What may refer to store paths that nobody named: what links of contents lead to is known from those. */
function mayRefer(spec: ImageSpec, objects: Customisation["objects"]): Customisation["objects"] {
  if (hasCommands(spec)) return objects;
  const hasFiles = spec.files?.some((file) => "text" in file || "bytes" in file || "path" in file) === true;
  return hasFiles ? objects.filter(({ type }) => type === "file") : [];
}

/** Nobody can write in a store path's directories, which says nothing of what they are to be elsewhere, unless a permission rule does. */
function ruledModes(copied: readonly LayerContent[], prefix: ByteString): (source: ByteString) => boolean {
  const contents = copied.map(({ storePath, permissions = [] }) => {
    const rules = permissions.filter(({ mode }) => mode !== undefined);
    return { storePath, rules: rules.map(({ regex }) => compileRegex(regex, `a permission rule of ${storePath}`)) };
  });
  return (source) => {
    const path = source.slice(prefix.length);
    const isIn = (root: string) => path === root || path.startsWith(`${root}/`);
    const found = source.startsWith(prefix) ? contents.find(({ storePath }) => isIn(storePath)) : undefined;
    return found === undefined || found.rules.some((rule) => rule.test(path));
  };
}
