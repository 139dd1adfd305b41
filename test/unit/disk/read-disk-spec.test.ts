import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDiskSpec } from "../../../src/disk/read-disk-spec.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-disk-spec-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function specFile(spec: unknown): string {
  const file = join(directory, "disk.json");
  writeFileSync(file, JSON.stringify(spec));
  return file;
}

describe("the file of a disk's spec", () => {
  it("has beside it what it names by relative paths", async () => {
    const spec = await readDiskSpec(
      specFile({
        closure: { graph: "closure.json", storeRoot: "/srv" },
        contents: [{ source: "etc/*", target: "/etc" }],
        configFile: "../configuration.nix",
        partitionTableType: "efi",
        bootLoader: { kind: "uki", kernel: "bzImage", initrd: "/boot/initrd", systemdBootDirectory: "efi" },
      }),
    );
    expect(spec).toMatchObject({
      closure: { graph: join(directory, "closure.json"), storeRoot: "/srv" },
      contents: [{ source: join(directory, "etc/*"), target: "/etc" }],
      configFile: join(directory, "../configuration.nix"),
      bootLoader: {
        kind: "uki",
        kernel: join(directory, "bzImage"),
        initrd: "/boot/initrd",
        systemdBootDirectory: join(directory, "efi"),
      },
    });
  });

  it.each([
    ["oci:layout:1", (beside: string) => `oci:${beside}/layout:1`],
    ["docker-archive:/srv/a.tar", () => "docker-archive:/srv/a.tar"],
    ["docker://debian:12", () => "docker://debian:12"],
  ])("has the image %s where it is", async (fromImage, expected) => {
    expect((await readDiskSpec(specFile({ fromImage }))).fromImage).toBe(expected(directory));
  });

  it("gives way to what is said otherwise", async () => {
    const changes = new Map([["format", "vdi"]]);
    const spec = specFile({ fromImage: "oci:a:b", format: "raw" });
    expect((await readDiskSpec(spec, changes)).format).toBe("vdi");
  });

  it.each([[[]], ["text"], [null]])("is an object, not %j", async (json) => {
    await expect(readDiskSpec(specFile(json))).rejects.toThrow(/disk\.json must be an object/);
  });
});
