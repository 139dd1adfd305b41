import { type Completed, type Completion, PLACES, REGISTRY_PREFIX } from "./completions.js";

/** The script for fish, from 3.1 on. */
export function formatFishCompletion(completions: readonly Completion[]): string {
  const commands = completions.map(({ words }) => words).filter((words) => words !== "");
  return `# Completion of oci-nix in fish: oci-nix completion fish | source

# The command that the line names before the cursor, and in a second line how many words follow it.
function __oci_nix_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    while set -q words[1]
        switch "$command $words[1]"
            case ${commands.map((words) => `'${words.includes(" ") ? "" : " "}${words}'`).join(" ")}
                set command (string trim -- "$command $words[1]")
            case '*'
                break
        end
        set -e words[1]
    end
    echo $command
    count $words
    return 0
end

function __oci_nix_at
    set -l found (__oci_nix_command)
    test "$found[1]" = "$argv[1]"
end

# Whether the command's own words are the last ones.
function __oci_nix_after
    set -l found (__oci_nix_command)
    test "$found[1]" = "$argv[1]" -a "$found[2]" = 0
end

# What is being written, without the flag that it is the value of.
function __oci_nix_value
    string replace -r -- '^--[^=]*=' '' (commandline -ct)
end

# Paths that begin with $argv[2], each after $argv[1]; directories alone where $argv[3] is given.
function __oci_nix_paths
    for path in (complete -C "'' $argv[2]" | string split -f 1 \\t)
        if test -z "$argv[3]"; or string match -q -- '*/' $path
            echo $argv[1]$path
        end
    end
end

function __oci_nix_directories
    __oci_nix_paths '' (__oci_nix_value) directories
end

function __oci_nix_places
    set -l value (__oci_nix_value)
    switch "$value"
${PLACES.map(placeCase).join("\n")}
        case '*'
            string join \\n -- ${PLACES.map(({ prefix }) => prefix).join(" ")}
    end
end

function __oci_nix_inputs
    echo ${REGISTRY_PREFIX}
    switch (commandline -ct)
        case 'docker:*'
        case '*'
            __oci_nix_paths '' (commandline -ct)
    end
end

complete -c oci-nix -f
${completions.flatMap(linesOf).join("\n")}
`;
}

function placeCase({ prefix, names }: (typeof PLACES)[number]): string {
  const then =
    names === undefined
      ? "return"
      : `__oci_nix_paths ${prefix} (string replace -- ${prefix} '' $value)${names === "directory" ? " directories" : ""}`;
  return `        case '${prefix}*'\n            ${then}`;
}

function linesOf({ words, commands, flags, inputs }: Completion): readonly string[] {
  const at = `complete -c oci-nix -n ${quoted(`__oci_nix_at ${quoted(words)}`)}`;
  const after = `complete -c oci-nix -n ${quoted(`__oci_nix_after ${quoted(words)}`)}`;
  const values = valuesOf(inputs);
  return [
    ...commands.map(({ name, describe }) => `${after} -a ${name} -d ${quoted(describe)}`),
    ...flags.map((flag) => {
      const form = `-l ${flag.name}${flag.alias === undefined ? "" : ` -s ${flag.alias}`}`;
      const value = flag.hasValue ? ` ${valuesOf(flag) ?? "-x"}` : "";
      return `${at} ${form}${value} -d ${quoted(flag.describe)}`;
    }),
    ...(values === undefined ? [] : [`${at} ${values.replace(/^-[xr] /, "")}`]),
  ];
}

/** Arguments of `complete` that say what stands there. */
function valuesOf({ words, names }: Completed): string | undefined {
  if (words.length > 0) return `-x -a ${quoted(words.join(" "))}`;
  switch (names) {
    case "directory":
      return "-x -a '(__oci_nix_directories)'";
    case "file":
    case "path":
      return "-r -F";
    case "place":
      return "-x -a '(__oci_nix_places)'";
    case "input":
      return "-x -a '(__oci_nix_inputs)'";
    default:
      return undefined;
  }
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
