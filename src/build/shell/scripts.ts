/** A word as POSIX shells read it back, whatever is in it but NUL. */
export function quoteWord(word: string): string {
  return /^[A-Za-z0-9_./:=@%^,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What an interactive shell does first, and a script does instead of nix-shell. */
export interface StartOptions {
  /** The shell's file name. */
  readonly shell: string;
  /** Directories of programs that are there whatever the derivation says, and those of the derivation's own PATH. */
  readonly path: string;
  readonly derivationPath: string | undefined;
  /** Commands, after which the shell ends. */
  readonly command: string | undefined;
}

/** The file that bash reads to be as nix-shell would make it. Nix manual, "nix-shell". */
export function startScript({ shell, path, derivationPath, command }: StartOptions): string {
  const last = derivationPath === undefined ? "" : `:${quoteWord(derivationPath)}`;
  const lines = [
    "export IN_NIX_SHELL=pure",
    // Setup scripts take a PATH that is there for somebody else's.
    "unset PATH",
    "dontAddDisableDepTrack=1",
    `if [ -n "\${stdenv-}" ] && [ -e "$stdenv/setup" ]; then source "$stdenv/setup"; fi`,
    // They stop at the first error, and a shell that one types into would end.
    "set +e",
    `export PATH=${quoteWord(path)}\${PATH:+:$PATH}${last}`,
    `export SHELL=${quoteWord(shell)}`,
    `BASH=${quoteWord(shell)}`,
    `if [ -n "\${PS1-}" ] && [ -z "\${NIX_SHELL_PRESERVE_PROMPT-}" ]; then`,
    String.raw`  PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '`,
    "fi",
    `if [ "$(type -t runHook)" = function ]; then runHook shellHook; fi`,
    "unset NIX_ENFORCE_PURITY",
    "shopt -u nullglob",
    "shopt -s execfail",
    ...(command === undefined ? [] : [command, "exit"]),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** A program that builds the derivation as Nix starts its builder. */
export function buildScript(shell: string, builder: string, args: readonly string[]): string {
  return `#!${shell}\nunset IN_NIX_SHELL\nexec ${[builder, ...args].map(quoteWord).join(" ")}\n`;
}
