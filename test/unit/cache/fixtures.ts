import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../../../src/core/digest.js";

/** A digest that stands for a name. */
export const digest = (name: string) => sha256(name);

/** A new directory; `remove` takes it away. */
export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "oci-nix-cache-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
