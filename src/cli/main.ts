import { COMMANDS, flagsOf } from "./commands.js";
import { formatCommandHelp, formatHelp } from "./help.js";

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
  process.stdout.write(text);
  return 0;
}

/** The text that is asked for, if one is. */
function answer([word, ...rest]: readonly string[], version: string): string | undefined {
  if (word === "--version") return `${version}\n`;
  if (word === "help") return answer([...rest, "--help"], version);
  if (word === "--help" || word === "-h") return formatHelp(COMMANDS);
  const command = COMMANDS.find(({ name }) => name === word);
  if (command !== undefined && rest.includes("--version")) return `${version}\n`;
  const help = rest.some((arg) => arg === "--help" || arg === "-h");
  return command !== undefined && help ? formatCommandHelp(command, flagsOf(command)) : undefined;
}
