import { readFileSync } from "node:fs";
import { describeErrno, errnoOf, OciNixError } from "./errors.js";
import { type Json, parseJson } from "./json.js";

/** Reads a JSON file. @throws OciNixError as {@link readTextFile}; `invalid-input` where it is not JSON */
export function readJsonFile(file: string): Json {
  return parseJson(readTextFile(file), file);
}

/**
 * Reads a file of text; it may be a pipe, as a shell's `<(…)` is one.
 * @throws OciNixError `not-found` or `unreadable`; `invalid-input` where it is not UTF-8
 */
export function readTextFile(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "unreadable";
    throw new OciNixError(code, `cannot read ${file}: ${describeErrno(error)}`, { cause: error });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new OciNixError("invalid-input", `${file} is not text in UTF-8`, { cause: error });
  }
}
