import { type Command, type CommandGroup, everyCommand, type Flag, type Flags } from "./command.js";
import { EXIT_STATUSES } from "./exit-status.js";
import { flagsOf, GLOBAL_FLAGS } from "./flags.js";
import { valueName } from "./help.js";

const SUMMARY = "make OCI and Docker images from a Nix closure";

const INPUTS: readonly (readonly [string, string])[] = [
  [
    "store paths",
    "Store paths, paths in them, or links to them: an image of their closure, which is read from the Nix database.",
  ],
  [
    "a closure graph",
    "One file, or - for standard input: an image of all of it. The output of oci-nix closure, of nix path-info --json, a registration, and others.",
  ],
  ["a spec file", "The image that it describes. oci-nix schema prints its JSON Schema."],
  ["a conf.json", "What nixpkgs' streamLayeredImage makes for its own program."],
  ["an image JSON", "What nix2container makes."],
];

const PLACES: readonly (readonly [string, string])[] = [
  ["docker://[HOST[:PORT]/]NAME[:TAG]", "A repository of a registry."],
  ["oci:DIR[:TAG]", "An OCI image layout."],
  ["oci-archive:FILE[:TAG]", "One as a tar; - is standard input or output."],
  ["docker-archive:FILE[:NAME:TAG]", "What docker load reads; - is standard input or output."],
  ["docker-daemon:NAME[:TAG]", "The images of a Docker daemon."],
  ["containers-storage:NAME[:TAG]", "The images of podman."],
];

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ["XDG_CACHE_HOME", "The cache is in oci-nix there, where this is an absolute path; else in ~/.cache."],
  ["SOURCE_DATE_EPOCH", "What the time “now” is, in seconds since 1970."],
  ["TMPDIR", "Where temporary files are."],
  ["REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_RUNTIME_DIR, XDG_CONFIG_HOME", "Where credentials for registries are."],
  ["HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "How registries are reached."],
  ["SSL_CERT_FILE, NIX_SSL_CERT_FILE", "The authorities that registries are trusted by, in the place of the system's."],
  ["NODE_EXTRA_CA_CERTS", "More of these authorities."],
  ["DOCKER_HOST, DOCKER_CONTEXT, CONTAINER_HOST", "The Docker daemon, or podman's service."],
  ["DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH", "TLS to the daemon of DOCKER_HOST."],
  ["NO_COLOR, TERM", "Whether errors have colour."],
];

/**
 * The manual pages, by file name: one of the program, and one of each command or group, from the tables that the help is made of.
 * @param version of the program
 */
export function formatManPages(
  commands: readonly (Command | CommandGroup)[],
  version: string,
): ReadonlyMap<string, string> {
  const pages = commands.map((command) => [fileName(command.name), formatCommand(command, version)] as const);
  return new Map([["oci-nix.1", formatProgram(commands, version)], ...pages]);
}

const fileName = (name: string): string => `oci-nix-${name}.1`;

function formatProgram(commands: readonly (Command | CommandGroup)[], version: string): string {
  return page([
    title("oci-nix", version),
    ...named("oci-nix", SUMMARY),
    ".SH SYNOPSIS",
    ...synopsis("", "COMMAND INPUT..."),
    ".SH DESCRIPTION",
    roff(
      "Makes layered, reproducible images of store paths and everything they refer to, without evaluating Nix code and without Docker.",
    ),
    roff("Standard output carries data only; progress, summary and errors go to standard error."),
    ".SH COMMANDS",
    ...commands.flatMap(({ name, describe }) => [".TP", `.BR ${roff(`oci-nix-${name}`)} (1)`, roff(`${describe}.`)]),
    ".SH OPTIONS",
    "All commands have these.",
    ...options(GLOBAL_FLAGS),
    ".TP",
    `.B ${roff("--version")}`,
    "Show the version.",
    ".SH INPUTS",
    roff("INPUT is one of:"),
    ...items("B", INPUTS),
    ".SH PLACES",
    "Places of images are named as in",
    ".BR skopeo (1):",
    ...items("B", PLACES),
    ".SH EXIT STATUS",
    ...items(
      "B",
      EXIT_STATUSES.map(({ status, describe }) => [String(status), describe] as const),
    ),
    ".SH ENVIRONMENT",
    ...items("B", ENVIRONMENT),
    ".SH FILES",
    ".TP",
    `.I ${roff("~/.cache/oci-nix")}`,
    roff("The cache: digests of layers that were made."),
    ...seeAlso(commands.map(({ name }) => name)),
  ]);
}

