import { dirname, resolve } from "node:path";
import { isJsonObject, type Json } from "../core/json.js";
import { readJsonFile } from "../core/json-file.js";
import { descriptorNamed } from "../core/output-file.js";
import { checkDiskSpec } from "./check-disk-spec.js";
import type { DiskSpec } from "./disk-spec.js";

/**
 * Reads the spec of a disk image. What it names by relative paths lies beside it.
 * @param changes fields to be other than in the file, by name
 * @throws OciNixError `not-found` or `unreadable`; as `checkDiskSpec`
 */
export async function readDiskSpec(file: string, changes: ReadonlyMap<string, Json> = new Map()): Promise<DiskSpec> {
  const json = await readJsonFile(file);
  const spec = checkDiskSpec(isJsonObject(json) ? new Map([...json, ...changes]) : json, file);
  const base = descriptorNamed(file) === undefined ? dirname(resolve(file)) : process.cwd();
  const beside = (path: string) => resolve(base, path);
  const { closure, contents, configFile, bootLoader, fromImage } = spec;
  return {
    ...spec,
    ...(closure === undefined ? {} : { closure: mapped(closure, ["graph", "storeRoot"], beside) }),
    ...(contents === undefined ? {} : { contents: contents.map((each) => mapped(each, ["source"], beside)) }),
    ...(configFile === undefined ? {} : { configFile: beside(configFile) }),
    ...(bootLoader === undefined ? {} : { bootLoader: mapped(bootLoader, BOOT_FILES, beside) }),
    ...(fromImage === undefined ? {} : { fromImage: imageBeside(fromImage, beside) }),
  };
}

const BOOT_FILES = ["kernel", "initrd", "grubBiosDirectory", "grubEfiDirectory", "systemdBootDirectory"] as const;

function mapped<T extends object>(object: T, keys: readonly (keyof T)[], map: (path: string) => string): T {
  const changed = keys.flatMap((key) => {
    const value = object[key];
    return typeof value === "string" ? [[key, map(value)] as const] : [];
  });
  return { ...object, ...Object.fromEntries(changed) };
}

/** Images in files and directories lie beside the spec as well. */
function imageBeside(place: string, beside: (path: string) => string): string {
  const [, kind, rest = ""] = /^([a-z-]+:)(.*)$/s.exec(place) ?? [];
  const isFile = kind === "oci:" || kind === "oci-archive:" || kind === "docker-archive:";
  return isFile && rest !== "" && !/^-(:|$)/.test(rest) ? kind + beside(rest) : place;
}
