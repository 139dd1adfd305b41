import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";

/**
 * What a tool said of an image that it failed on, without the place of temporary files.
 * @throws the error itself where the machine is to blame: a tool is missing, the run was interrupted
 */
export function failureOf(error: unknown, tools: DiskTools): string {
  if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
  return error.message.replaceAll(`${tools.directory}/`, "");
}
