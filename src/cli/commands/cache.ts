import {
  cacheDirectory,
  cacheInfo,
  exportCache,
  importCache,
  OciNixError,
  parseByteSize,
  pruneCache,
  readTextFile,
  readTextStream,
  writeOutput,
} from "../../index.js";
import { type FlagValues, type Invocation, number, text } from "../command.js";
import { formatBytes, printError, printOutput } from "../ui.js";

/** Prints what the cache holds. */
export async function info({ inputs, flags, signal }: Invocation): Promise<void> {
  refuseInputs("info", inputs);
  const found = cacheInfo(directoryOf(flags));
  if (flags.json === true) {
    await printOutput(`${JSON.stringify(found, undefined, 2)}\n`, signal);
    return;
  }
  const { directory, digests, blobs } = found;
  const known =
    digests.unusable === undefined
      ? `of ${digests.layers} layers and ${digests.blobs} packed layers, ${formatBytes(digests.size)}`
      : `none that can be used (${digests.unusable}), ${formatBytes(digests.size)}`;
  const kept = `${blobs.count}, ${formatBytes(blobs.size)}`;
  await printOutput(`directory      ${directory}\ndigests        ${known}\npacked layers  ${kept}\n`, signal);
}

/** Removes what is not wanted any more. */
export async function prune({ inputs, flags, signal }: Invocation): Promise<void> {
  refuseInputs("prune", inputs);
  const size = text(flags, "max-size");
  const options = {
    olderThanDays: number(flags, "older-than"),
    maxBytes: size === undefined ? undefined : parseByteSize(size, "--max-size"),
    all: flags.all === true,
  };
  if (options.olderThanDays === undefined && options.maxBytes === undefined && !options.all) {
    throw new OciNixError("usage", "cache prune is not told what to remove", {
      hint: "--older-than DAYS, --max-size SIZE or --all",
    });
  }
  const summary = pruneCache(directoryOf(flags), options);
  const { digests, blobs, blobBytes } = summary;
  await report(
    `${digests} digests and ${blobs} packed layers removed, ${formatBytes(blobBytes)}`,
    summary,
    flags,
    signal,
  );
}

/** Writes all digests to a file. */
export async function exportDigests({ inputs, flags, signal }: Invocation): Promise<void> {
  const file = fileOf("export", inputs);
  const digests = exportCache(directoryOf(flags));
  await writeOutput(file, digests, signal);
}

/** Adds the digests of a file. */
export async function importDigests({ inputs, flags, signal }: Invocation): Promise<void> {
  const file = fileOf("import", inputs);
  const directory = directoryOf(flags);
  const source = file === "-" ? "standard input" : file;
  const digests = file === "-" ? await readTextStream(process.stdin, source) : await readTextFile(file);
  const summary = importCache(directory, digests, source);
  await report(`${summary.added} digests added, ${summary.known} known already`, summary, flags, signal);
}

async function report(line: string, summary: object, flags: FlagValues, signal: AbortSignal): Promise<void> {
  if (flags.json === true) await printOutput(`${JSON.stringify(summary, undefined, 2)}\n`, signal);
  else if (flags.quiet !== true) printError(line);
}

/** @throws OciNixError `usage` */
function directoryOf(flags: FlagValues): string {
  const directory = cacheDirectory(text(flags, "cache-dir"));
  if (directory !== undefined) return directory;
  throw new OciNixError("usage", "there is no home directory that could hold the cache", { hint: "--cache-dir DIR" });
}

/** @throws OciNixError `usage` */
function fileOf(command: string, inputs: readonly string[]): string {
  const [file, ...more] = inputs;
  if (file !== undefined && file !== "" && more.length === 0) return file;
  throw new OciNixError("usage", `cache ${command} takes one FILE, not ${inputs.length}`, {
    hint: `oci-nix cache ${command} FILE, or - for standard ${command === "export" ? "output" : "input"}`,
  });
}

/** @throws OciNixError `usage` */
function refuseInputs(command: string, [first]: readonly string[]): void {
  if (first === undefined) return;
  throw new OciNixError("usage", `cache ${command} takes no arguments, not ${JSON.stringify(first)}`);
}
