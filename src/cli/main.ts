import yargs, { type Argv } from "yargs";
import { type ErrorCode, nearest, OciNixError } from "../index.js";
import type { Command, Flags, FlagValues } from "./command.js";
import { closureCommand } from "./commands/closure.js";
import { planCommand } from "./commands/plan.js";
import { streamCommand } from "./commands/stream.js";
import { GLOBAL_FLAGS, reportError } from "./ui.js";

const COMMANDS: readonly Command[] = [streamCommand, planCommand, closureCommand];

/** How long an interrupted command may take to put things away. */
const GRACE_MS = 2000;
const SAME_SIGNAL_MS = 300;

/** Exit codes; every other failure is 1. */
const EXIT_CODES: Readonly<Partial<Record<ErrorCode, number>>> = { usage: 2, verification: 3, interrupted: 130 };

/**
 * Runs one command line.
 * @param args the arguments after the program's name
 * @returns the exit code; errors have been printed
 */
export async function main(args: readonly string[], version: string): Promise<number> {
  // Errors before the flags are parsed still have to know whether they are wanted as JSON.
  let flags: FlagValues = { json: args.includes("--json") };
  const interrupt = new AbortController();
  const signals = { SIGINT: 130, SIGTERM: 143 } as const;
  let signalled: number | undefined;
  let signalledAt = 0;
  let grace: NodeJS.Timeout | undefined;
  // process.exit would wait for a thread that is in a system call, on a FIFO that nobody writes to for example.
  const endBy = (name: keyof typeof signals) => {
    process.off(name, onSignal);
    process.kill(process.pid, name);
  };
  const onSignal = (name: keyof typeof signals) => {
    if (signalled !== undefined) {
      // timeout(1) sends its signal to the process and to its group: those two are one. Another does not wait for anybody.
      if (performance.now() - signalledAt > SAME_SIGNAL_MS) endBy(name);
      return;
    }
    signalled = signals[name];
    signalledAt = performance.now();
    const reason = new OciNixError("interrupted", `interrupted by ${name}`);
    interrupt.abort(reason);
    grace = setTimeout(() => {
      reportError(reason, flags);
      endBy(name);
    }, GRACE_MS);
  };
  for (const name of Object.keys(signals)) process.on(name, onSignal);
  try {
    const parsed = parse(args, version);
    if (parsed === undefined) return 0;
    flags = parsed.flags;
    await parsed.command.run({ inputs: parsed.inputs, flags, signal: interrupt.signal });
    return 0;
  } catch (error) {
    reportError(error, flags);
    if (signalled !== undefined) return signalled;
    return (error instanceof OciNixError ? EXIT_CODES[error.code] : undefined) ?? 1;
  } finally {
    clearTimeout(grace);
    for (const name of Object.keys(signals)) process.off(name, onSignal);
  }
}

interface Parsed {
  readonly command: Command;
  readonly inputs: readonly string[];
  readonly flags: FlagValues;
}

/** @returns undefined where the parser has printed help. @throws OciNixError `usage` */
function parse(args: readonly string[], version: string): Parsed | undefined {
  checkNoPrototypeNames(args);
  let parsed: Parsed | undefined;
  const parser = yargs(args[0] === "help" ? [...args.slice(1), "--help"] : [...args])
    .scriptName("oci-nix")
    .usage("$0 COMMAND INPUT.. [flags]\n\nAssembles OCI and Docker images from a Nix closure.")
    .parserConfiguration({
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "greedy-arrays": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
      "populate--": true,
    })
    // Messages are in one language, whatever LANG says.
    .detectLocale(false)
    .version(version)
    .help()
    .alias("h", "help")
    .exitProcess(false)
    .wrap(100)
    .fail((message, error) => {
      if (error instanceof OciNixError) throw error;
      const valueless = /^Not enough arguments following: (.+)$/.exec(message ?? "")?.[1];
      if (valueless === undefined) throw new OciNixError("usage", message ?? error.message, { hint: "oci-nix --help" });
      throw new OciNixError("usage", `--${valueless} needs a value`, {
        hint: `a value that starts with a dash is given as --${valueless}=-x`,
      });
    });
  declare(parser, GLOBAL_FLAGS);
  for (const command of COMMANDS) {
    const flags = { ...command.flags, ...GLOBAL_FLAGS };
    parser.command(
      `${command.name} [inputs..]`,
      command.describe,
      (builder) =>
        declare(builder, command.flags).usage(`$0 ${command.name} ${command.inputs} [flags]\n\n${command.describe}`),
      (argv) => {
        const values = valuesOf(argv as FlagValues, flags);
        const inputs = [argv.inputs, argv["--"]].flatMap((words) => (words ?? []) as unknown[]);
        parsed = { command, inputs: inputs.map(String), flags: values };
      },
    );
  }
  const argv = parser.parseSync() as FlagValues;
  if (parsed !== undefined || argv.help === true || argv.version === true) return parsed;
  const [word] = argv._ as readonly unknown[];
  if (word === undefined) throw new OciNixError("usage", "no command given", { hint: "oci-nix --help" });
  throw unknown(
    "command",
    String(word),
    COMMANDS.map((command) => command.name),
  );
}

/** yargs looks flags up in plain objects, and fails over names that every object has. */
function checkNoPrototypeNames(args: readonly string[]): void {
  for (const arg of args) {
    if (arg === "--") return;
    const name = /^--?([^=]+)/.exec(arg)?.[1];
    if (name !== undefined && name in Object.prototype) throw unknown("flag", `--${name}`, []);
  }
}

function declare(builder: Argv, flags: Flags): Argv {
  for (const [name, flag] of Object.entries(flags)) {
    builder.option(name, {
      // Numbers are taken as text and checked here: yargs would make NaN of a slip.
      type: flag.repeated ? "array" : flag.type === "boolean" ? "boolean" : "string",
      string: flag.type !== "boolean",
      describe: flag.describe,
      requiresArg: flag.type !== "boolean",
      ...(flag.choices === undefined ? {} : { choices: flag.choices }),
      ...(flag.alias === undefined ? {} : { alias: flag.alias }),
    });
  }
  return builder;
}

function valuesOf(argv: FlagValues, flags: Flags): FlagValues {
  const aliases = Object.values(flags).flatMap((flag) => flag.alias ?? []);
  const known = new Set([...Object.keys(flags), ...aliases, "_", "--", "$0", "inputs", "help", "h", "version"]);
  const stranger = Object.keys(argv).find((key) => !known.has(key));
  if (stranger !== undefined)
    throw unknown(
      "flag",
      stranger.length === 1 ? `-${stranger}` : `--${stranger}`,
      [...Object.keys(flags)].map((name) => `--${name}`),
    );
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const value = argv[name];
    if (value === undefined) continue;
    if (Array.isArray(value) && flag.repeated !== true) {
      throw new OciNixError("usage", `--${name} is given more than once`, { hint: "give it once" });
    }
    values[name] = flag.type === "number" ? wholeNumber(name, value) : value;
  }
  return values;
}

function wholeNumber(name: string, value: unknown): number {
  if (typeof value === "string" && /^\d{1,15}$/.test(value)) return Number(value);
  throw new OciNixError("usage", `--${name} takes a whole number, not ${JSON.stringify(value)}`);
}

function unknown(what: string, word: string, candidates: readonly string[]): OciNixError {
  const near = nearest(word, candidates);
  return new OciNixError("usage", `unknown ${what} ${word}`, {
    hint: near === undefined ? "oci-nix --help" : `did you mean ${near}?`,
  });
}
