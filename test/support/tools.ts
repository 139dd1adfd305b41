import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

// Daemons and package tools are here, which is not on everybody's PATH.
const SYSTEM_DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The full path of a program, or undefined where there is none. */
export function findTool(name: string): string | undefined {
  for (const directory of [...(process.env.PATH ?? "").split(delimiter), ...SYSTEM_DIRECTORIES]) {
    if (directory === "") continue;
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Look in the next directory.
    }
  }
  return undefined;
}

/** The full path of a program. @throws Error where there is none */
export function tool(name: string): string {
  const found = findTool(name);
  if (found === undefined) throw new Error(`${name} is not installed; run ./scripts/setup`);
  return found;
}

/**
 * What tests need that may be absent: programs by name, or `root` for the rights of root.
 *
 * Gives the reason to skip them, or undefined where all is there: `describe.skipIf(requireTools("dockerd", "root"))`.
 * @throws Error in CI (`CI` is set), where a skipped test would go unnoticed
 */
export function requireTools(...names: readonly string[]): string | undefined {
  const missing = names.filter((name) => (name === "root" ? process.getuid?.() !== 0 : findTool(name) === undefined));
  if (missing.length === 0) return undefined;
  const reason = `these tests need ${missing.join(", ")}`;
  if (process.env.CI) throw new Error(`${reason}; run ./scripts/setup as root`);
  return reason;
}
