import { resolve } from "node:path";
import {
  DOCKERTOOLS_FUNCTIONS,
  type Input,
  OciNixError,
  readJsonFile,
  translateDockertoolsArguments,
} from "../index.js";
import { type FlagValues, text } from "./command.js";

/**
 * The input that `--dockertools-args` gives; undefined where it is not given.
 * @throws OciNixError `usage` where there is another input, or the function is given without arguments
 */
export async function dockertoolsInput(inputs: readonly string[], flags: FlagValues): Promise<Input | undefined> {
  const file = text(flags, "dockertools-args");
  const given = text(flags, "dockertools-function");
  if (file === undefined) {
    if (given === undefined) return undefined;
    throw new OciNixError("usage", "--dockertools-function says what --dockertools-args is, which is not given");
  }
  const [input] = inputs;
  if (input !== undefined) {
    throw new OciNixError("usage", `--dockertools-args takes the place of the input, but ${input} is given, too`, {
      hint: "what is to be in the image is in contents, copyToRoot and config",
    });
  }
  const { spec, archive } = translateDockertoolsArguments(await readJsonFile(file), {
    source: file,
    function: DOCKERTOOLS_FUNCTIONS.find((name) => name === given),
    storeDir: text(flags, "store-dir"),
    // Files that arguments name are beside them otherwise.
    storeRoot: resolve(text(flags, "store-root") ?? "/"),
  });
  return { kind: "spec", json: spec, source: file, archive };
}
