import { createHash } from "node:crypto";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { BlobSource } from "../core/blob.js";
import { type Digest, parseDigest } from "../core/digest.js";
import { OciNixError } from "../core/errors.js";
import { copyRange, readRange } from "../core/file-range.js";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../core/json.js";
import { type ArchiveMember, indexArchive, memberName } from "../tar/reader.js";
import { openUnpacked } from "./unpacked-file.js";

/** One layer of an archived image, byte for byte as the archive has it. */
export interface ArchivedLayer {
  readonly blob: BlobSource;
  /** The member's name. */
  readonly name: string;
  readonly diffId: Digest;
}

/** The first image of a docker-archive. */
export interface ArchivedImage {
  readonly config: JsonObject;
  readonly layers: readonly ArchivedLayer[];
  /** Gives back the file; the layers cannot be read afterwards. */
  close(): void;
}

/** containerd and Docker refuse larger JSON documents. */
const MAX_JSON = 20 * 1024 * 1024;

/**
 * Opens a docker-archive, plain or compressed as a whole: by gzip, or by bzip2, xz or zstd where that program is installed. A compressed
 * one is unpacked to a temporary file that has no name any more.
 * @throws OciNixError `not-found`, `unreadable`, or `invalid-input` saying what the archive lacks
 */
export async function openDockerArchive(path: string, signal?: AbortSignal): Promise<ArchivedImage> {
  const { fd, close } = await openUnpacked(path, signal);
  try {
    return await readImage(fd, path, signal);
  } catch (error) {
    close();
    throw error;
  }
}

async function readImage(fd: number, path: string, signal: AbortSignal | undefined): Promise<ArchivedImage> {
  const members = await indexArchive(fd, path, signal);
  const manifest = readJson(fd, path, members, "manifest.json");
  const image = Array.isArray(manifest) ? (manifest[0] as Json | undefined) : undefined;
  const configName = isJsonObject(image) ? image.get("Config") : undefined;
  const layerNames = isJsonObject(image) ? image.get("Layers") : undefined;
  if (typeof configName !== "string" || !isStrings(layerNames)) {
    throw new OciNixError("invalid-input", `${path}: manifest.json does not describe an image (Config and Layers)`);
  }
  const config = readJson(fd, path, members, configName);
  const rootfs = isJsonObject(config) ? config.get("rootfs") : undefined;
  const diffIds = isJsonObject(rootfs) ? rootfs.get("diff_ids") : undefined;
  if (!isJsonObject(config) || !isStrings(diffIds)) {
    throw new OciNixError("invalid-input", `${path}: ${configName} is not an image config (rootfs.diff_ids)`);
  }
  if (diffIds.length !== layerNames.length) {
    throw new OciNixError(
      "invalid-input",
      `${path}: manifest.json lists ${layerNames.length} layers, ${configName} has ${diffIds.length} diff_ids`,
    );
  }
  const layers = layerNames.map((name, i) => {
    const diffId = parseDigest(diffIds[i], `${path}: ${configName}`);
    return { name, diffId, blob: layerBlob(fd, resolveMember(members, name, path), diffId, `${path}: ${name}`) };
  });
  return { config, layers, close: () => closeSync(fd) };
}

function isStrings(value: Json | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function readJson(fd: number, path: string, members: ReadonlyMap<string, ArchiveMember>, name: string): Json {
  const member = resolveMember(members, name, path);
  if (member.size > MAX_JSON) throw new OciNixError("limit", `${path}: ${name} is larger than ${MAX_JSON} bytes`);
  return parseJson(readRange(fd, member, path).toString("utf8"), `${path}: ${name}`);
}

/** Old `docker save` archives share layers by symlinks, others by hard links. */
function resolveMember(members: ReadonlyMap<string, ArchiveMember>, name: string, path: string): ArchiveMember {
  let at = memberName(name);
  for (let hops = 0; hops < 10; hops++) {
    const member = members.get(at);
    if (member === undefined) break;
    if (member.type === "file") return member;
    if (member.type === "symlink") at = join(at, "..", member.linkTarget);
    else if (member.type === "link") at = memberName(member.linkTarget);
    else break;
  }
  throw new OciNixError("invalid-input", `${path} holds no file ${JSON.stringify(name)}`, {
    hint:
      name === "manifest.json" ? "a docker-archive as docker save writes it is expected" : "the archive is incomplete",
  });
}

/** The layer as it is, plain or gzipped; its uncompressed bytes must have the recorded digest. */
function layerBlob(fd: number, member: ArchiveMember, diffId: Digest, title: string): BlobSource {
  return {
    title,
    size: member.size,
    async writeTo(out) {
      const gzipped =
        member.size >= 2 && readRange(fd, { offset: member.offset, size: 2 }, title).toString("hex") === "1f8b";
      out.beginDigest();
      let digest: Digest;
      if (gzipped) {
        const check = gunzipDigest(title);
        await copyRange(fd, member, out, title, check.take);
        out.endDigest();
        digest = await check.end();
      } else {
        await copyRange(fd, member, out, title);
        digest = out.endDigest();
      }
      if (digest !== diffId) {
        throw new OciNixError("verification", `${title} is ${digest}, but the image config says ${diffId}`, {
          hint: "the base image is damaged: fetch it again",
        });
      }
      return diffId;
    },
  };
}

function gunzipDigest(title: string): { take(piece: Uint8Array): void | Promise<void>; end(): Promise<Digest> } {
  const hash = createHash("sha256");
  const gunzip = createGunzip();
  gunzip.on("data", (piece: Uint8Array) => hash.update(piece));
  const done = finished(gunzip);
  // Looked at in end(); until then a failure must not count as unhandled.
  done.catch(() => undefined);
  return {
    take(piece) {
      if (gunzip.write(Buffer.from(piece)) || gunzip.destroyed) return undefined;
      return new Promise((resolve) => {
        gunzip.once("drain", resolve);
        gunzip.once("close", resolve);
      });
    },
    async end() {
      gunzip.end();
      try {
        await done;
      } catch (error) {
        throw new OciNixError("verification", `${title} cannot be unpacked: ${(error as Error).message}`, {
          hint: "the base image is damaged: fetch it again",
          cause: error,
        });
      }
      return `sha256:${hash.digest("hex")}`;
    },
  };
}
