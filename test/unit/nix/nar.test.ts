import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { normaliseNarHash } from "../../../src/nix/hash.js";
import { narHash } from "../../../src/nix/nar.js";
import { copySampleStore } from "../../support/sample-store.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-nar-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("narHash", () => {
  it("is Nix's of the sample store", async () => {
    const { storeRoot, closureFile } = copySampleStore(directory);
    const objects = JSON.parse(readFileSync(closureFile, "utf8")) as { path: string; narHash: string }[];
    expect(objects.length).toBeGreaterThan(0);
    for (const { path, narHash: expected } of objects) {
      expect(await narHash(storeRoot + path)).toBe(normaliseNarHash(expected, path));
    }
  });

  it("tells names, contents, kinds and the executable bit apart", async () => {
    const hashes = new Set<string>();
    const top = join(directory, "top");
    const add = async (make: () => void) => {
      rmSync(top, { recursive: true, force: true });
      make();
      hashes.add(await narHash(top));
    };
    const inside = (make: () => void) => () => {
      mkdirSync(top);
      make();
    };
    await add(() => writeFileSync(top, "text"));
    await add(() => writeFileSync(top, "texu"));
    await add(() => writeFileSync(top, "text", { mode: 0o755 }));
    await add(() => symlinkSync("text", top));
    await add(inside(() => undefined));
    await add(inside(() => writeFileSync(join(top, "a"), "")));
    await add(inside(() => mkdirSync(join(top, "a"))));
    await add(inside(() => writeFileSync(Buffer.concat([Buffer.from(`${top}/`), Buffer.from([0xff])]), "")));
    expect(hashes.size).toBe(8);
  });

  it("names what cannot be read", async () => {
    await expect(narHash(join(directory, "absent"))).rejects.toThrow(/cannot read .*absent: no such file/);
  });
});
