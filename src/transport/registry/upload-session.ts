import type { Digest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import type { RegistryResponse } from "./http.js";

/** A blob's upload that has begun. Its URL changes with each answer. */
export interface UploadSession {
  readonly location: string;
  /** The registry wants no chunk but the last to be smaller. */
  readonly minChunk: number;
}

/** The upload that an answer is of: what `session` says, but for what the answer says anew. @throws OciNixError `output` where it says nothing */
export function sessionOf(
  response: RegistryResponse,
  url: string,
  what: string,
  session?: UploadSession,
): UploadSession {
  const location = response.header("location");
  if (location === undefined && session === undefined) {
    throw new OciNixError("output", `${what}: the registry's answer has no Location`, {
      hint: "the registry, or a proxy in front of it, does not keep to the distribution-spec",
    });
  }
  const minChunk = Number(response.header("oci-chunk-min-length") ?? session?.minChunk ?? 0);
  return {
    location: location === undefined ? (session as UploadSession).location : resolve(location, url),
    minChunk: Number.isSafeInteger(minChunk) && minChunk > 0 ? minChunk : 0,
  };
}

/** A path stays one: how the registry is reached is not known here. What is no URL shows when it is asked. */
function resolve(location: string, url: string): string {
  const nowhere = "http://registry.invalid";
  if (!URL.canParse(location, new URL(url, nowhere).href)) return location;
  const resolved = new URL(location, new URL(url, nowhere));
  return resolved.origin === nowhere ? `${resolved.pathname}${resolved.search}` : resolved.href;
}

/** Where an upload ends. */
export function withDigest(location: string, digest: Digest): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

/** How much has arrived; undefined where the answer does not tell. `Range: 0-9` is ten bytes; `0-0` is what registries say of none. */
export function receivedOf(response: RegistryResponse): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.header("range") ?? "")?.[1];
  if (last === undefined) return undefined;
  return last === "0" ? 0 : Number(last) + 1;
}
