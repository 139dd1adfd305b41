import {
  composeNix2containerImage,
  formatNix2containerImage,
  formatNix2containerLayers,
  goTimestamp,
  imageFromDirectory,
  imageFromManifest as imageOfManifest,
  makeNix2containerLayers,
  type Nix2containerImage,
  OciNixError,
  writeOutput,
} from "../../index.js";
import { type FlagValues, type Invocation, number, text } from "../command.js";
import { formatBytes, printError } from "../ui.js";

/** Writes a layers file. */
export async function layers({ inputs, flags, signal }: Invocation): Promise<void> {
  const [output, graph, ...parents] = inputs;
  if (output === undefined || graph === undefined) throw missing("OUTPUT and GRAPH");
  const made = await makeNix2containerLayers(
    {
      ...{ graph, parents },
      maxLayers: number(flags, "max-layers"),
      ignore: text(flags, "ignore") || undefined,
      rewrites: text(flags, "rewrites") || undefined,
      perms: text(flags, "perms") || undefined,
      history: text(flags, "history") || undefined,
      tarDirectory: text(flags, "tar-directory") || undefined,
      storeRoot: text(flags, "store-root"),
    },
    signal,
  );
  await writeOutput(output, formatNix2containerLayers(made.layers), signal);
  const size = made.layers.reduce((sum, layer) => sum + layer.size, 0);
  const nothing = made.layers.length === 0 ? ": every store path is ignored or in a parent layer" : "";
  const each = made.layers.map(
    ({ digest, size, paths }, i) => `layer ${i + 1}: ${digest}, ${formatBytes(size)}, ${paths.length} store paths`,
  );
  say(flags, { output, layers: made.layers.length, size, notes: made.notes }, [
    ...(flags.verbose === true || flags.debug === true ? each : []),
    ...made.notes.map((note) => `note: ${note}`),
    `${output}: ${made.layers.length} layers, ${formatBytes(size)}${nothing}`,
  ]);
}

/** Writes the image file of a config and layers. */
export async function image({ inputs, flags, signal }: Invocation): Promise<void> {
  const [output, config, ...layers] = inputs;
  if (output === undefined || config === undefined || layers.length === 0) throw missing("OUTPUT, CONFIG and LAYERS");
  const created = usage(() => goTimestamp(text(flags, "created") ?? "0001-01-01T00:00:00Z", "--created"));
  const composed = await composeNix2containerImage({
    ...{ config, layers, created },
    fromImage: text(flags, "from-image") || undefined,
    architecture: text(flags, "arch") ?? GOARCH[process.arch] ?? process.arch,
  });
  await writeImage(output, composed, { flags, signal });
}

/** Writes the image file of a directory that skopeo filled. */
export async function imageFromDir({ inputs, flags, signal }: Invocation): Promise<void> {
  const [output, directory] = exactly(2, inputs, "OUTPUT and DIRECTORY");
  await writeImage(output as string, await imageFromDirectory(directory as string), { flags, signal });
}

/** Writes the image file of a manifest and its blobs. */
export async function imageFromManifest({ inputs, flags, signal }: Invocation): Promise<void> {
  const [output, manifest, blobs] = exactly(3, inputs, "OUTPUT, MANIFEST and BLOBS");
  await writeImage(output as string, await imageOfManifest(manifest as string, blobs as string), { flags, signal });
}

/** What Go calls the machines that Node calls otherwise. */
const GOARCH: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le", loong64: "loong64" };

async function writeImage(
  output: string,
  image: Nix2containerImage,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
): Promise<void> {
  await writeOutput(output, formatNix2containerImage(image), signal);
  const { length } = image.layers;
  say(flags, { output, layers: length }, [`${output}: ${length} layers`]);
}

/** Says on standard error what was done, under `--json` as one object. */
function say(flags: FlagValues, summary: Readonly<Record<string, unknown>>, lines: readonly string[]): void {
  if (flags.json === true) printError(JSON.stringify(summary));
  else if (flags.quiet !== true) for (const line of lines) printError(line);
}

function exactly(count: number, inputs: readonly string[], names: string): readonly string[] {
  if (inputs.length < count) throw missing(names);
  if (inputs.length === count) return inputs;
  throw new OciNixError("usage", `too many arguments: ${JSON.stringify(inputs[count])} comes after ${names}`);
}

function missing(names: string): OciNixError {
  return new OciNixError("usage", `${names} must be given`);
}

/** A flag's value is the call's fault. */
function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
    throw new OciNixError("usage", error.message, error.hint === undefined ? {} : { hint: error.hint });
  }
}
