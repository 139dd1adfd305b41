import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { DiskSpec } from "../../../src/disk/disk-spec.js";
import { checkOutputApart } from "../../../src/disk/inputs.js";
import { diskFile, makeRawFile } from "../../../src/disk/raw-file.js";
import { cleanUpDisks, directory } from "../../support/disks.js";

describe("where a disk image goes", () => {
  cleanUpDisks();
  let where: string;
  beforeEach(() => {
    where = directory();
    mkdirSync(join(where, "src/below"), { recursive: true });
    for (const name of ["kernel", "a.img", "src/a.conf"]) writeFileSync(join(where, name), "");
  });

  const at = (name: string) => join(where, name);
  const check = (to: string, spec: DiskSpec, inputs: readonly string[] = []) =>
    checkOutputApart(diskFile(at(to), "nixos.img"), spec, inputs);

  it.each([
    ["the spec", () => [{}, [at("a.img")]]],
    ["a kernel", () => [{ bootLoader: { kind: "grub", kernel: at("a.img") } }]],
    ["an initrd", () => [{ bootLoader: { kind: "grub", initrd: at("a.img") } }]],
    ["a graph", () => [{ closure: { graph: at("a.img") } }]],
    ["an image's archive", () => [{ fromImage: `docker-archive:${at("a.img")}:a:b` }]],
    ["a file that is copied in", () => [{ contents: [{ source: at("a.img"), target: "/a" }] }]],
    ["one of several that are", () => [{ contents: [{ source: at("*.img"), target: "/a" }] }]],
    ["NixOS's configuration", () => [{ configFile: at("a.img") }]],
    ["the kernel of a virtual machine", () => [{ vm: { kernel: at("a.img"), modules: where } }]],
  ] as const satisfies readonly (readonly [string, () => readonly [DiskSpec, (readonly string[])?]])[])(
    "is not the file of %s, by any name",
    (_, inputs) => {
      const [spec, others] = inputs() as readonly [DiskSpec, (readonly string[])?];
      symlinkSync("a.img", at("symlink"));
      linkSync(at("a.img"), at("link"));
      for (const name of ["a.img", "symlink", "link"]) {
        expect(() => check(name, spec, others)).toThrow(/(a\.img|link) is read, and would be replaced/);
      }
      expect(() => check("kernel", { ...spec, vm: undefined }, others)).not.toThrow();
    },
  );

  it("is in no directory that is read", () => {
    const spec = { contents: [{ source: at("src"), target: "/a" }] };
    symlinkSync("src/below", at("symlink"));
    for (const to of ["src/a.conf", "src/new.img", "src/below", "symlink", "symlink/new.img"]) {
      expect(() => check(to, spec)).toThrow(/would be in .*src, which is read/);
    }
    expect(() => check("src.img", spec)).not.toThrow();
    expect(() => check("src/new.img", { fromImage: `oci:${at("src")}:a` })).toThrow(/would be in/);
  });

  it("is no file below a file, behind a circle of links, or with a name that is too long", () => {
    symlinkSync("circle", at("circle"));
    expect(() => diskFile(at("a.img/x"), "n")).toThrow(/cannot write .*a\.img\/x: a parent is not a directory/);
    expect(() => diskFile(at("circle"), "n")).toThrow(/cannot write .*circle: too many symbolic links/);
    expect(() => diskFile(at("x".repeat(300)), "n")).toThrow(/cannot write .*x: the path is too long/);
  });

  it.each([
    ["", "an empty name"],
    ["-", "standard output or another descriptor"],
    ["/dev/stdout", "standard output or another descriptor"],
    ["/dev/fd/7", "standard output or another descriptor"],
  ])("is not what %j names", (to, what) => {
    expect(() => diskFile(to, "nixos.img")).toThrow(
      expect.objectContaining({ code: "usage", message: `a disk image is not written to ${what}` }),
    );
  });

  it("is in no directory that takes no files", () => {
    expect(() => makeRawFile("/proc/x", 1)).toThrow("cannot write to /proc: no such file or directory (ENOENT)");
  });

  it("is in a directory that is there, where its name ends in a slash", () => {
    expect(() => diskFile(at("missing/"), "n")).toThrow(/there is no directory .*missing to write to/);
    expect(() => diskFile(at("a.img/"), "n")).toThrow(/there is no directory .*a\.img to write to/);
    expect(diskFile(at("src/"), "n")).toBe(at("src/n"));
  });

  it.each(["", "-", "/dev/stdout"])("is not %j", (to) => {
    expect(() => diskFile(to, "n")).toThrow(/a disk image is not written to/);
  });
});
