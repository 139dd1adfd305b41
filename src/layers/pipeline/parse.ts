import { nearest, OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, JsonNumber, shortened, wrong } from "../../core/json.js";

/** One step of a pipeline; `at` is what errors call it. Paths that a graph lacks are no error, as pipelines are shared by images. */
export type Operation = { readonly at: string } & (
  | { readonly name: "flatten" | "popularity_contest" | "reverse" }
  | { readonly name: "subcomponent_in" | "subcomponent_out" | "remove_paths"; readonly paths: ReadonlySet<string> }
  | {
      readonly name: "split_paths";
      readonly paths: ReadonlySet<string>;
      /** Paths of which all that they refer to directly is split off. */
      readonly childrenOf: ReadonlySet<string>;
    }
  | { readonly name: "limit_layers" | "split_every"; readonly count: number }
  | { readonly name: "reorder"; readonly keys: readonly string[] }
  | { readonly name: "over"; readonly key: string; readonly operation: Operation }
  | { readonly name: "map"; readonly operation: Operation }
  | { readonly name: "pipe"; readonly operations: readonly Operation[] }
);

/** A checked layering pipeline, as nixpkgs' `layeringPipeline` describes it. */
export interface Pipeline {
  readonly operations: readonly Operation[];
  /** What errors call it. */
  readonly at: string;
}

/** Operations of a pipeline at most, those inside others included. */
const MAX_OPERATIONS = 1000;

/** Operations inside each other at most. */
const MAX_DEPTH = 100;

interface Context {
  readonly at: string;
  readonly depth: number;
  /** Shared by the whole pipeline. */
  readonly seen: { operations: number };
}

/** What an operation's name is followed by. @throws OciNixError as {@link parsePipeline} */
type ParseArguments = (args: readonly Json[], context: Context) => Operation;

const none =
  (name: "flatten" | "popularity_contest" | "reverse"): ParseArguments =>
  (args, { at }) => {
    expect(args, 0, at, `["${name}"]`);
    return { name, at };
  };

const withPaths =
  (name: "subcomponent_in" | "subcomponent_out"): ParseArguments =>
  (args, { at }) => {
    expect(args, 1, at, `["${name}", ["/nix/store/…"]]`);
    return { name, at, paths: new Set(texts(args[0], `${at}[1]`)) };
  };

const withCount =
  (name: "limit_layers" | "split_every"): ParseArguments =>
  (args, { at }) => {
    expect(args, 1, at, `["${name}", 20]`);
    const [number] = args;
    const count = number instanceof JsonNumber && /^\d+$/.test(number.text) ? Number(number.text) : 0;
    if (count < 1) throw wrong(`${at}[1]`, "a whole number of at least 1", number);
    // No list is longer than that.
    return { name, at, count: Math.min(count, Number.MAX_SAFE_INTEGER) };
  };

const OPERATIONS = {
  flatten: none("flatten"),
  limit_layers: withCount("limit_layers"),
  map: (args, context) => {
    expect(args, 1, context.at, '["map", ["split_every", 20]]');
    return { name: "map", at: context.at, operation: parseOperation(args[0], inside(context, "[1]")) };
  },
  over: (args, context) => {
    const { at } = context;
    expect(args, 2, at, '["over", "rest", ["popularity_contest"]]');
    const key = text(args[0], `${at}[1]`);
    return { name: "over", at, key, operation: parseOperation(args[1], inside(context, "[2]")) };
  },
  pipe: (args, context) => {
    expect(args, 1, context.at, '["pipe", [["popularity_contest"], ["limit_layers", 20]]]');
    return { name: "pipe", at: context.at, operations: parseOperations(args[0], inside(context, "[1]")) };
  },
  popularity_contest: none("popularity_contest"),
  remove_paths: (args, { at }) => {
    expect(args, 1, at, '["remove_paths", ["/nix/store/…"]]');
    return { name: "remove_paths", at, paths: new Set(pathsIn(args[0], `${at}[1]`)) };
  },
  reorder: (args, { at }) => {
    expect(args, 1, at, '["reorder", ["rest", "main"]]');
    return { name: "reorder", at, keys: texts(args[0], `${at}[1]`) };
  },
  reverse: none("reverse"),
  split_every: withCount("split_every"),
  split_paths: (args, { at }) => {
    expect(args, 1, at, '["split_paths", ["/nix/store/…"]]');
    const [specs] = args;
    if (!Array.isArray(specs)) throw wrong(`${at}[1]`, 'an array of store paths and of {"children_of": …}', specs);
    const parents = specs.flatMap((spec: Json, i) =>
      typeof spec === "string" ? [] : parentsIn(spec, `${at}[1][${i}]`),
    );
    const paths = specs.filter((spec: Json): spec is string => typeof spec === "string");
    return { name: "split_paths", at, paths: new Set(paths), childrenOf: new Set(parents) };
  },
  subcomponent_in: withPaths("subcomponent_in"),
  subcomponent_out: withPaths("subcomponent_out"),
} as const satisfies Readonly<Record<Operation["name"], ParseArguments>>;

