import { readdirSync } from "node:fs";
import { StoreFiles } from "../build/customisation/store-files.js";
import { displayBytes, encodeUtf8, fsPath } from "../core/byte-string.js";
import { compareStrings, OciNixError } from "../core/errors.js";
import { shortened } from "../core/json.js";
import type { DiskSpec } from "./disk-spec.js";

/** How many names of a directory an error lists. */
const MAX_NAMES = 5;

/**
 * That what becomes the system profile and root's channel is what NixOS takes for one.
 * @param store where the spec's store paths are; they are there
 * @throws OciNixError `invalid-input` where one is something else, `unreadable`
 */
export function checkNixosPaths(
  { toplevel, channel, copyChannel = true }: DiskSpec,
  store: { readonly storeRoot: string; readonly storeDir: string },
): void {
  const files = new StoreFiles(store.storeRoot, store.storeDir);
  const fail = (field: string, path: string, what: string, hint: string): never => {
    const found = namesIn(fsPath(files.sourceOf(encodeUtf8(path))));
    throw new OciNixError("invalid-input", `${field}: ${path} ${what}; found ${found}`, { hint });
  };
  // NixOS has no option that leaves it out, as it has for most other files.
  if (toplevel !== undefined && files.resolve(encodeUtf8(`${toplevel}/nixos-version`)).type === "missing") {
    fail(
      "toplevel",
      toplevel,
      "is no NixOS system: it has no file nixos-version",
      "name config.system.build.toplevel; other store paths go to closure.roots",
    );
  }
  if (channel !== undefined && copyChannel && files.resolve(encodeUtf8(`${channel}/nixos`)).type !== "directory") {
    fail(
      "channel",
      channel,
      "has no directory nixos, which a channel's expressions are in",
      "name a store path whose nixos is nixpkgs; other store paths go to closure.roots",
    );
  }
}

/** What a store path is, for messages. */
function namesIn(path: Buffer | string): string {
  let names: string[];
  try {
    names = readdirSync(path, { encoding: "latin1" }).sort(compareStrings);
  } catch {
    return "no directory";
  }
  const shown = names.slice(0, MAX_NAMES).map((name) => shortened(displayBytes(name)));
  if (shown.length === 0) return "an empty directory";
  return `${shown.join(", ")}${names.length > MAX_NAMES ? " …" : ""}`;
}
