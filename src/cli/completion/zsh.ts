import { type Completed, type CompletedFlag, type Completion, PLACES, REGISTRY_PREFIX } from "./completions.js";

/** The script for zsh: to be evaluated, or a file `_oci-nix` in a directory of `fpath`. */
export function formatZshCompletion(completions: readonly Completion[]): string {
  const commands = completions.map(({ words }) => words).filter((words) => words !== "");
  return `#compdef oci-nix
# Completion of oci-nix in zsh: eval "$(oci-nix completion zsh)" after compinit, or as the file _oci-nix in a directory of fpath

_oci_nix_places() {
${PLACES.map(placeCase).join("\n")}
  compadd -S '' "$@" -- ${PLACES.map(({ prefix }) => prefix).join(" ")}
}

_oci_nix_inputs() {
  if compset -P '${REGISTRY_PREFIX}'; then _message name; return; fi
  compadd -S '' -- ${REGISTRY_PREFIX}
  _files
}

_oci_nix() {
  local curcontext="$curcontext" state line command= at=2
  local -a commands specs
  typeset -A opt_args
  while (( at < CURRENT )); do
    case "$command $words[at]" in
      (${commands.map((words) => `'${words.includes(" ") ? "" : " "}${words}'`).join("|")})
        command="\${command:+$command }$words[at]" ;;
      (*) break ;;
    esac
    (( at++ ))
  done
  case $command in
${completions.map(caseOf).join("\n")}
  esac
  if (( $#commands && at == CURRENT )) && [[ $words[CURRENT] != -* ]]; then
    _describe -t commands command commands
    [[ -n $specs[(r)\\*:*] ]] || return
  fi
  words=("$words[1]" "\${(@)words[at,-1]}")
  (( CURRENT -= at - 2 ))
  _arguments -S -C : $specs
}

if [[ $funcstack[1] == _oci-nix ]]; then
  _oci_nix "$@"
else
  compdef _oci_nix oci-nix
fi
`;
}

function placeCase({ prefix, names }: (typeof PLACES)[number]): string {
  const then = names === "directory" ? "_directories -S ''" : names === "file" ? "_files -S ''" : "_message name";
  return `  if compset -P '${prefix}'; then ${then}; return; fi`;
}

function caseOf({ words, commands, flags, inputs }: Completion): string {
  const action = actionOf(inputs);
  const lines = [
    ...(commands.length === 0 ? [] : [`commands=(${commands.map(described).join(" ")})`]),
    "specs=(",
    ...flags.flatMap((flag) => specsOf(flag).map((spec) => `  ${quoted(spec)}`)),
    ...(action === undefined ? [] : [`  ${quoted(`*:input:${action}`)}`]),
    ")",
  ];
  return [`    ('${words}')`, ...lines.map((line) => `      ${line}`), "      ;;"].join("\n");
}

function described({ name, describe }: { readonly name: string; readonly describe: string }): string {
  return quoted(`${name.replaceAll(":", "\\:")}:${describe}`);
}

/** What _arguments reads: `*(others)--name=[text]:value:action`. */
function specsOf(flag: CompletedFlag): readonly string[] {
  const { name, alias, describe, hasValue, isRepeated } = flag;
  const text = describe.replace(/[\\[\]:]/g, "\\$&");
  const value = hasValue ? `:value:${actionOf(flag) ?? " "}` : "";
  const forms = [
    `--${name}${hasValue ? "=" : ""}`,
    ...(alias === undefined ? [] : [`-${alias}${hasValue ? "+" : ""}`]),
  ];
  const excluded = alias === undefined || isRepeated ? "" : `(--${name} -${alias})`;
  return forms.map((form) => `${isRepeated ? "*" : excluded}${form}[${text}]${value}`);
}

function actionOf({ words, names }: Completed): string | undefined {
  if (words.length > 0) return `(${words.map((word) => word.replaceAll(":", "\\:")).join(" ")})`;
  switch (names) {
    case "directory":
      return "_directories";
    case "file":
    case "path":
      return "_files";
    case "place":
      return "_oci_nix_places";
    case "input":
      return "_oci_nix_inputs";
    default:
      return undefined;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
