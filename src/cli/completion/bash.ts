import { type CompletedFlag, type Completion, PLACES, REGISTRY_PREFIX } from "./completions.js";

/**
 * The script for bash, from 3.2 on (where what takes no files is offered some all the same).
 *
 * bash breaks words at `:` and `=`, which names of places and flags have: the line itself tells which pieces are one word, and what
 * is offered loses what stands before the last of them.
 */
export function formatBashCompletion(completions: readonly Completion[]): string {
  const commands = completions.map(({ words }) => words).filter((words) => words !== "");
  return `# Completion of oci-nix in bash: eval "$(oci-nix completion bash)"

# What can follow the command $1, and whether the flag $2 has a value: sets commands, flags, inputs, names and choices.
_oci_nix_table() {
  names= choices=
  case $1 in
${completions.map(caseOf).join("\n")}
  esac
}

# Offers what $1 says for the word $2, which stands after $3 in the word that is completed.
_oci_nix_offer() {
  local offered="$choices" found
  case $1 in
    place)
      case $2 in
${PLACES.map(({ prefix, names }) => `        ${prefix}*) _oci_nix_offer ${names ?? "text"} "" "$2"; return ;;`).join("\n")}
        *) offered='${PLACES.map(({ prefix }) => prefix).join(" ")}' ;;
      esac
      ;;
    input)
      case $2 in
        ${REGISTRY_PREFIX}*) offered= ;;
        *) offered="$choices ${REGISTRY_PREFIX}" ;;
      esac
      ;;
  esac
  local IFS=$' \\t\\n'
  [[ -z $offered ]] || COMPREPLY=($(compgen -W "$offered" -P "$3" -- "$2"))
  [[ $1 != place && $1 != input ]] || ((\${#COMPREPLY[@]} == 0)) || _oci_nix_option -o nospace
  case $1 in
    directory) _oci_nix_option +o default -o dirnames ;;
    file | path | input)
      # Without anything else bash does it, and better.
      if ((\${#COMPREPLY[@]} > 0)); then
        while IFS= read -r found; do
          [[ -z $found ]] || COMPREPLY+=("$(printf %q "$found")")
        done < <(compgen -f -- "$2")
      fi
      ;;
    *) _oci_nix_option +o default ;;
  esac
}

# bash before 4.0 has no compopt.
_oci_nix_option() {
  if type compopt >/dev/null 2>&1; then compopt "$@" 2>/dev/null; fi
}

_oci_nix() {
  local rest=\${COMP_LINE:0:COMP_POINT} piece words=() is_new
  for piece in "\${COMP_WORDS[@]}"; do
    is_new=
    if ((\${#words[@]} == 0)) || [[ $rest == [[:space:]]* ]]; then is_new=1; fi
    rest=\${rest#"\${rest%%[![:space:]]*}"}
    piece=\${piece:0:\${#rest}}
    rest=\${rest:\${#piece}}
    if [[ -n $is_new ]]; then words+=("$piece"); else words[\${#words[@]} - 1]+=$piece; fi
    [[ -n $rest ]] || break
  done

  local last=$((\${#words[@]} - 1)) at=1 command=
  local cur=\${words[last]}
  while ((at < last)); do
    case "$command \${words[at]}" in
      ${commands.map((words) => `'${words.includes(" ") ? "" : " "}${words}'`).join(" | ")})
        command="\${command:+$command }\${words[at]}" ;;
      *) break ;;
    esac
    at=$((at + 1))
  done

  local commands flags inputs names choices is_first= is_flag=1 flag=
  ((at < last)) || is_first=1
  while ((at < last)); do
    case \${words[at]} in
      --) is_flag= ;;
      -*)
        if [[ -n $is_flag && \${words[at]} != *=* ]]; then
          _oci_nix_table "$command" "\${words[at]}"
          if [[ -n $names ]]; then
            flag=\${words[at]}
            at=$((at + 1))
          fi
        fi
        ;;
    esac
    ((at == last)) || flag=
    at=$((at + 1))
  done

  COMPREPLY=()
  if [[ -n $flag ]]; then
    _oci_nix_table "$command" "$flag"
    _oci_nix_offer "$names" "$cur" ""
  elif [[ -n $is_flag && $cur == --*=* ]]; then
    _oci_nix_table "$command" "\${cur%%=*}"
    _oci_nix_offer "\${names:-text}" "\${cur#*=}" "\${cur%%=*}="
  elif [[ -n $is_flag && $cur == -* ]]; then
    _oci_nix_table "$command" ""
    choices=$flags
    _oci_nix_offer text "$cur" ""
  else
    _oci_nix_table "$command" ""
    names=\${inputs%% *}
    choices=\${inputs#"$names"}
    [[ -z $is_first ]] || choices="$commands $choices"
    _oci_nix_offer "$names" "$cur" ""
  fi

  local sign before strip=
  for sign in : =; do
    [[ $COMP_WORDBREAKS == *"$sign"* && $cur == *"$sign"* ]] || continue
    before=\${cur%"\${cur##*"$sign"}"}
    ((\${#before} <= \${#strip})) || strip=$before
  done
  COMPREPLY=("\${COMPREPLY[@]#"$strip"}")
}

complete -o default -F _oci_nix oci-nix
`;
}

function caseOf({ words, commands, flags, inputs }: Completion): string {
  const names = flags.flatMap(({ name, alias }) => [`--${name}`, ...(alias === undefined ? [] : [`-${alias}`])]);
  const values = valueCases(flags);
  return [
    `    '${words}')`,
    `      commands='${commands.map(({ name }) => name).join(" ")}'`,
    `      flags='${names.join(" ")}'`,
    `      inputs='${[inputs.names ?? "text", ...inputs.words].join(" ")}'`,
    ...(values.length === 0 ? [] : ["      case $2 in", ...values.map((line) => `        ${line}`), "      esac"]),
    "      ;;",
  ].join("\n");
}

/** Flags with the same kind of value together. */
function valueCases(flags: readonly CompletedFlag[]): readonly string[] {
  const byEffect = new Map<string, string[]>();
  for (const { name, alias, hasValue, words, names } of flags) {
    if (!hasValue) continue;
    const effect = `names=${names ?? "text"}${words.length === 0 ? "" : ` choices='${words.join(" ")}'`}`;
    const patterns = [`--${name}`, ...(alias === undefined ? [] : [`-${alias}`])];
    byEffect.set(effect, [...(byEffect.get(effect) ?? []), ...patterns]);
  }
  return [...byEffect].map(([effect, patterns]) => `${patterns.join(" | ")}) ${effect} ;;`);
}
