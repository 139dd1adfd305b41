import { type ByteString, displayBytes, isUtf8 } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { Derivation } from "../../nix/derivation.js";

/** Where a Nix sandbox builds. */
export const BUILD_DIRECTORY = "/build";

/** A derivation's attributes as a builder gets them. */
export interface DerivationEnvironment {
  readonly variables: ReadonlyMap<string, string>;
  /** Those that `passAsFile` names: texts by file name. */
  readonly files: ReadonlyMap<string, string>;
}

/**
 * The environment of a derivation, its outputs' paths included; variables whose values go to files name these. Nix manual, "Advanced attributes".
 * @param directory of the files
 * @throws OciNixError `unsupported` for what an image's config cannot hold
 */
export function derivationEnvironment({ outputs, env }: Derivation, directory: string): DerivationEnvironment {
  const inFiles = new Set(
    textOf(env.get("passAsFile") ?? "", "passAsFile")
      .split(/[ \t\n\r]+/)
      .filter((name) => name !== ""),
  );
  const variables = new Map<string, string>();
  const files = new Map<string, string>();
  const paths = new Map<string, string>();
  for (const [bytes, value] of env) {
    if (bytes === "") throw unsupported("an attribute without a name");
    const name = textOf(bytes, `the attribute ${displayBytes(bytes)}`);
    const text = textOf(value, `the attribute ${name}`);
    if (inFiles.has(name)) {
      // Any byte but NUL may be in a name, any but NUL and / in a file's.
      const file = `${directory}/${/^[A-Za-z0-9_][A-Za-z0-9_'.-]{0,199}$/.test(name) ? name : `.${files.size}`}`;
      files.set(file, text);
      paths.set(`${name}Path`, file);
    } else {
      variables.set(name, text);
    }
  }
  const outputPaths = outputs.flatMap(({ name, path }) => (path === undefined ? [] : [[name, path] as const]));
  return { variables: new Map([...variables, ...outputPaths, ...paths]), files };
}

export interface ShellEnvironmentOptions {
  /** Directories of the shell and of our own program. */
  readonly path: string;
  readonly home: string;
  readonly storeDir: string;
  /** Certificates of authorities, where there are some. */
  readonly certificates: string | undefined;
}

/** `NAME=value` of everything that is set in the image, sorted. As in a sandbox, some names are the derivation's to set and some are not. */
export function shellEnvironment(variables: ReadonlyMap<string, string>, options: ShellEnvironmentOptions): string[] {
  const { path, home, storeDir, certificates } = options;
  const derivationPath = variables.get("PATH");
  const all = new Map([
    ["HOME", home],
    ["NIX_STORE", storeDir],
    ["NIX_BUILD_CORES", "1"],
    ...(certificates === undefined
      ? []
      : ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE"].map((name) => [name, certificates] as const)),
    ...variables,
    ...["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"].map((name) => [name, BUILD_DIRECTORY] as const),
    ["PATH", derivationPath === undefined ? path : `${path}:${derivationPath}`],
    ["TERM", "xterm-256color"],
  ]);
  return [...all].sort(([a], [b]) => compareStrings(a, b)).map(([name, value]) => `${name}=${value}`);
}

/** The text that bytes of a derivation are. @throws OciNixError `unsupported` where they are none */
export function textOf(bytes: ByteString, what: string): string {
  if (bytes.includes("\0")) throw unsupported(`${what} with a NUL byte`);
  if (isUtf8(bytes)) return Buffer.from(bytes, "latin1").toString("utf8");
  throw unsupported(`${what} with bytes that are no UTF-8`);
}

function unsupported(what: string): OciNixError {
  return new OciNixError("unsupported", `the derivation has ${what}, which the config of an image cannot hold`, {
    hint: "change it in the Nix expression, to a file that the derivation names for example",
  });
}
