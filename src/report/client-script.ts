import { readFileSync } from "node:fs";
import { describeErrno, OciNixError } from "../core/errors.js";

/** The modules of the page's script, each after those it imports. */
const MODULES = [
  "format",
  "data",
  "graph",
  "squarify",
  "layout",
  "dom",
  "view",
  "treemap",
  "details",
  "table",
  "main",
] as const;

/**
 * The page's script: the compiled modules in one, without imports and exports.
 * @throws OciNixError `unreadable` where the program is not installed whole
 */
export function clientScript(): string {
  return `"use strict";(() => {\n${MODULES.map(moduleText).join("")}})();`;
}

function moduleText(name: (typeof MODULES)[number]): string {
  // The same from the source as from what is compiled: both are two directories below the package.
  const file = new URL(`../../dist/report/client/${name}.js`, import.meta.url);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${file.pathname}: ${describeErrno(error)}`, {
      hint: "install oci-nix again; in a working copy run npm run build",
      cause: error,
    });
  }
  return text.replace(/^import .*;\n/gm, "").replace(/^export (?:\{\};\n)?/gm, "");
}
