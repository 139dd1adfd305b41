import { askProgram } from "../../core/ask-program.js";
import { OciNixError } from "../../core/errors.js";
import { isJsonObject, parseJson } from "../../core/json.js";
import { NotStarted } from "../../core/process.js";
import type { Clock } from "./clock.js";

/** A helper may ask a person for the key of its store. */
const TIMEOUT_MS = 120_000;

/** What a helper knows of a server. */
export interface HelperAnswer {
  readonly username: string;
  readonly secret: string;
}

/**
 * Asks `docker-credential-NAME get` for a server's credentials. It gets the whole environment, as whatever it goes by may stand there. Nothing that the helper says is shown: it may hold secrets.
 * @param file where the helper is named, for errors
 * @returns undefined where the helper has none
 * @throws OciNixError `invalid-input` for a name that names no helper; `not-found` where it is not installed; `unreadable` where it cannot be
 *   run; `denied` where it fails,
 *   gives something else than its protocol has it, or does not end; the signal's reason
 */
export async function askHelper(
  name: string,
  server: string,
  { file, clock, signal }: { readonly file: string; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<HelperAnswer | undefined> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw new OciNixError("invalid-input", `${file}: ${JSON.stringify(name)} is no name of a credential helper`);
  }
  const program = `docker-credential-${name}`;
  const hint = `see what it says: echo ${server} | ${program} get`;
  const denied = (what: string) => new OciNixError("denied", `${program} ${what} for ${server}`, { hint });
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  const cancel = clock.after(TIMEOUT_MS, () => controller.abort(denied(`gave nothing within ${TIMEOUT_MS / 1000} s`)));
  try {
    const { status, stdout, stderr } = await askProgram(
      { program, args: ["get"], debianPackage: "golang-docker-credential-helpers" },
      { stdin: server, signal: controller.signal },
    ).catch((error: unknown) => {
      if (!(error instanceof NotStarted)) throw error;
      const words = `${file} names the credential helper ${program}, which ${error.reason}`;
      throw new OciNixError(error.code, words, { hint: `install it, or take ${name} out of ${file}`, cause: error });
    });
    if (status !== 0) {
      if (/credentials not found/i.test(stdout + stderr)) return undefined;
      throw denied(`failed (${typeof status === "number" ? `exit ${status}` : status})`);
    }
    const answer = parseAnswer(stdout);
    if (answer === undefined) throw denied("gave no credentials in its protocol's form");
    return answer.secret === "" ? undefined : answer;
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
  }
}

function parseAnswer(text: string): HelperAnswer | undefined {
  try {
    const answer = parseJson(text, "the answer");
    if (!isJsonObject(answer)) return undefined;
    const [username = "", secret] = [answer.get("Username"), answer.get("Secret")];
    return typeof username === "string" && typeof secret === "string" ? { username, secret } : undefined;
  } catch {
    return undefined;
  }
}
