import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";

/**
 * What a tool said of an image that it failed on, in one line, without the place of temporary files, control characters and rows of asterisks.
 * @throws the error itself where the machine is to blame: a tool is missing, the run was interrupted
 */
export function failureOf(error: unknown, tools: DiskTools): string {
  // No sound image keeps a tool so busy.
  const isOfImage = error instanceof OciNixError && (error.code === "invalid-input" || error.code === "limit");
  if (!isOfImage) throw error;
  const words = error.message.replaceAll(`${tools.directory}/`, "").replace(/\*{2,}/g, "");
  return words.replace(/[\p{Cc}\s]+/gu, " ").trim();
}

/** What a tool says in JSON. @throws OciNixError `invalid-input` where it is none: names in an image may have spoilt it */
export function jsonOf(words: string, command: string): unknown {
  try {
    return JSON.parse(words);
  } catch (cause) {
    throw new OciNixError("invalid-input", `what ${command} says cannot be read`, { cause });
  }
}
