import { parseArgs } from "node:util";
import { nearest, OciNixError } from "../index.js";
import type { Command, Flag, FlagValues } from "./command.js";
import { findCommand, type Named } from "./commands.js";
import { exitStatusOf } from "./exit-status.js";
import { flagsOf } from "./flags.js";
import { Interrupts } from "./signals.js";
import { reportError } from "./ui.js";

/**
 * Runs one command.
 * @param args the arguments after the program's name
 * @returns the exit code; errors have been printed
 */
export async function run(args: readonly string[]): Promise<number> {
  // Errors before the flags are parsed still have to know whether they are wanted as JSON.
  let flags: FlagValues = { json: args.includes("--json") };
  const interrupts = new Interrupts((reason) => reportError(reason, flags));
  try {
    const parsed = parse(args);
    flags = parsed.flags;
    const { default: runCommand } = await parsed.command.load();
    const code = await runCommand({ inputs: parsed.inputs, flags, signal: interrupts.signal });
    return typeof code === "number" ? code : 0;
  } catch (error) {
    reportError(withoutDescriptors(error) ?? error, flags);
    return interrupts.exitCode ?? (error instanceof OciNixError ? exitStatusOf(error.code) : 1);
  } finally {
    interrupts.stop();
  }
}

/** Wherever there is no descriptor left, be it for a module, that is nobody's defect. */
function withoutDescriptors(error: unknown): OciNixError | undefined {
  const { code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (error instanceof OciNixError || (code !== "EMFILE" && code !== "ENFILE")) return undefined;
  return new OciNixError("limit", `too many files are open (${code})`, {
    hint: "ulimit -n 1024 allows more",
    cause: error,
  });
}

interface Parsed {
  readonly command: Command;
  readonly inputs: readonly string[];
  readonly flags: FlagValues;
}

/** @throws OciNixError `usage` */
function parse(args: readonly string[]): Parsed {
  const { words, command, commands, rest } = findCommand(args);
  if (command === undefined) throw noCommand(words, commands, rest);
  const flags = flagsOf(command);
  const { tokens } = parseArgs({
    args: [...rest],
    // Not strict: its errors name no nearest flag, and it would refuse values that begin with a dash (--cmd -c).
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(flags).map(([name, { type, alias }]) => [
        name,
        { type: type === "boolean" ? "boolean" : "string", ...(alias === undefined ? {} : { short: alias }) } as const,
      ]),
    ),
  });
  const inputs: string[] = [];
  const values: Record<string, unknown> = {};
  for (const token of tokens) {
    if (token.kind === "positional") inputs.push(token.value);
    if (token.kind !== "option") continue;
    const flag = Object.hasOwn(flags, token.name) ? flags[token.name] : undefined;
    if (flag === undefined) {
      const known = Object.keys(flags).map((name) => `--${name}`);
      throw unknown("flag", token.rawName, known, `oci-nix ${words} --help`);
    }
    setValue(values, token.name, flag, token.value);
  }
  if (values.quiet === true && values.verbose === true) {
    throw new OciNixError("usage", "--quiet and --verbose contradict each other", { hint: "give one of them" });
  }
  return { command, inputs, flags: values };
}

function noCommand(words: string, commands: Named["commands"], [word]: readonly string[]): OciNixError {
  const hint = `oci-nix ${words} --help`.replace("  ", " ");
  if (word === undefined) return new OciNixError("usage", `no command given${words && ` after ${words}`}`, { hint });
  if (word.startsWith("-")) return unknown("flag", word, words === "" ? ["--help", "--version"] : ["--help"], hint);
  const names = commands.map(({ name }) => name);
  return unknown(
    "command",
    `${words} ${word}`.trim(),
    words === "" ? names : names.map((name) => `${words} ${name}`),
    hint,
  );
}

/** @throws OciNixError `usage` where the value is missing, superfluous, repeated or malformed */
function setValue(values: Record<string, unknown>, name: string, flag: Flag, value: string | undefined): void {
  if (flag.type === "boolean") {
    if (value !== undefined) throw new OciNixError("usage", `--${name} takes no value, not ${JSON.stringify(value)}`);
    values[name] = true;
    return;
  }
  if (value === undefined) throw new OciNixError("usage", `--${name} needs a value`, { hint: flag.describe });
  if (flag.choices !== undefined && !flag.choices.includes(value)) {
    const choices = flag.choices.join(", ");
    throw new OciNixError("usage", `--${name} takes one of ${choices}, not ${JSON.stringify(value)}`);
  }
  if (flag.repeated === true) {
    values[name] = [...((values[name] as readonly string[] | undefined) ?? []), value];
    return;
  }
  if (values[name] !== undefined) {
    throw new OciNixError("usage", `--${name} is given more than once`, { hint: "give it once" });
  }
  values[name] = flag.type === "number" ? wholeNumber(name, flag, value) : value;
}

function wholeNumber(name: string, { signed }: Flag, value: string): number {
  if ((signed === true ? /^-?\d{1,15}$/ : /^\d{1,15}$/).test(value)) return Number(value);
  if (/^\d+$/.test(value)) {
    throw new OciNixError("usage", `--${name}: ${value} is too large`, { hint: "at most 15 digits" });
  }
  throw new OciNixError("usage", `--${name} takes a whole number, not ${JSON.stringify(value)}`);
}

function unknown(what: string, word: string, candidates: readonly string[], hint = "oci-nix --help"): OciNixError {
  const near = nearest(word, candidates);
  return new OciNixError("usage", `unknown ${what} ${word}`, {
    hint: near === undefined ? hint : `did you mean ${near}?`,
  });
}
