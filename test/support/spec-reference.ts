import { SPEC_SCHEMA } from "../../src/build/spec/spec.js";
import type { Schema } from "../../src/core/json-schema.js";

/** Fields that have no flag, and why; what is below them has none either. */
export const SPEC_ONLY: Readonly<Record<string, string>> = {
  $schema: "for editors",
  author: "seldom of use",
  files: "several fields each",
  layers: "several fields each",
  runAsRoot: "of dockerTools' arguments",
  diskSize: "of `runAsRoot`",
  buildVMMemorySize: "of `runAsRoot`",
  vm: "of `runAsRoot`",
  "helpers[].fakeNss": "options of a helper",
  "nixDatabase.enable": "`--nix-db` stands for true",
  "nixDatabase.uid": "those of the image are the default",
  "nixDatabase.gid": "those of the image are the default",
  "nixDatabase.uname": "those of the image are the default",
  "nixDatabase.gname": "those of the image are the default",
  "nixDatabase.directoryMode": "seldom of use",
  "nixDatabase.fileMode": "seldom of use",
  "config.Healthcheck": "several fields",
  "config.ArgsEscaped": "seldom of use",
  "config.Memory": "seldom of use",
  "config.MemorySwap": "seldom of use",
  "config.CpuShares": "seldom of use",
  "config.OnBuild": "seldom of use",
  "config.StopTimeout": "seldom of use",
  "config.Shell": "seldom of use",
};

/** Flags that are not called as their field. */
const FLAGS: Readonly<Record<string, string>> = {
  closure: "below",
  "closure.graph": "closure",
  "closure.roots": "INPUT",
  "closure.storeRoot": "store-root",
  "closure.storeDir": "store-dir",
  pipeline: "layering-pipeline",
  helpers: "helper",
  nixDatabase: "nix-db",
  config: "below",
  "config.Cmd": "cmd",
  "config.Entrypoint": "entrypoint",
  "config.Env": "env",
  "config.Labels": "label",
  "config.User": "user",
  "config.WorkingDir": "workdir",
  "config.ExposedPorts": "expose",
  "config.Volumes": "volume",
  "config.StopSignal": "stop-signal",
};

/** Fields that a file of rules has as well, which a flag names. */
const IN_FILES = ["perms"];

export interface SpecField {
  /** `layers[].deps` for what each layer has. */
  readonly path: string;
  readonly schema: Schema;
  /** The flag's name, `INPUT`, or why there is none. */
  readonly flag: string | undefined;
  readonly specOnly: string | undefined;
}

/** Every field of a spec file, those of objects in it included. */
export function specFields(schema: Schema = SPEC_SCHEMA, above = ""): readonly SpecField[] {
  const objects = [schema, ...((schema.anyOf as readonly Schema[] | undefined) ?? [])];
  const found = objects.flatMap(({ properties = {}, items }) => [
    ...Object.entries(properties as Readonly<Record<string, Schema>>).flatMap(([key, field]) => {
      const path = above === "" ? key : `${above}.${key}`;
      return [{ path, schema: field, ...reachOf(path) }, ...specFields(field, path)];
    }),
    ...(items === undefined ? [] : specFields(items as Schema, `${above}[]`)),
  ]);
  return found;
}

function reachOf(path: string): Pick<SpecField, "flag" | "specOnly"> {
  const above = (names: readonly string[]) => names.find((name) => path === name || isBelow(path, name));
  const only = above(Object.keys(SPEC_ONLY));
  if (only !== undefined) return { flag: undefined, specOnly: SPEC_ONLY[only] };
  const inFile = above(IN_FILES);
  if (inFile !== undefined) return { flag: inFile, specOnly: undefined };
  const own = FLAGS[path] ?? (/[.[]/.test(path) ? undefined : kebab(path));
  // A helper's name alone says all there is to say of it.
  return { flag: own ?? (isBelow(path, "helpers") ? "helper" : undefined), specOnly: undefined };
}

function isBelow(path: string, above: string): boolean {
  return path.startsWith(`${above}.`) || path.startsWith(`${above}[]`);
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** docs/spec.md. */
export function specReference(): string {
  const rows = specFields().map(({ path, schema, flag, specOnly }) => {
    const usual = schema.default === undefined ? "" : ` (default \`${schema.default}\`)`;
    const reason = Object.hasOwn(SPEC_ONLY, path) ? `: ${specOnly}` : "";
    const reach = flag === undefined ? `spec only${reason}` : flagText(flag);
    return `| \`${path}\` | ${shownType(schema)} | ${cell(String(schema.description))}${usual} | ${reach} |`;
  });
  return `# Fields of the spec file

Every field, with the flag that says the same; a flag wins over the file. Flags and INPUT follow links to store paths (\`./result\`), fields do not:
they name the store path. \`oci-nix schema\` prints the JSON Schema (draft 2020-12), which is
[spec.schema.json](spec.schema.json) as well; a spec file may name it in \`$schema\`, for editors. The program refuses what the schema refuses,
unknown fields above all, and what no schema can tell: names that no image can have, store paths that are not in the closure, fields that
contradict each other. \`null\` is as good as a missing field. \`[]\` in a name stands for each of an array. The [README](../README.md#spec-file)
has an example.

This file is made from the schema: \`npx vitest run test/unit/build/spec-schema.test.ts -u\`.

| field | value | what it is | flag |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function flagText(flag: string): string {
  return flag === "INPUT" || flag === "below" ? flag : `\`--${flag}\``;
}

function cell(text: string): string {
  return text.replace(/\|/g, "\\|");
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object";
}

/** An array's items are of one word, mostly. */
function shownType({ type, enum: values, anyOf, items }: Schema): string {
  if (Array.isArray(values)) return values.map((value) => `\`${value}\``).join(", ");
  if (Array.isArray(anyOf))
    return anyOf
      .map(shownType)
      .filter((text) => text !== "null")
      .join(", or ");
  const types = [type].flat().filter((name) => name !== "null");
  if (types.length === 0) return "null";
  const list = isObject(items) ? `array of ${shownType(items)}s` : "array";
  return types.map((name) => (name === "array" ? list : String(name))).join(", or ");
}
