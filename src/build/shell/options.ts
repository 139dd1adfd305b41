import { OciNixError } from "../../core/errors.js";
import type { ImageSpec } from "../spec/spec.js";

/** What may be asked of a shell image besides the derivation. */
export interface ShellOptions {
  /** What else is said of the image, which wins, but for the closure's roots. */
  readonly image: ImageSpec;
  /** Store paths that are shipped besides the inputs. A shell, coreutils and certificates are looked for in them first. */
  readonly extra?: readonly string[] | undefined;
  /** File name of a bash in the store; by default that of bash-interactive, or else of bash, among the inputs. */
  readonly shell?: string | undefined;
  /** Commands that an interactive shell runs before it ends. */
  readonly command?: string | undefined;
  /** Those that a shell runs which is not interactive, instead of `command`. */
  readonly run?: string | undefined;
  /** Of the user; by default `/build`. Another one is not made. */
  readonly home?: string | undefined;
  /** Of the user; by default 1000. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/** The largest that the kernel takes for a user's: the one above means nobody. */
const MAX_ID = 2 ** 32 - 2;

/**
 * @param storeDir no user's home
 * @throws OciNixError `usage` for options that contradict each other, or cannot be
 */
export function checkShellOptions({ command, run, home, uid, gid }: ShellOptions, storeDir: string): void {
  if (command !== undefined && run !== undefined) {
    throw usage("both command and run say what the shell runs", "drop one of them; run is not interactive");
  }
  for (const [name, text] of Object.entries({ command, run })) {
    if (text !== undefined && /\0|\p{Cs}/u.test(text)) throw usage(`${name} is no text`);
  }
  if (home !== undefined && !/^\/[^:\p{Cc}\p{Cs}]*$/u.test(home)) {
    throw usage(`the home directory ${JSON.stringify(home)} is not an absolute path without a colon`, "--home /build");
  }
  if (home !== undefined && /\/\.\.?(\/|$)/.test(home)) {
    throw usage(`the home directory ${JSON.stringify(home)} has a component . or ..`, "--home /build");
  }
  if (home === storeDir || home?.startsWith(`${storeDir}/`) === true) {
    throw usage(`the home directory ${home} is in the store, which holds store paths only`, "--home /build");
  }
  for (const [name, id] of Object.entries({ uid, gid })) {
    if (id !== undefined && !(Number.isSafeInteger(id) && id >= 0 && id <= MAX_ID)) {
      throw usage(`the ${name} ${id} is not a whole number from 0 to ${MAX_ID}`);
    }
  }
}

function usage(message: string, hint?: string): OciNixError {
  return new OciNixError("usage", message, hint === undefined ? {} : { hint });
}
