import { type ByteString, displayBytes, isUtf8 } from "../../core/byte-string.js";
import { compareStrings, OciNixError } from "../../core/errors.js";
import type { Derivation } from "../../nix/derivation.js";
import { MAX_WORD, MAX_WORDS } from "../../oci/process-limits.js";

/** Where a Nix sandbox builds. */
export const BUILD_DIRECTORY = "/build";

/** A derivation's attributes as a builder gets them. */
export interface DerivationEnvironment {
  readonly variables: ReadonlyMap<string, string>;
  /** Those that `passAsFile` names, by file name: any bytes. */
  readonly files: ReadonlyMap<string, ByteString>;
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
  const files = new Map<string, ByteString>();
  const paths = new Map<string, string>();
  for (const [bytes, value] of env) {
    if (bytes === "") throw unsupported("an attribute without a name");
    const name = textOf(bytes, `the attribute ${displayBytes(bytes)}`);
    if (inFiles.has(name)) {
      // Any byte but NUL may be in a name, any but NUL and / in a file's.
      const file = `${directory}/${/^[A-Za-z0-9_][A-Za-z0-9_'.-]{0,199}$/.test(name) ? name : `.${files.size}`}`;
      files.set(file, value);
      paths.set(`${name}Path`, file);
    } else {
      variables.set(name, textOf(value, `the attribute ${name}`, name));
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

/** What the last variables, programs and their arguments may need besides. */
const ROOM = 128 * 1024;
/** A pointer and a NUL, which count as well. */
const OVERHEAD = 9;

/**
 * Whether Linux starts programs with this environment.
 * @param entries `NAME=value`
 * @throws OciNixError `limit` naming the largest variable where it does not
 */
export function checkEnvironmentSize(entries: readonly string[]): void {
  const sizes = entries.map((entry) => ({ name: entry.split("=", 1)[0] as string, size: Buffer.byteLength(entry) }));
  const largest = sizes.reduce((a, b) => (b.size > a.size ? b : a), { name: "", size: 0 });
  const { name, size } = largest;
  const hint =
    name === "shellHook"
      ? `put it into a file that it reads: shellHook = ". \${./hook.sh}"`
      : `hand it on as a file: passAsFile = [ ${JSON.stringify(name)} ]`;
  if (size > MAX_WORD) {
    throw new OciNixError(
      "limit",
      `the attribute ${name} has ${size} bytes as an environment variable, with its name: Linux starts no program with more than ${MAX_WORD}`,
      { hint },
    );
  }
  const all = sizes.reduce((sum, { size }) => sum + size + OVERHEAD, 0);
  if (all <= MAX_WORDS - ROOM) return;
  throw new OciNixError(
    "limit",
    `the environment has ${all} bytes, of which ${name} has most (${size}): Linux starts no program with more than ${MAX_WORDS}, and programs need ${ROOM} themselves`,
    { hint },
  );
}

/**
 * The text that bytes of a derivation are.
 * @param attribute its name, where it could be handed on as a file
 * @throws OciNixError `unsupported` where they are none
 */
export function textOf(bytes: ByteString, what: string, attribute?: string): string {
  if (bytes.includes("\0")) throw unsupported(`${what} with a NUL byte`, attribute);
  if (isUtf8(bytes)) return Buffer.from(bytes, "latin1").toString("utf8");
  throw unsupported(`${what} with bytes that are no UTF-8`, attribute);
}

function unsupported(what: string, attribute?: string): OciNixError {
  return new OciNixError("unsupported", `the derivation has ${what}, which the config of an image cannot hold`, {
    hint:
      attribute === undefined
        ? "change it in the Nix expression, to a file that the derivation names for example"
        : `hand it on as a file: passAsFile = [ ${JSON.stringify(attribute)} ]`,
  });
}
