import { type Digest, parseDigest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { checkName, checkTag, fullName } from "../../oci/reference.js";
import { endpointOf } from "./hosts.js";

/** An image at a registry, or its repository where neither tag nor digest is given. */
export interface RegistryName {
  /** `host[:port]`, `docker.io` where none was given. */
  readonly host: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/**
 * Reads `[host[:port]/]name[:tag][@digest]`; with neither tag nor digest the tag is `latest`.
 * @param where names the origin, for errors
 * @throws OciNixError `invalid-input` for what no registry would accept
 */
export function parseRegistryName(text: string, where: string): RegistryName {
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : parseDigest(text.slice(at + 1), where);
  const rest = at === -1 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(":");
  const isTagged = colon > rest.lastIndexOf("/");
  const name = checkName(isTagged ? rest.slice(0, colon) : rest, where);
  const tag = isTagged ? checkTag(rest.slice(colon + 1), where) : undefined;
  // With a tag, as a word alone would be taken for one.
  const full = fullName(`${name}:0`).slice(0, -2);
  const slash = full.indexOf("/");
  if (slash === -1) throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(text)} names no repository`);
  const host = full.slice(0, slash);
  endpointOf(host);
  return {
    host,
    repository: full.slice(slash + 1),
    tag: tag ?? (digest === undefined ? "latest" : undefined),
    digest,
  };
}

/** `host/repository[:tag][@digest]` */
export function formatRegistryName({ host, repository, tag, digest }: RegistryName): string {
  return `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
