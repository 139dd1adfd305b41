import { OciNixError } from "../core/errors.js";
import { isJsonObject, type Json } from "../core/json.js";

/** What an image runs on, in Go's words. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

/** `linux/amd64`, `linux/arm/v7`. @throws OciNixError `usage`; `where` names the origin */
export function parsePlatform(text: string, where: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9]+)(?:\/([a-z0-9.]+))?$/.exec(text) ?? [];
  if (os !== undefined && architecture !== undefined) return { os, architecture, variant };
  throw new OciNixError("usage", `${where}: ${JSON.stringify(text)} is not a platform`, {
    hint: "OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT: linux/amd64, linux/arm/v7",
  });
}

/** `linux/arm/v7` */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

/** What an image is made for, by default `linux/amd64`. */
export function linuxPlatform(of: {
  readonly architecture?: string | undefined;
  readonly variant?: string | undefined;
}): string {
  return formatPlatform({ os: "linux", architecture: of.architecture ?? "amd64", variant: of.variant });
}

/** The platform in an image config or in an index's entry; undefined where there is none. @throws OciNixError `invalid-input` */
export function parsePlatformObject(json: Json | undefined, where: string): Platform | undefined {
  if (json === undefined || json === null) return undefined;
  if (!isJsonObject(json)) throw new OciNixError("invalid-input", `${where} is not an object`);
  const text = (key: string): string | undefined => {
    // Go's empty string is a field that is not there.
    const value = json.get(key) || undefined;
    if (value === undefined || typeof value === "string") return value;
    throw new OciNixError("invalid-input", `${where}: ${key} is not a string`);
  };
  const [os, architecture, variant] = [text("os"), text("architecture"), text("variant")];
  return os === undefined || architecture === undefined ? undefined : { os, architecture, variant };
}

/** The variant that an architecture's name alone stands for. */
const PLAIN_VARIANTS: Readonly<Record<string, string>> = { amd64: "v1", arm: "v7", arm64: "v8" };

/** Which images are wanted where there are several: `every` for all of them, undefined for whichever there is, if it is one. */
export type PlatformChoice = Platform | "every" | undefined;

/** Whether an image of a platform is what was asked for; any variant is, where none was asked for. */
export function isPlatform(found: Platform | undefined, wanted: PlatformChoice): boolean {
  if (wanted === undefined || wanted === "every") return true;
  if (found?.os !== wanted.os || found.architecture !== wanted.architecture) return false;
  const variant = (platform: Platform) => platform.variant ?? PLAIN_VARIANTS[platform.architecture];
  return wanted.variant === undefined || variant(found) === variant(wanted);
}
