import { findCommand } from "./commands.js";
import { flagsOf } from "./flags.js";
import { formatCommandHelp, formatGroupHelp, formatHelp } from "./help.js";

/**
 * Runs one command line. Help and version load nothing else.
 * @param args the arguments after the program's name
 * @returns the exit code; errors have been printed
 */
export async function main(args: readonly string[], version: string): Promise<number> {
  const text = answer(args, version);
  if (text === undefined) {
    const { run } = await import("./run.js");
    return await run(args);
  }
  try {
    await new Promise<void>((resolve, reject) => {
      process.stdout.once("error", reject);
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    });
    return 0;
  } catch (error) {
    const [{ OciNixError }, { reportError }] = await Promise.all([import("../index.js"), import("./ui.js")]);
    const message = `standard output: cannot write: ${(error as Error).message}`;
    reportError(new OciNixError("output", message, { cause: error }), {});
    return 1;
  }
}

/** The text that is asked for, if one is. */
function answer(args: readonly string[], version: string): string | undefined {
  const [word, ...others] = args;
  if (word === "--version") return `${version}\n`;
  if (word === "help") return answer([...others, "--help"], version);
  const { words, command, commands, rest } = findCommand(args);
  if (command === undefined) {
    if (rest[0] !== "--help" && rest[0] !== "-h") return undefined;
    return words === "" ? formatHelp(commands) : formatGroupHelp(words, commands);
  }
  if (rest.includes("--version")) return `${version}\n`;
  const help = rest.some((arg) => arg === "--help" || arg === "-h");
  return help ? formatCommandHelp(words, command, flagsOf(command)) : undefined;
}
