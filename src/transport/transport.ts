import { nearest, OciNixError } from "../core/errors.js";
import { checkTag } from "../oci/reference.js";

/** A place that images are written to, as skopeo names it. */
export interface TransportName {
  readonly transport: "oci";
  readonly directory: string;
  readonly tag: string | undefined;
}

/** Transports that skopeo knows, or that we will: a wrong name should not be taken for a directory. */
const PLANNED = ["oci-archive", "docker-archive", "docker", "docker-daemon", "containers-storage", "nix"];

/**
 * Parses `oci:DIR[:TAG]`. What follows the last colon is the tag, unless there is a slash in it.
 * @throws OciNixError `usage` for an unknown transport or an empty directory; `unsupported` for one that cannot be written to yet
 */
export function parseTransport(text: string): TransportName {
  const match = /^([a-z-]+):(.*)$/s.exec(text);
  const [, name, rest = ""] = match ?? [];
  if (name === undefined || name !== "oci") {
    if (name !== undefined && PLANNED.includes(name)) {
      throw new OciNixError("unsupported", `${text}: images cannot be written to ${name}: yet`, {
        hint: "oci:DIR:TAG can; oci-nix stream writes a docker-archive, and skopeo copies either to anywhere",
      });
    }
    const near = nearest(`${name ?? text}:`, ["oci:"]);
    throw new OciNixError("usage", `${JSON.stringify(text)} names no transport`, {
      hint: near === undefined ? "oci:DIR:TAG, as skopeo has it" : `did you mean ${near}DIR:TAG?`,
    });
  }
  const split = /^(.+):([^:/]*)$/s.exec(rest);
  const [directory, tag] = split === null ? [rest, undefined] : [split[1] as string, split[2]];
  if (directory === "") throw new OciNixError("usage", `${text}: the directory is missing`, { hint: "oci:DIR:TAG" });
  return { transport: "oci", directory, tag: tag === undefined ? undefined : checkTag(tag, text) };
}
