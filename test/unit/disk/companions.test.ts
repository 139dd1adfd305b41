import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { OciNixError } from "../../../src/core/errors.js";
import { Companions } from "../../../src/disk/companions.js";
import { cleanUpDisks, directory } from "../../support/disks.js";

describe("what comes with a disk image", () => {
  cleanUpDisks();
  let where: string;
  let companions: Companions;
  beforeEach(() => {
    where = directory();
    companions = new Companions(join(where, "disk.img"));
    writeFileSync(companions.image, "new");
  });

  const failure = () => {
    try {
      companions.publish();
    } catch (error) {
      return error as OciNixError;
    } finally {
      companions.discard();
    }
    return undefined;
  };

  it("lies beside it, and the image replaces the one before", () => {
    writeFileSync(join(where, "disk.img"), "old");
    writeFileSync(join(where, "vars"), "variables");
    companions.add(join(where, "vars"), "efi-vars.fd");
    mkdirSync(join(companions.directory, "nix-support"));
    expect(companions.publish()).toEqual({
      file: join(where, "disk.img"),
      companions: [join(where, "efi-vars.fd"), join(where, "nix-support")],
    });
    companions.discard();
    expect(readdirSync(where).sort()).toEqual(["disk.img", "efi-vars.fd", "nix-support", "vars"]);
    expect(readFileSync(join(where, "disk.img"), "utf8")).toBe("new");
  });

  it("replaces nothing else, and then nothing is changed", () => {
    writeFileSync(join(where, "disk.img"), "old");
    writeFileSync(join(where, "b"), "theirs");
    for (const name of ["a", "b"]) writeFileSync(join(companions.directory, name), "ours");
    expect(failure()?.code).toBe("conflict");
    expect(readdirSync(where).sort()).toEqual(["b", "disk.img"]);
    expect(["b", "disk.img"].map((name) => readFileSync(join(where, name), "utf8"))).toEqual(["theirs", "old"]);
  });

  it("goes without the image where that was removed", () => {
    rmSync(companions.image);
    writeFileSync(join(companions.directory, "disk.vhd"), "");
    expect(companions.publish()).toEqual({ file: undefined, companions: [join(where, "disk.vhd")] });
    companions.discard();
  });

  it("takes back what had its name already, where the image cannot have its own", () => {
    mkdirSync(join(where, "disk.img"));
    writeFileSync(join(companions.directory, "a"), "ours");
    expect(failure()).toMatchObject({
      code: "output",
      message: expect.stringMatching(/^cannot put disk\.img beside the disk image: .*\((EISDIR|EEXIST|ENOTEMPTY)\)/),
    });
    expect(readdirSync(where)).toEqual(["disk.img"]);
  });
});
