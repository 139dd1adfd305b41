import type { ByteString } from "../../core/byte-string.js";
import { nearest } from "../../core/errors.js";
import { isJsonObject, wrong } from "../../core/json.js";
import type { Schema } from "../../core/json-schema.js";
import { arrayOf, check, field, flag, mode, OWNER_FIELDS, object, objectOf, parsed, text } from "../spec/checks.js";

/** Longest path that Linux takes. */
const MAX_PATH = 4095;

interface FileAttributes {
  /** Absolute, without a slash at the end. */
  readonly target: string;
  /** By default 0644, of a directory 0755. */
  readonly mode?: number | undefined;
  /** By default that of the image; `gid`, `uname` and `gname` likewise. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly uname?: string | undefined;
  readonly gname?: string | undefined;
}

/** One thing that is put into the image. */
export type FileSpec = FileAttributes &
  (
    | { readonly text: string }
    /** A file of any bytes, each a character; spec files have no form for it. */
    | { readonly bytes: ByteString }
    /** A file of this machine that is copied. */
    | { readonly path: string }
    | { readonly directory: true }
    /** Target of a symlink; a store path that it leads to is shipped. */
    | { readonly link: string }
  );

export const HELPER_NAMES = ["fakeNss", "binSh", "usrBinEnv", "caCertificates", "shadowSetup"] as const;

/** A helper of dockerTools by its name there. */
export interface HelperSpec {
  readonly name: (typeof HELPER_NAMES)[number];
  /** Of `fakeNss`: lines of `/etc/passwd` between those of root and nobody; likewise for `/etc/group`. */
  readonly extraPasswdLines?: readonly string[] | undefined;
  readonly extraGroupLines?: readonly string[] | undefined;
}

const target = parsed(
  (path, where) => {
    if (path.length <= MAX_PATH && /^(\/[^/]+)+$/.test(path) && !/\/\.\.?(\/|$)/.test(path)) return path;
    throw wrong(where, 'an absolute path below the root such as "/etc/motd"', path);
  },
  { pattern: "^/[^\\u0000-\\u001f\\u007f-\\u009f]+$" },
);

const contents = check({ type: "string" }, (value, where) => {
  if (typeof value !== "string" || /\p{Cs}/u.test(value)) throw wrong(where, "text", value);
  return value;
});

/** Checks one of `files`. */
export const checkFile = objectOf(
  {
    target: field("Where it is in the image", target, { examples: ["/etc/motd"] }),
    text: field("Of a file: what it holds", contents),
    path: field("Of a file: the file beside the spec that it is a copy of", text),
    directory: field("That it is a directory", flag),
    link: field("Of a symlink: where it leads; a store path there is shipped", text),
    mode: field("Mode in octal: by default 0644, of directories 0755", mode),
    ...OWNER_FIELDS,
  },
  ["target"],
  ({ target, text, path, directory, link, ...attributes }, where): FileSpec => {
    const kinds = [
      ...(text === undefined ? [] : [{ text }]),
      ...(path === undefined ? [] : [{ path }]),
      ...(directory === true ? [{ directory }] : []),
      ...(link === undefined ? [] : [{ link }]),
    ];
    const [kind] = kinds;
    if (target === undefined || kind === undefined || kinds.length > 1) {
      throw wrong(where, 'an object with "target" and one of "text", "path", "link" and "directory": true');
    }
    if (link !== undefined && attributes.mode !== undefined) throw wrong(where, "without mode: a symlink has none");
    return { ...attributes, target, ...kind };
  },
);

const WITHOUT_OPTIONS = object({});

/** Lines of a file that programs look users up in. @param form what the fields between colons are */
const linesOf = (form: string) =>
  arrayOf(
    parsed((line, where) => {
      const fields = line.split(":");
      if (fields.length === form.split(":").length && fields[0] !== "") return line;
      throw wrong(where, `a line of the form ${form}`, line);
    }),
  );

const FAKE_NSS = object({
  extraPasswdLines: field(
    "Lines of /etc/passwd between those of root and nobody",
    linesOf("name:x:uid:gid:comment:home:shell"),
  ),
  extraGroupLines: field("Lines of /etc/group between those of root and nobody", linesOf("name:x:gid:members")),
});

const optionsOf = (name: HelperSpec["name"]) => (name === "fakeNss" ? FAKE_NSS : WITHOUT_OPTIONS);

const DESCRIPTIONS: Readonly<Record<HelperSpec["name"], string>> = {
  fakeNss: "Users root and nobody in /etc/passwd and /etc/group",
  binSh: "Bash as /bin/sh",
  usrBinEnv: "Coreutils' env as /usr/bin/env",
  caCertificates: "Certificates of authorities where programs look for them",
  shadowSetup: "Files that the programs of shadow need",
};

const HELPER_SCHEMA: Schema = {
  anyOf: [
    { enum: HELPER_NAMES },
    {
      type: "object",
      properties: Object.fromEntries(
        HELPER_NAMES.map((name) => [name, field(DESCRIPTIONS[name], optionsOf(name)).schema]),
      ),
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 1,
    },
  ],
};

const helper = check(HELPER_SCHEMA, (value, where): HelperSpec => {
  if (typeof value === "string") return { name: helperName(value, where) };
  const [entry, ...others] = isJsonObject(value) ? value : [];
  if (entry === undefined || others.length > 0)
    throw wrong(where, 'a name, or {"fakeNss": {"extraPasswdLines": […]}}', value);
  const name = helperName(entry[0], where);
  return { name, ...optionsOf(name)(entry[1], `${where}: ${name}`) };
});

/** Checks `helpers`. */
export const checkHelpers = check(arrayOf(helper).schema, (value, where): readonly HelperSpec[] => {
  const helpers = arrayOf(helper)(value, where);
  const twice = helpers.find(({ name }, i) => helpers.findIndex((other) => other.name === name) < i);
  if (twice !== undefined) throw wrong(where, `without ${twice.name} twice`);
  return helpers;
});

function helperName(name: string, where: string): HelperSpec["name"] {
  const known = HELPER_NAMES.find((each) => each === name);
  if (known !== undefined) return known;
  const near = nearest(name, HELPER_NAMES);
  const meant = near === undefined ? "" : ` (did you mean ${near}?)`;
  throw wrong(where, `one of ${HELPER_NAMES.join(", ")}, not ${JSON.stringify(name)}${meant}`);
}
