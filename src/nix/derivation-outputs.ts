import { readFileSync } from "node:fs";
import { compareStrings, describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { parseStorePath, type StorePath, storeDirOf } from "./store-path.js";

/** One output of a derivation whose store path is known before it is built. */
export interface DerivationOutput {
  /** Usually `out`. */
  readonly name: string;
  readonly path: StorePath;
}

// A derivation is text: Derive([("out","/nix/store/…","",""),…],…), the outputs first. Nix manual, "Derivation file format".
// Names and store paths hold no character that would have to be escaped.
const START = /(?:Derive\(|DrvWithVersion\("[^"\\]*",)\[(?=\()/y;
const OUTPUT = /\("([^"\\]+)","([^"\\]*)","[^"\\]*","[^"\\]*"\)(,|\])/y;

/**
 * The outputs that a derivation's text names, sorted by name. Those whose store path depends on what is built (floating
 * content-addressed ones) have none yet and are left out.
 *
 * @param source the text's file, for errors
 * @throws OciNixError `invalid-input` where the text is no derivation
 */
export function parseDerivationOutputs(text: string, storeDir: string, source: string): readonly DerivationOutput[] {
  START.lastIndex = 0;
  if (!START.test(text)) throw notADerivation(source);
  const outputs: DerivationOutput[] = [];
  OUTPUT.lastIndex = START.lastIndex;
  for (;;) {
    const match = OUTPUT.exec(text);
    if (match === null) throw notADerivation(source);
    const [, name, path, next] = match as unknown as readonly [string, string, string, string];
    if (path !== "") outputs.push({ name, path: parseStorePath(path, storeDir) });
    if (next === "]") return outputs.sort((a, b) => compareStrings(a.name, b.name));
  }
}

/**
 * {@link parseDerivationOutputs} of a derivation in the store.
 * @param storeRoot what stands before the store path to make it a file name
 * @throws OciNixError also `not-found` and `unreadable`
 */
export function readDerivationOutputs(derivation: StorePath, storeRoot: string): readonly DerivationOutput[] {
  const file = storeRoot.replace(/\/+$/, "") + derivation;
  let text: string;
  try {
    text = readFileSync(file, "latin1");
  } catch (error) {
    throw new OciNixError(
      errnoOf(error) === "ENOENT" ? "not-found" : "unreadable",
      `cannot read the derivation ${file}, whose outputs the Nix database lists: ${describeErrno(error)}`,
      { hint: "say with --store-root where the store is, or leave derivations out of the closure", cause: error },
    );
  }
  return parseDerivationOutputs(text, storeDirOf(derivation), file);
}

function notADerivation(source: string): OciNixError {
  return new OciNixError("invalid-input", `${source} is not a derivation as Nix writes them, though its name says so`);
}
