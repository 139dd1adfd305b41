import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";
import type * as TarStream from "tar-stream";
import { OciNixError } from "../core/errors.js";
import { abortReason } from "../core/event-loop-turns.js";
import { readPieces } from "../core/file-range.js";

const require = createRequire(import.meta.url);

/** One member of an archive in a file, and where its contents lie. */
export interface ArchiveMember {
  readonly type: "file" | "directory" | "symlink" | "link" | "other";
  readonly size: number;
  /** Of the contents, in bytes from the start of the file. */
  readonly offset: number;
  readonly linkTarget: string;
}

/**
 * Indexes an uncompressed tar (ustar, pax, GNU) by member name; of a repeated name the last member counts, as when it is unpacked.
 * Names lose a leading `./` and a trailing slash.
 *
 * @param fd open for reading; read from the start
 * @throws OciNixError `invalid-input` where it is no tar or is cut off; `source` is what the message calls it
 */
export async function indexArchive(
  fd: number,
  source: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, ArchiveMember>> {
  const members = new Map<string, ArchiveMember>();
  // Loaded when first needed: most images have no base.
  const { extract: newExtract } = require("tar-stream") as typeof TarStream;
  const extract = newExtract();
  extract.on("entry", (header, contents, next) => {
    // byteOffset is there since tar-stream 3.1.5; its types do not know it yet.
    const { byteOffset } = header as unknown as { readonly byteOffset: number };
    members.set(memberName(header.name), {
      type: memberType(header.type),
      size: header.size ?? 0,
      offset: byteOffset,
      linkTarget: header.linkname ?? "",
    });
    // A cut archive also fails the member it is cut in, which the pipeline does not listen to.
    contents.on("error", () => undefined);
    contents.on("end", next);
    contents.resume();
  });
  try {
    await pipeline(readPieces(fd), extract, {
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw abortReason(signal);
    throw new OciNixError("invalid-input", `${source} is not a complete tar archive: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return members;
}

/** A member's name as indexes key it. */
export function memberName(name: string): string {
  return name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
}

function memberType(type: string | null | undefined): ArchiveMember["type"] {
  switch (type) {
    case "file":
    case "contiguous-file":
      return "file";
    case "directory":
    case "symlink":
    case "link":
      return type;
    default:
      return "other";
  }
}
