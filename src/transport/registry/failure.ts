import { type ErrorCode, OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, parseJson } from "../../core/json.js";
import type { RegistryResponse } from "./http.js";

/** A registry's answer that is not what was asked for. */
export class RegistryFailure extends OciNixError {
  readonly status: number;
  /** The registry's own, `DIGEST_INVALID` for example. */
  readonly codes: readonly string[];

  constructor(
    code: ErrorCode,
    message: string,
    answer: Pick<RegistryFailure, "status" | "codes">,
    hint: string | undefined,
  ) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = answer.status;
    this.codes = answer.codes;
  }
}

const MAX_BODY = 64 * 1024;

/** The specification's own, which repeat nothing. */
const CODES: ReadonlySet<string> = new Set([
  ...["BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"],
  ...["MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED"],
  ...["UNSUPPORTED", "TOOMANYREQUESTS"],
]);

/**
 * The failure that an answer stands for; reads the answer.
 * @param what was attempted: `cannot upload sha256:… to registry.example/app`
 */
export async function failureOf(response: RegistryResponse, what: string, host: string): Promise<RegistryFailure> {
  const { status } = response;
  const errors = await errorsOf(response);
  const codes = errors.map(({ code }) => code);
  const said = errors.map(({ code, text }) => (text === "" ? code : `${text} (${code})`)).join("; ");
  const [code, words, hint] = meaningOf(status, codes, response.loginHint ?? loginHint(host));
  const message = `${what}: ${words}${said === "" ? "" : `: ${said}`}`;
  return new RegistryFailure(code, message, { status, codes }, hint);
}

function loginHint(host: string): string {
  return `log in with: docker login ${host}; or set REGISTRY_AUTH_FILE`;
}

function meaningOf(
  status: number,
  codes: readonly string[],
  loginHint: string,
): readonly [ErrorCode, string, string | undefined] {
  const answer = `the registry answered ${status}`;
  if (codes.includes("DIGEST_INVALID")) {
    return ["verification", `${answer}, as what arrived has another digest`, "run it again"];
  }
  if (status === 401 || status === 403) {
    const words = status === 401 ? "it wants other credentials" : "these credentials may not do that";
    return ["denied", `${answer}: ${words}`, loginHint];
  }
  if (status === 407) return ["denied", "the proxy wants other credentials (status 407)", "HTTP_PROXY names the proxy"];
  if (status === 404)
    return ["not-found", `${answer}: it is not there`, "look at the spelling of name, tag and digest"];
  if (status === 413) return ["limit", `${answer}: that is too large for it`, "--max-layers makes layers smaller"];
  if (status === 408 || status === 429 || status >= 500) {
    const words = status === 429 ? "too many requests" : "it cannot do that now";
    return ["unavailable", `${answer}: ${words}`, "run it again later"];
  }
  return ["output", answer, undefined];
}

/** distribution-spec, "Error Codes". Whatever else the body is, it says nothing. */
async function errorsOf(
  response: RegistryResponse,
): Promise<readonly { readonly code: string; readonly text: string }[]> {
  let json: Json;
  try {
    json = parseJson((await response.bytes(MAX_BODY)).toString("utf8"), "the answer");
  } catch {
    await response.discard().catch(() => undefined);
    return [];
  }
  const errors = isJsonObject(json) ? json.get("errors") : undefined;
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, 3).flatMap((error: Json) => {
    if (!isJsonObject(error)) return [];
    const [code, message] = [error.get("code"), error.get("message")];
    if (typeof code !== "string") return [];
    return [
      {
        code: CODES.has(code) ? code : response.shown(code),
        text: typeof message === "string" ? response.shown(message) : "",
      },
    ];
  });
}

/** The failure of an upload from a file, which may be what is wrong. */
export function ofFile(error: unknown, file: string): unknown {
  if (!(error instanceof OciNixError) || error.code !== "verification") return error;
  return new OciNixError("verification", error.message, {
    hint: `run it again; where that does not help, ${file} is damaged: remove it`,
    cause: error,
  });
}
