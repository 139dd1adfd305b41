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

/** The names of an image: `app`, and `1` for its tag. */
export interface ImageName {
  readonly name: string;
  readonly tag: string;
}

/** `name:tag`, or undefined for a text that is none: a tag alone, or a name without one. */
export function splitImageName(text: string): ImageName | undefined {
  const colon = text.lastIndexOf(":");
  const [name, tag] = [text.slice(0, colon), text.slice(colon + 1)];
  return colon > 0 && name.length <= 255 && NAME.test(name) && TAG.test(tag) ? { name, tag } : undefined;
}

/** `name` or `name:tag` as a user gives it; without a tag it is `latest`. @throws OciNixError as {@link checkName} */
export function parseImageName(text: string, where: string): ImageName {
  const split = splitImageName(text);
  if (split !== undefined) return split;
  const colon = text.lastIndexOf(":");
  if (colon > text.lastIndexOf("/")) {
    return { name: checkName(text.slice(0, colon), where), tag: checkTag(text.slice(colon + 1), where) };
  }
  return { name: checkName(text, where), tag: "latest" };
}

/** Docker's short names stand for long ones: `app:1` for `docker.io/library/app:1`. A bare word is a tag, in a layout, and stays one. */
export function fullName(name: string): string {
  const [first = "", ...rest] = name.split("/");
  if (rest.length === 0) return first.includes(":") ? `docker.io/library/${first}` : first;
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  if (!isHost) return `docker.io/${name}`;
  return first === "index.docker.io" ? `docker.io/${rest.join("/")}` : name;
}

/** The short name, as Docker shows it, that stands for a long one. */
export function familiarName(name: string): string {
  const short = name.replace(/^docker\.io\/(library\/(?=[^/]+$))?/, "");
  return fullName(short) === name ? short : name;
}

/** image-spec, "Pre-Defined Annotation Keys": the grammar of `org.opencontainers.image.ref.name`. */
const REF_COMPONENT = "[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*";
const REF_NAME = new RegExp(`^${REF_COMPONENT}(?:/${REF_COMPONENT})*$`);

/** Far more than any; of megabytes the expression would exhaust the stack. */
const MAX_REF_NAME = 4096;

/** A name in an OCI layout's index, mostly a tag. @throws OciNixError `invalid-input` */
export function checkRefName(ref: string, where: string): string {
  if (ref.length <= MAX_REF_NAME && REF_NAME.test(ref)) return ref;
  throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(ref)} cannot name an image in an OCI layout`, {
    hint: "letters and digits, with single -._:@+ and / between them",
  });
}
