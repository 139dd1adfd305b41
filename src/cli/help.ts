import type { Command, CommandGroup, Flag, Flags } from "./command.js";

const WIDTH = 100;

/** Labels of so many characters have what is said of them beside them; longer ones have it below. */
const MAX_LABEL = 32;

/** What `oci-nix --help` prints. */
export function formatHelp(commands: readonly (Command | CommandGroup)[]): string {
  return [
    "oci-nix COMMAND INPUT... [flags]",
    "",
    "Assembles OCI and Docker images from a Nix closure.",
    "",
    ...listOf(commands),
    "",
    "oci-nix COMMAND --help shows the flags of a command; oci-nix --version the version.",
    "",
  ].join("\n");
}

/** What `oci-nix GROUP --help` prints. @param words the group's name */
export function formatGroupHelp(words: string, commands: readonly (Command | CommandGroup)[]): string {
  const title = `oci-nix ${words} COMMAND`;
  return [title, "", ...listOf(commands), "", `${title} --help shows the flags of a command.`, ""].join("\n");
}

function listOf(commands: readonly (Command | CommandGroup)[]): string[] {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return commands.flatMap(({ name, describe }) => wrap(`  ${name.padEnd(width)}  `, describe));
}

/** What `oci-nix COMMAND --help` prints. @param words the command's name, after its group's */
export function formatCommandHelp(words: string, command: Command, flags: Flags): string {
  const rows = Object.entries(flags).map(([name, flag]) => {
    const { alias, type, repeated, choices, describe } = flag;
    const value = type === "boolean" ? "" : choices === undefined ? ` ${valueName(flag)}` : `=${choices.join("|")}`;
    const left = `${alias === undefined ? "    " : `-${alias}, `}--${name}${value}`;
    return [left, repeated === true ? `${describe} (repeatable)` : describe] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length).filter((length) => length <= MAX_LABEL));
  return [
    `oci-nix ${[words, command.inputs, "[flags]"].filter((part) => part !== "").join(" ")}`,
    "",
    command.describe,
    "",
    ...rows.flatMap(([left, right]) => [
      ...(left.length > MAX_LABEL ? [`  ${left}`] : []),
      ...wrap(`  ${(left.length > MAX_LABEL ? "" : left).padEnd(width)}  `, right),
    ]),
    "",
    ...(command.commands === undefined ? [] : [...listOf(command.commands), ""]),
  ].join("\n");
}

const VALUE_NAMES = { file: "FILE", directory: "DIR", path: "PATH", place: "PLACE" } as const;

/** What stands for the value of a flag that takes one and has no choices. */
export function valueName({ type, names }: Flag): string {
  if (type === "number") return "N";
  return names === undefined ? "VALUE" : VALUE_NAMES[names];
}

/** Wraps the text beside its label, further lines indented to the same column. */
function wrap(label: string, text: string): string[] {
  const lines: string[] = [];
  let line = label;
  for (const word of text.split(" ")) {
    if (line.length > label.length && line.length + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = " ".repeat(label.length);
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}
