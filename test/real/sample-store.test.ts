import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCommand } from "../support/command.js";
import { copySampleStore } from "../support/sample-store.js";
import { requireTools, tool } from "../support/tools.js";

it.skipIf(requireTools("nix-store"))("the sample store's hashes and sizes are those of its files", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sample-store-"));
  try {
    const { storeRoot, closureFile } = copySampleStore(directory);
    const objects = JSON.parse(readFileSync(closureFile, "utf8")) as readonly Readonly<
      Record<string, string | number>
    >[];
    expect(objects).toHaveLength(5);
    for (const { path, narHash, narSize } of objects) {
      const nar = (await runCommand(tool("nix-store"), ["--dump", `${storeRoot}${path}`])).stdout;
      expect({ path, narSize: nar.length }).toEqual({ path, narSize });
      expect(`sha256-${createHash("sha256").update(nar).digest("base64")}`).toBe(narHash);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
