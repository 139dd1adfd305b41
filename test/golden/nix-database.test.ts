import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../src/core/digest.js";
import { formatNixDatabase } from "../../src/nix/database-writer.js";
import { parseClosure } from "../../src/nix/read-closure.js";

describe("the Nix database's bytes", () => {
  // They are part of an image's layers: whatever changes them, a newer SQLite included, changes the digests of images.
  it.each([
    ["testdata/sample-store/closure.json", "sha256:7db225c04e3dd85d8959fe90f2ea730db471fd76b786466a0286f464759d02fe"],
    ["testdata/closures/registration.txt", "sha256:7567c8920c54f40427788cdb8750a2f691633993c14e0b8293fac4409f75570c"],
  ])("are for %s what they were", (file, digest) => {
    const closure = parseClosure(readFileSync(file, "utf8"), { source: file });
    expect(sha256(formatNixDatabase(closure.objects.values()))).toBe(digest);
  });
});
