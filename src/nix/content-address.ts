import { OciNixError } from "../core/errors.js";
import { shownJson } from "../core/json.js";
import { encodeNixBase32, parseHash } from "./hash.js";

const METHODS: Readonly<Record<string, string>> = {
  flat: "fixed:",
  git: "fixed:git:",
  nar: "fixed:r:",
  text: "text:",
};

/**
 * A content address as the Nix database holds it (`fixed:r:sha256:<base-32>`, `text:sha256:<base-32>`), from that text or from
 * the object `{method, hash}` of newer `nix path-info --json`.
 *
 * @param where what it belongs to, for errors
 * @throws OciNixError `invalid-input` showing what was found
 */
export function renderContentAddress(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null) {
    const { method, hash } = value as Readonly<Record<string, unknown>>;
    if (typeof method === "string" && Object.hasOwn(METHODS, method)) {
      const { algorithm, bytes } = parseHash(hash, where);
      return `${METHODS[method]}${algorithm}:${encodeNixBase32(bytes)}`;
    }
  }
  throw new OciNixError("invalid-input", `${where}: ${shownJson(value)} is not a content address`);
}
