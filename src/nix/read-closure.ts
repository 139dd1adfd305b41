import { OciNixError } from "../core/errors.js";
import { parsePlainJson } from "../core/json.js";
import { readTextFile } from "../core/json-file.js";
import { type Closure, closureSizes } from "./closure.js";
import { ACCEPTED_CLOSURES, buildClosure, type DescriptionOptions } from "./described-closure.js";
import { describeGraphJson } from "./graph-json.js";
import { parseRegistration } from "./registration.js";

/**
 * Reads a closure from any text that Nix or we export it as, recognised by shape: registration, exportReferencesGraph text, and the
 * JSON forms of {@link describeGraphJson}. A byte order mark and empty lines at the end are ignored.
 *
 * @throws OciNixError `invalid-input`: empty, unknown shape, wrong content, paths of two stores, not closed, cyclic; `not-found`: a root
 *   is not in it
 */
export function parseClosure(text: string, options: DescriptionOptions): Closure {
  const { source } = options;
  const content = text.replace(/^\ufeff/, "");
  const start = content.trimStart();
  if (start === "") throw new OciNixError("invalid-input", `${source} is empty`, { hint: ACCEPTED_CLOSURES });
  if (start.startsWith("/")) return buildClosure(parseRegistration(content, source), options);
  if (/^[{[]/.test(start)) return buildClosure(describeGraphJson(parsePlainJson(content, source), source), options);
  const line = start.split(/\r?\n/, 1)[0] as string;
  const shown = JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
  throw new OciNixError("invalid-input", `${source} is not a closure graph: it starts with ${shown}`, {
    hint: ACCEPTED_CLOSURES,
  });
}

/**
 * {@link parseClosure} of a file's content.
 * @throws OciNixError also `not-found` and `unreadable`; `invalid-input` where it is not UTF-8; `limit` where it is larger than 500 MiB, or
 *   does not end
 */
export async function readClosureFile(
  path: string,
  options: Omit<DescriptionOptions, "source"> = {},
): Promise<Closure> {
  return parseClosure(await readTextFile(path, { max: MAX_CLOSURE, hint: ACCEPTED_CLOSURES }), {
    ...options,
    source: path,
  });
}

/** Bytes of a closure: it is one string, which JavaScript has of 512 MiB at most. A closure of 100,000 paths is about a tenth of it. */
const MAX_CLOSURE = 500 * 1024 * 1024;

/**
 * The closure graph as JSON text: an array of `{path, narHash, narSize, closureSize, references}` sorted by path, indented by two
 * spaces, with a newline at the end. What is unknown is left out. {@link parseClosure} reads it back; roots, derivers and content
 * addresses are not in it. Equal closures give equal text.
 */
export function formatClosure(closure: Closure): string {
  const sizes = closureSizes(closure);
  const graph = [...closure.objects.values()].map(({ path, narHash, narSize, references }) => ({
    path,
    narHash,
    narSize,
    closureSize: sizes.get(path),
    references,
  }));
  return `${JSON.stringify(graph, undefined, 2)}\n`;
}