/**
 * Checks a pipeline: an array of operations, each an array of a name and its arguments.
 * @param at what errors call it; they add the position: `pipeline[2][1]`
 * @throws OciNixError `invalid-input` for an unknown operation (naming the nearest known one) or a wrong argument; `limit` for more than
 *   {@link MAX_OPERATIONS} operations, or more than {@link MAX_DEPTH} inside each other
 */
export function parsePipeline(json: Json, at: string): Pipeline {
  return { operations: parseOperations(json, { at, depth: 0, seen: { operations: 0 } }), at };
}

function parseOperations(json: Json | undefined, context: Context): Operation[] {
  if (!Array.isArray(json)) throw wrong(context.at, 'an array of operations, such as [["popularity_contest"]]', json);
  return json.map((item: Json, i) => parseOperation(item, inside(context, `[${i}]`)));
}

function parseOperation(json: Json | undefined, context: Context): Operation {
  const { at, depth, seen } = context;
  seen.operations++;
  if (seen.operations > MAX_OPERATIONS || depth > MAX_DEPTH) {
    const exceeded = depth > MAX_DEPTH ? `${MAX_DEPTH} levels` : `${MAX_OPERATIONS} operations`;
    throw new OciNixError("limit", `${at}: a layering pipeline may have at most ${exceeded}`);
  }
  const [name, ...args]: readonly Json[] = Array.isArray(json) ? json : [];
  if (typeof name !== "string") throw wrong(at, 'an operation, such as ["split_every", 20]', json);
  if (Object.hasOwn(OPERATIONS, name)) return OPERATIONS[name as Operation["name"]](args, context);
  const known = Object.keys(OPERATIONS);
  const near = nearest(shortened(name), known);
  throw new OciNixError("invalid-input", `${at}: unknown operation ${JSON.stringify(shortened(name))}`, {
    hint: near === undefined ? `one of ${known.join(", ")}` : `did you mean ${near}?`,
  });
}

function parentsIn(json: Json, at: string): readonly string[] {
  const parents = isJsonObject(json) && json.size === 1 ? json.get("children_of") : undefined;
  if (parents !== undefined) return pathsIn(parents, `${at}: children_of`);
  throw wrong(at, 'a store path, or {"children_of": "/nix/store/…"}', json);
}

/** One path, or an array of them. */
function pathsIn(json: Json | undefined, at: string): readonly string[] {
  return typeof json === "string" ? [json] : texts(json, at);
}

function inside({ at, depth, seen }: Context, position: string): Context {
  return { at: `${at}${position}`, depth: depth + 1, seen };
}

function expect(args: readonly Json[], count: number, at: string, example: string): void {
  if (args.length !== count) throw wrong(at, `of the form ${example}`);
}

function text(json: Json | undefined, at: string): string {
  if (typeof json === "string") return json;
  throw wrong(at, "a string", json);
}

function texts(json: Json | undefined, at: string): string[] {
  if (!Array.isArray(json)) throw wrong(at, "an array of strings", json);
  return json.map((item: Json, i) => text(item, `${at}[${i}]`));
}
