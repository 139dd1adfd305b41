import {
  type Closure,
  CostModel,
  DEFAULT_MAX_LAYERS,
  type ImageSpec,
  OciNixError,
  planLayers,
  type Release,
  readClosure,
  readSpecClosure,
  replay,
  STRATEGY_NAMES,
  type StorePath,
  storePathsOf,
} from "../../index.js";
import { ratio } from "./planned.js";
import { columns, counted, size } from "./text.js";

/** What one strategy does with a closure, and with those before it. */
interface Comparison {
  readonly strategy: string;
  readonly layers: number;
  /** NAR bytes. */
  readonly biggestLayer: number | undefined;
  readonly expectedBytes: number | undefined;
  /** Undefined without history. */
  readonly fresh: Chain | undefined;
  readonly following: Chain | undefined;
}

/** What a chain of releases pushes after the first. */
interface Chain {
  readonly uploaded: number;
  readonly ideal: number;
  /** uploaded ÷ ideal; undefined where nothing had to be uploaded. */
  readonly ratio: number | undefined;
  readonly releases: readonly Release[];
}

/** The strategies that `--compare` names; each once. @throws OciNixError `usage` */
export function strategiesOf(text: string): readonly string[] {
  const names = [...new Set(text.split(",").map((name) => name.trim()))].filter((name) => name !== "");
  if (names.length > 0) return names;
  throw new OciNixError("usage", "--compare names no strategy", { hint: `--compare ${STRATEGY_NAMES.join(",")}` });
}

/**
 * Puts strategies side by side: on the closure of the spec alone, or on a history that it ends.
 * @param history files of closure graphs, oldest first
 * @throws OciNixError `invalid-input` where sizes are unknown; see {@link readClosure} and {@link planLayers}
 */
export async function compareStrategies(
  spec: ImageSpec,
  strategies: readonly string[],
  history: readonly string[],
): Promise<readonly Comparison[]> {
  const { storeDir } = spec.closure;
  const newest = await readSpecClosure(spec);
  const closures: Closure[] = [];
  for (const graph of history)
    closures.push(await readClosure({ graph, ...(storeDir === undefined ? {} : { storeDir }) }));
  closures.push(newest);
  if (history.length > 0) for (const closure of closures) checkSized(closure);
  const exclude = new Set((spec.exclude ?? []) as readonly StorePath[]);
  const { maxLayers = DEFAULT_MAX_LAYERS } = spec;
  const model = new CostModel(newest);
  return strategies.map((strategy) => {
    const layers = planLayers(newest, { strategy, maxLayers, exclude }).map(storePathsOf);
    const sizes = layers.map((paths) => narSizes(newest, paths));
    const chain = (follow: boolean) =>
      history.length === 0 ? undefined : chainOf(replay(closures, { strategy, maxLayers, exclude, follow }));
    const isSized = !sizes.some(Number.isNaN);
    return {
      strategy,
      layers: layers.length,
      biggestLayer: isSized ? Math.max(0, ...sizes) : undefined,
      expectedBytes: isSized
        ? Math.round(layers.reduce((sum, paths) => sum + model.expectedBytes(paths), 0))
        : undefined,
      fresh: chain(false),
      following: chain(true),
    };
  });
}

function checkSized({ objects }: Closure): void {
  for (const { path, narSize } of objects.values()) {
    if (narSize !== undefined) continue;
    throw new OciNixError(
      "invalid-input",
      `what releases push is counted in NAR bytes, and that of ${path} is not known`,
      {
        hint: "give closure graphs with narSize, such as oci-nix closure writes",
      },
    );
  }
}

/** Not a number where a size is unknown. */
function narSizes({ objects }: Closure, paths: readonly StorePath[]): number {
  return paths.reduce((sum, path) => sum + (objects.get(path)?.narSize ?? Number.NaN), 0);
}

function chainOf(releases: readonly Release[]): Chain {
  const updates = releases.slice(1);
  const uploaded = updates.reduce((sum, release) => sum + release.uploaded, 0);
  const ideal = updates.reduce((sum, release) => sum + release.ideal, 0);
  return { uploaded, ideal, ratio: ratio(uploaded, ideal), releases };
}

/** For people. */
export function formatComparison(compared: readonly Comparison[], history: number): string {
  const times = (chain: Chain | undefined) => (chain?.ratio === undefined ? "?" : `${chain.ratio.toFixed(2)}×`);
  const hasHistory = history > 0;
  const heading = [
    "strategy",
    "layers",
    "biggest",
    "per release",
    ...(hasHistory ? ["uploads", "÷ ideal", "following", "÷ ideal "] : []),
  ];
  const rows = compared.map(({ strategy, layers, biggestLayer, expectedBytes, fresh, following }) => [
    strategy,
    String(layers),
    size(biggestLayer),
    size(expectedBytes),
    ...(hasHistory ? [size(fresh?.uploaded), times(fresh), size(following?.uploaded), times(following)] : []),
  ]);
  const table = columns(heading, rows, new Set(heading.slice(1)));
  if (!hasHistory) return table;
  const ideal = size(compared[0]?.fresh?.ideal);
  return `${table}\nuploads of ${counted(history, "update")}, as NAR bytes; the ideal is ${ideal}. following: each release plans with the one before as --previous\n`;
}

/** For programs. */
export function formatComparisonJson(compared: readonly Comparison[], maxLayers: number | undefined): string {
  return `${JSON.stringify({ maxLayers: maxLayers ?? DEFAULT_MAX_LAYERS, strategies: compared }, undefined, 2)}\n`;
}
