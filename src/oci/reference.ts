import { OciNixError } from "../core/errors.js";

/** The grammar of github.com/distribution/reference, without a digest. */
const COMPONENT = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
const LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const NAME = new RegExp(`^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * An image name without a tag.
 * @param where names the origin, for errors
 * @throws OciNixError `invalid-input` where it is not what registries and Docker accept
 */
export function checkName(name: string, where: string): string {
  if (name.length <= 255 && NAME.test(name)) return name;
  const lower = name.toLowerCase();
  throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(name)} is not an image name`, {
    hint:
      lower !== name && lower.length <= 255 && NAME.test(lower)
        ? `image names are lower case: ${lower}`
        : "an image name looks like app, team/app or registry.example:5000/team/app",
  });
}

/** A tag. @throws OciNixError as {@link checkName} */
export function checkTag(tag: string, where: string): string {
  if (TAG.test(tag)) return tag;
  throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(tag)} is not an image tag`, {
    hint: "up to 128 letters, digits and _.- that do not start with a dot or a dash",
  });
}