function formatCommand(command: Command | CommandGroup, version: string): string {
  const { name, describe } = command;
  const below = everyCommand(command.commands ?? [], name).filter(
    (each): each is { readonly words: string; readonly command: Command } => "load" in each.command,
  );
  return page([
    title(`oci-nix-${name}`, version),
    ...named(`oci-nix-${name}`, describe),
    ".SH SYNOPSIS",
    ...("load" in command ? synopsis(name, command.inputs) : []),
    ...below.flatMap(({ words, command: { inputs } }, i) => [
      ...(i > 0 || "load" in command ? [".br"] : []),
      ...synopsis(words, inputs),
    ]),
    ".SH DESCRIPTION",
    roff(`${describe}.`),
    ...("load" in command ? [".SH OPTIONS", ...options(flagsOf(command))] : []),
    ...(below.length === 0 ? [] : [".SH COMMANDS"]),
    ...below.flatMap((each) => [
      `.SS ${roff(`oci-nix ${each.words}`)}`,
      roff(`${each.command.describe}.`),
      ...options("load" in command ? flagsOf(each.command) : each.command.flags),
    ]),
    ...("load" in command ? [] : [".SH OPTIONS", "All of these commands have these.", ...options(GLOBAL_FLAGS)]),
    ...seeAlso([]),
  ]);
}

const page = (lines: readonly string[]): string => `${lines.join("\n")}\n`;

/** Without a date: the same version gives the same page. */
const title = (name: string, version: string): string =>
  `.TH ${roff(name.toUpperCase())} 1 "" "${roff(`oci-nix ${version}`)}" "oci\\-nix"`;

function named(name: string, describe: string): readonly string[] {
  return [".SH NAME", `${roff(name)} \\- ${roff(describe.replace(/^[A-Z](?=[a-z])/, (first) => first.toLowerCase()))}`];
}

function synopsis(words: string, inputs: string): readonly string[] {
  return [
    `.B ${roff(`oci-nix ${words}`.trim())}`,
    ...(inputs === "" ? [] : [`.I ${roff(inputs)}\\&`]),
    ".RI [ flags ]",
  ];
}

function options(flags: Flags): readonly string[] {
  return Object.entries(flags).flatMap(([name, flag]) => [
    ".TP",
    optionLabel(name, flag),
    roff(`${flag.describe}${flag.repeated === true ? " (repeatable)" : ""}.`),
  ]);
}

function optionLabel(name: string, flag: Flag): string {
  const names = [...(flag.alias === undefined ? [] : [`-${flag.alias}`]), `--${name}`].map(
    (each) => `\\fB${roff(each)}\\fR`,
  );
  const value = flag.choices === undefined ? valueName(flag) : flag.choices.join("|");
  return `${names.join(", ")}${flag.type === "boolean" ? "" : ` \\fI${roff(value)}\\fR`}`;
}

function items(font: string, rows: readonly (readonly [string, string])[]): readonly string[] {
  return rows.flatMap(([label, text]) => [".TP", `.${font} ${roff(label)}`, roff(text)]);
}

function seeAlso(names: readonly string[]): readonly string[] {
  const others = ["nix-store", "skopeo", "docker", "podman"].map((name) => `.BR ${roff(name)} (1)`);
  const own = names.length === 0 ? [".BR oci\\-nix (1)"] : names.map((name) => `.BR ${roff(`oci-nix-${name}`)} (1)`);
  const all = names.length === 0 ? own : [...own, ...others];
  return [".SH SEE ALSO", ...all.map((line, i) => (i < all.length - 1 ? `${line},` : line))];
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "'": "\\(aq",
  '"': "\\(dq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
  // Which is left out where there is ASCII only.
  "…": "...",
};

/** Text as it stands, on one line: no character of it is a request or changes its looks. */
function roff(text: string): string {
  const escaped = text.replace(/[\\\-'"`^~]|[^\x20-\x7e]/gu, (character) => {
    const code = (character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0");
    return ESCAPES[character] ?? `\\[u${code}]`;
  });
  return escaped.startsWith(".") ? `\\&${escaped}` : escaped;
}
