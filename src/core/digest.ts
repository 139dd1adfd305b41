import { createHash } from "node:crypto";
import { OciNixError } from "./errors.js";
import { shownJson } from "./json.js";

/** `sha256:` and 64 lower-case hex digits. image-spec, "Digests". */
export type Digest = `sha256:${string}`;

/** The digest of bytes held in memory. */
export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The 64 hex digits of a digest. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/** @throws OciNixError `invalid-input` where `text` is not a sha256 digest; `where` names its origin */
export function parseDigest(text: unknown, where: string): Digest {
  if (typeof text === "string" && /^sha256:[0-9a-f]{64}$/.test(text)) return text as Digest;
  throw new OciNixError(
    "invalid-input",
    `${where}: ${shownJson(text)} is not a sha256 digest (sha256: and 64 lower-case hex digits)`,
  );
}
