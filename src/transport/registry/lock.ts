import { existsSync } from "node:fs";
import { type Digest, parseDigest } from "../../core/digest.js";
import { OciNixError } from "../../core/errors.js";
import { formatPythonJson, isJsonObject, type Json, parseJson, toJson } from "../../core/json.js";
import { readTextFileSync } from "../../core/json-file.js";
import { writeOutputFile } from "../../core/output-file.js";
import { formatPlatform, isPlatform, type Platform, parsePlatform, parsePlatformObject } from "../../oci/platform.js";
import type { StoredImage } from "../image.js";
import { parseDocument } from "../stored-files.js";
import { formatRegistryName, type RegistryName } from "./reference.js";

/** Which image a name stands for, once and for all. */
export interface ImageLock {
  /** `host/repository` */
  readonly name: string;
  readonly tag: string | undefined;
  /** The digest in the name, which may be an index's. */
  readonly requested: Digest | undefined;
  /** Of the image's manifest. */
  readonly digest: Digest;
  /** What was asked for, or else the image's. */
  readonly platform: Platform | undefined;
  /** The manifest, for whoever wants to know or fetch its blobs; only {@link digest} counts. */
  readonly manifest: Json;
}

/** @param image as it was read from the registry by this name; `platform`, if one was asked for */
export function lockOf({ manifest, config }: StoredImage, name: RegistryName, platform?: Platform): ImageLock {
  if (manifest === undefined) throw new Error("images of registries have manifests");
  return {
    name: `${name.host}/${name.repository}`,
    tag: name.tag,
    requested: name.digest,
    digest: manifest.descriptor.digest,
    platform: platform ?? parsePlatformObject(parseDocument(config.bytes, "the image config"), "the image config"),
    manifest: parseDocument(manifest.bytes, "the manifest"),
  };
}

/** A lock file: indented JSON. */
export function formatLock({ name, tag, requested, digest, platform, manifest }: ImageLock): string {
  const json = { name, tag, requested, digest, platform: platform && formatPlatform(platform), manifest };
  return `${formatPythonJson(toJson(json))}\n`;
}

/** Reads a lock file; undefined where there is none yet. @throws OciNixError `invalid-input` or `unreadable` */
export function readLock(file: string): ImageLock | undefined {
  if (!existsSync(file)) return undefined;
  const text = readTextFileSync(file);
  try {
    return parseLock(text, file);
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    throw new OciNixError(error.code, `the lock file ${error.message}`, {
      hint: 'locks are {"name": "HOST/REPOSITORY", "tag": …, "digest": "sha256:…", …}, as they are made where there is none: remove the file, or name another one',
      cause: error.cause,
    });
  }
}

/** Writes a lock file, whole or not at all. @throws OciNixError `not-found` or `output` */
export function writeLock(file: string, lock: ImageLock): void {
  writeOutputFile(file, formatLock(lock));
}

/** The text of a lock file. @throws OciNixError `invalid-input` */
export function parseLock(text: string, source: string): ImageLock {
  const json = parseJson(text, source);
  if (!isJsonObject(json)) throw new OciNixError("invalid-input", `${source} is not an object`);
  const optional = (key: string): string | undefined => {
    const value = json.get(key) ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    throw new OciNixError("invalid-input", `${source}: ${key} is not a string`);
  };
  const name = optional("name");
  if (name === undefined) throw new OciNixError("invalid-input", `${source}: name is missing`);
  const platform = optional("platform");
  const requested = optional("requested");
  return {
    name,
    tag: optional("tag"),
    requested: requested === undefined ? undefined : parseDigest(requested, `${source}: requested`),
    digest: parseDigest(json.get("digest"), `${source}: digest`),
    platform: platform === undefined ? undefined : parsePlatform(platform, `${source}: platform`),
    manifest: json.get("manifest") ?? null,
  };
}

/** Whether a lock is for what is asked for. @throws OciNixError `conflict` */
export function checkLock(lock: ImageLock, name: RegistryName, platform: Platform | undefined): void {
  const asked = `${name.host}/${name.repository}`;
  const differs = (what: string, locked: string, wanted: string) =>
    new OciNixError(
      "conflict",
      `${formatRegistryName(name)}: the lock file is for the ${what} ${locked}, not ${wanted}`,
      {
        hint: "remove the lock file to lock it anew",
      },
    );
  if (lock.name !== asked) throw differs("name", lock.name, asked);
  if (lock.tag !== name.tag) throw differs("tag", lock.tag ?? "none", name.tag ?? "none");
  if (lock.requested !== name.digest) throw differs("digest", lock.requested ?? "none", name.digest ?? "none");
  if (platform === undefined || isPlatform(lock.platform, platform)) return;
  throw differs("platform", lock.platform ? formatPlatform(lock.platform) : "none", formatPlatform(platform));
}
