import { createHash } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished, pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { BlobSource } from "../core/blob.js";
import { type Digest, parseDigest } from "../core/digest.js";
import { describeErrno, errnoOf, OciNixError } from "../core/errors.js";
import { abortReason } from "../core/event-loop-turns.js";
import { copyRange, openForReading, readPieces, readRange } from "../core/file-range.js";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../core/json.js";
import { runFilter } from "../core/process.js";
import { type ArchiveMember, indexArchive, memberName } from "../tar/reader.js";

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
  const opened = openForReading(path);
  let fd = opened.fd;
  try {
    const magic = readRange(fd, { offset: 0, size: Math.min(4, opened.size) }, path).toString("hex");
    if (magic.startsWith("1f8b")) {
      fd = await unpackToTemporary(opened.fd, path, signal);
      opened.close();
    } else {
      const tool = DECOMPRESSORS.find(({ magic: start }) => magic.startsWith(start));
      if (tool !== undefined) {
        fd = await filterToTemporary(tool, opened.fd, path, signal);
        opened.close();
      }
    }
    return await readImage(fd, path, signal);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** First bytes of an archive in hexadecimal, and who unpacks it. */
const DECOMPRESSORS = [
  { magic: "425a68", program: "bzip2", args: ["-dc"], debianPackage: "bzip2" },
  { magic: "fd377a58", program: "xz", args: ["-dc"], debianPackage: "xz-utils" },
  { magic: "28b52ffd", program: "zstd", args: ["-dcq"], debianPackage: "zstd" },
] as const;

async function filterToTemporary(
  tool: (typeof DECOMPRESSORS)[number],
  from: number,
  path: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const fd = openNameless();
  // The child shares our file offset, which reading the first bytes at a position has not moved.
  try {
    await runFilter(tool, from, fd, signal);
    return fd;
  } catch (error) {
    closeSync(fd);
    if (!(error instanceof OciNixError) || error.code === "interrupted") throw error;
    throw new OciNixError(error.code, `${path} cannot be unpacked: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

async function unpackToTemporary(from: number, path: string, signal: AbortSignal | undefined): Promise<number> {
  const fd = openNameless();
  try {
    await pipeline(
      readPieces(from),
      createGunzip(),
      async (pieces: AsyncIterable<Buffer>) => {
        for await (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
      },
      { ...(signal === undefined ? {} : { signal }) },
    );
    return fd;
  } catch (error) {
    closeSync(fd);
    if (signal?.aborted) throw abortReason(signal);
    if (/^(ENOSPC|EDQUOT|EFBIG|EIO)$/.test(errnoOf(error) ?? "")) {
      throw new OciNixError("output", `${path} cannot be unpacked to ${tmpdir()}: ${describeErrno(error)}`, {
        hint: "set TMPDIR to a directory with more space, or unpack the image first: gunzip",
        cause: error,
      });
    }
    throw new OciNixError("invalid-input", `${path} cannot be unpacked: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** A temporary file that is gone whenever the process ends, however it ends. */
function openNameless(): number {
  try {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-"));
    try {
      return openSync(join(directory, "archive.tar"), "wx+", 0o600);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  } catch (error) {
    throw new OciNixError("output", `cannot make a temporary file in ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory that can be written to",
      cause: error,
    });
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
