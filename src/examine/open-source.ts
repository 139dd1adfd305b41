import { OciNixError } from "../core/errors.js";
import type { Platform } from "../oci/platform.js";
import { readArchive } from "../transport/archive-reader.js";
import type { ImageSource } from "../transport/image.js";
import { readOciLayout } from "../transport/oci-layout-reader.js";

/** Opens the images of a place; `-` is an archive on standard input. */
export async function openSource(
  text: string,
  { signal, platform }: { readonly signal?: AbortSignal | undefined; readonly platform?: Platform | undefined },
): Promise<ImageSource> {
  if (text === "-") return await readArchive("-", { platform, signal });
  const [, kind, path = "", ref] = /^(oci|oci-archive|docker-archive):([^:]+)(?::(.+))?$/s.exec(text) ?? [];
  if (kind === undefined) throw new OciNixError("usage", `${JSON.stringify(text)} names no transport`);
  if (kind === "oci") return await readOciLayout(path, { tag: ref, platform });
  return await readArchive(path, { ref, platform, signal });
}
