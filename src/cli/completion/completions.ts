import { type Command, type CommandGroup, everyCommand, type Flag, type Flags } from "../command.js";
import { flagsOf } from "../flags.js";

/** What can stand somewhere: words, or names of something. Neither: what nobody can guess. */
export interface Completed {
  readonly words: readonly string[];
  /** `input`: a path, or a place in a registry. */
  readonly names: Flag["names"] | "input";
}

export interface CompletedFlag extends Completed {
  /** Without its dashes. */
  readonly name: string;
  readonly alias: string | undefined;
  readonly describe: string;
  readonly hasValue: boolean;
  readonly isRepeated: boolean;
}

/** What can follow the words that name a command. */
export interface Completion {
  /** Empty for the program itself. */
  readonly words: string;
  readonly commands: readonly { readonly name: string; readonly describe: string }[];
  readonly flags: readonly CompletedFlag[];
  readonly inputs: Completed;
}

const NOTHING: Completed = { words: [], names: undefined };

/** What begins the name of a place, and what follows it. */
export const PLACES: readonly { readonly prefix: string; readonly names: "directory" | "file" | undefined }[] = [
  { prefix: "containers-storage:", names: undefined },
  { prefix: "docker-archive:", names: "file" },
  { prefix: "docker-daemon:", names: undefined },
  { prefix: "docker://", names: undefined },
  { prefix: "oci-archive:", names: "file" },
  { prefix: "oci:", names: "directory" },
];

export const REGISTRY_PREFIX = "docker://";

/** What completion scripts are made of: the tables that the help is made of. */
export function completionsOf(commands: readonly (Command | CommandGroup)[]): readonly Completion[] {
  const help: Flag = { type: "boolean", alias: "h", describe: "Show help" };
  const version: Flag = { type: "boolean", describe: "Show the version" };
  const program = { words: "", commands, flags: completedFlags({ help, version }), inputs: NOTHING };
  const others = everyCommand(commands).map(({ words, command }) => ({
    words,
    commands: command.commands ?? [],
    flags: completedFlags("load" in command ? flagsOf(command) : { help }),
    inputs: "load" in command ? completedInputs(command.inputs) : NOTHING,
  }));
  return [program, ...others];
}

function completedFlags(flags: Flags): readonly CompletedFlag[] {
  return Object.entries(flags).map(([name, flag]) => ({
    name,
    alias: flag.alias,
    describe: flag.describe,
    hasValue: flag.type !== "boolean",
    isRepeated: flag.repeated === true,
    words: flag.choices ?? flag.suggested ?? [],
    names: flag.names,
  }));
}

/** The help's name for inputs says what they are: `SOURCE…` are places, what is not in capitals is itself, all else are paths. */
function completedInputs(inputs: string): Completed {
  if (inputs.includes(REGISTRY_PREFIX)) return { words: [], names: "input" };
  if (/^SOURCE\b/.test(inputs)) return { words: [], names: "place" };
  if (/^[[\]a-z0-9|-]+$/.test(inputs)) return { words: inputs.replace(/[[\]]/g, "").split("|"), names: undefined };
  return { words: [], names: inputs === "" ? undefined : "path" };
}
