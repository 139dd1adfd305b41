import { nearest, OciNixError } from "../core/errors.js";
import { checkRefName, familiarName, fullName, parseImageName } from "../oci/reference.js";
import { formatRegistryName, parseRegistryName, type RegistryName } from "./registry/reference.js";

/** A place of images, as skopeo names it. */
export type TransportName =
  | { readonly transport: "oci"; readonly directory: string; readonly ref: string | undefined }
  | {
      readonly transport: "oci-archive" | "docker-archive";
      /** `-` is standard input or output. */
      readonly file: string;
      readonly ref: string | undefined;
    }
  | { readonly transport: "containers-storage"; readonly ref: string }
  | {
      readonly transport: "docker-daemon";
      /** `name:tag`, as Docker shows it. */
      readonly ref: string;
    }
  | ({ readonly transport: "docker" } & RegistryName);

type Kind = TransportName["transport"];

/** How each is written. */
const FORMS: Readonly<Record<Kind, string>> = {
  oci: "oci:DIR[:TAG]",
  "oci-archive": "oci-archive:FILE[:TAG]",
  "docker-archive": "docker-archive:FILE[:NAME:TAG]",
  "containers-storage": "containers-storage:NAME[:TAG]",
  "docker-daemon": "docker-daemon:NAME[:TAG]",
  docker: "docker://[HOST[:PORT]/]NAME[:TAG][@DIGEST]",
};

/** Transports that skopeo knows, or that we will: a wrong name should not be taken for a directory. */
const PLANNED = ["nix", "dir", "sif"];

/**
 * Parses the name of a place. As in skopeo what follows the first colon of a file or directory names the image in it.
 * @throws OciNixError `usage` for an unknown transport, a missing part or a name that no image can have; `unsupported` for one that is not
 *   there yet
 */
export function parseTransport(text: string): TransportName {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof OciNixError) || error.code !== "invalid-input") throw error;
    throw new OciNixError("usage", error.message, error.hint === undefined ? {} : { hint: error.hint });
  }
}

function parse(text: string): TransportName {
  const [, kind, rest = ""] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  if (kind === undefined || !isKind(kind)) throw unknownTransport(text, kind);
  if (kind === "containers-storage" || kind === "docker-daemon") {
    if (rest === "") throw new OciNixError("usage", `${text}: the name is missing`, { hint: FORMS[kind] });
    const { name, tag } = parseImageName(rest, text);
    const ref = fullName(`${name}:${tag}`);
    return kind === "docker-daemon" ? { transport: kind, ref: familiarName(ref) } : { transport: kind, ref };
  }
  if (kind === "docker") {
    if (!/^\/\/./s.test(rest)) {
      throw new OciNixError("usage", `${text}: what follows docker: is //NAME`, { hint: FORMS[kind] });
    }
    checkNoSecret(rest.slice(2));
    return { transport: kind, ...parseRegistryName(rest.slice(2), text) };
  }
  const colon = rest.indexOf(":");
  const [path, ref] = colon === -1 ? [rest, undefined] : [rest.slice(0, colon), rest.slice(colon + 1)];
  if (path === "") {
    const what = kind === "oci" ? "directory" : "file";
    throw new OciNixError("usage", `${text}: the ${what} is missing`, { hint: FORMS[kind] });
  }
  if (ref === "") throw new OciNixError("usage", `${text}: the name after the colon is missing`, { hint: FORMS[kind] });
  if (kind === "oci") return { transport: kind, directory: path, ref: ref && checkRefName(ref, text) };
  if (kind === "oci-archive") return { transport: kind, file: path, ref: ref && checkRefName(ref, text) };
  const name = ref === undefined ? undefined : parseImageName(ref, text);
  return { transport: kind, file: path, ref: name && `${name.name}:${name.tag}` };
}

/** What may hold a password is not repeated. @throws OciNixError `usage` */
function checkNoSecret(name: string): void {
  const digest = /^[^@]*@(|(?:sha(?:1|224|256|384|512)|md5|blake3):[^@]*)$/i.exec(name)?.[1];
  if (digest !== undefined && !digest.startsWith("sha256:")) {
    const words =
      digest === "" ? "the digest after @ is missing" : `${JSON.stringify(digest)} is no digest that images have here`;
    throw new OciNixError("usage", `docker://: ${words}`, {
      hint: `${FORMS.docker}; a digest is sha256: and 64 hex digits`,
    });
  }
  if (/^https?:\/\//.test(name) || (name.includes("@") && !/^[^@]*@sha256:/.test(name))) {
    throw new OciNixError(
      "usage",
      "what follows docker:// is no image name: neither a scheme nor a user belongs to it",
      {
        hint: `${FORMS.docker}; credentials are those of docker login or podman login`,
      },
    );
  }
}

/** The place in the words it was given in. */
export function formatTransport(name: TransportName): string {
  if (name.transport === "containers-storage" || name.transport === "docker-daemon")
    return `${name.transport}:${name.ref}`;
  if (name.transport === "docker") return `docker://${formatRegistryName(name)}`;
  const path = name.transport === "oci" ? name.directory : name.file;
  return `${name.transport}:${path}${name.ref === undefined ? "" : `:${name.ref}`}`;
}

function isKind(text: string): text is Kind {
  return Object.hasOwn(FORMS, text);
}

function unknownTransport(text: string, kind: string | undefined): OciNixError {
  if (kind !== undefined && PLANNED.includes(kind)) {
    return new OciNixError("unsupported", `${text}: images are not read from and written to ${kind}: yet`, {
      hint: "skopeo copies an OCI layout to anywhere: skopeo copy oci:DIR:TAG …",
    });
  }
  const near = nearest(kind ?? text, Object.keys(FORMS));
  return new OciNixError("usage", `${JSON.stringify(text)} names no transport`, {
    hint: near === undefined ? Object.values(FORMS).join(", ") : `did you mean ${FORMS[near as Kind]}?`,
  });
}
