/** One option of a command, as data: the parser, the help text and the nearest-flag hint all come from it. */
export interface Flag {
  readonly type: "string" | "number" | "boolean";
  readonly describe: string;
  /** Given several times, in order; one value each. */
  readonly repeated?: boolean;
  readonly choices?: readonly string[];
  /** Values that completion offers, where others are right as well. */
  readonly suggested?: readonly string[];
  /** What a string names: help shows it, and completion knows where to look. */
  readonly names?: "file" | "directory" | "path" | "place";
  /** Of a number: may be below zero. */
  readonly signed?: boolean;
  readonly alias?: string;
}

export type Flags = Readonly<Record<string, Flag>>;

/** Values as parsed: absent where not given, arrays for repeated flags. */
export type FlagValues = Readonly<Record<string, unknown>>;

export interface Invocation {
  readonly inputs: readonly string[];
  readonly flags: FlagValues;
  readonly signal: AbortSignal;
}

export interface Command {
  readonly name: string;
  readonly describe: string;
  /** Name of the positional arguments in the help. */
  readonly inputs: string;
  readonly flags: Flags;
  /** Commands whose names may follow its own, instead of an input. */
  readonly commands?: readonly Command[];
  /** Loads what runs it: only then is anything heavy imported. A number that it returns is the exit code. */
  load(): Promise<{ readonly default: (invocation: Invocation) => Promise<unknown> }>;
}

/** Commands under one name: `oci-nix GROUP COMMAND`. */
export interface CommandGroup {
  readonly name: string;
  readonly describe: string;
  readonly commands: readonly Command[];
}

/** Commands and groups of them with the words that name each, in the order of the help. */
export function everyCommand(
  commands: readonly (Command | CommandGroup)[],
  group = "",
): readonly { readonly words: string; readonly command: Command | CommandGroup }[] {
  return commands.flatMap((command) => {
    const words = `${group} ${command.name}`.trim();
    return [{ words, command }, ...everyCommand(command.commands ?? [], words)];
  });
}

/** A string flag's value, or undefined. */
export function text(flags: FlagValues, name: string): string | undefined {
  const value = flags[name];
  return typeof value === "string" ? value : undefined;
}

/** A number flag's value, or undefined. */
export function number(flags: FlagValues, name: string): number | undefined {
  const value = flags[name];
  return typeof value === "number" ? value : undefined;
}

/** A repeated flag's values, or undefined where it was not given. */
export function list(flags: FlagValues, name: string): readonly string[] | undefined {
  const value = flags[name];
  return Array.isArray(value) && value.length > 0 ? (value as readonly string[]) : undefined;
}
