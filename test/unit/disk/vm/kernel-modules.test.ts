import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { moduleDependencies, readModules } from "../../../../src/disk/vm/kernel-modules.js";
import { runOk } from "../../../support/command.js";
import { requireTools, tool } from "../../../support/tools.js";

/** An ELF file with the sections .modinfo and .shstrtab. */
function moduleFile(...info: readonly string[]): Buffer {
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const modinfo = Buffer.from(info.map((each) => `${each}\0`).join(""));
  const header = Buffer.alloc(64);
  header.write("7f454c46020101", "hex");
  header.writeBigUInt64LE(BigInt(64 + modinfo.length + names.length), 40);
  for (const [value, at] of [
    [64, 58],
    [3, 60],
    [2, 62],
  ] as const)
    header.writeUInt16LE(value, at);
  const section = (name: number, offset: number, size: number) => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeBigUInt64LE(BigInt(offset), 24);
    bytes.writeBigUInt64LE(BigInt(size), 32);
    return bytes;
  };
  const own = section(1, 64, modinfo.length);
  const strings = section(10, 64 + modinfo.length, names.length);
  return Buffer.concat([header, modinfo, names, Buffer.alloc(64), own, strings]);
}

const module = (depends: string) => moduleFile("license=GPL", `depends=${depends}`, "name=x");

describe("the modules of a kernel", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "modules-"));
    mkdirSync(join(directory, "kernel/fs"), { recursive: true });
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const write = (path: string, bytes: Uint8Array) => writeFileSync(join(directory, "kernel", path), bytes);
  const names = async (needed: readonly string[], optional: readonly string[] = []) =>
    (await readModules(directory, { needed, optional })).map(({ name }) => name);

  it("are of a directory that can be listed", async () => {
    rmSync(directory, { recursive: true });
    await expect(names(["ext4"])).rejects.toMatchObject({
      code: "unreadable",
      message: `cannot list the modules in ${directory}: no such file or directory (ENOENT)`,
    });
  });

  it("come after all that they depend on, each once", async () => {
    write("fs/ext4.ko", module("mbcache,jbd2,crc16"));
    write("fs/jbd2.ko", module("crc16"));
    write("fs/mbcache.ko", module(""));
    write("crc16.ko", module(""));
    expect(await names(["jbd2", "ext4"])).toEqual(["crc16", "jbd2", "mbcache", "ext4"]);
  });

  it("may have hyphens in file names, and underscores where they are named", async () => {
    write("virtio-blk.ko", module("virtio-ring"));
    write("virtio_ring.ko", module(""));
    expect(await names(["virtio_blk"])).toEqual(["virtio_ring", "virtio_blk"]);
  });

  it("are left out where they are part of the kernel, or optional and not there", async () => {
    writeFileSync(join(directory, "modules.builtin"), "kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c-generic.ko\n");
    write("vfat.ko", module("crc32c_generic"));
    expect(await names(["ext4"], ["vfat", "nls_ascii"])).toEqual(["vfat"]);
  });

  it.skipIf(requireTools("zstd", "xz"))("are unpacked from gzip, zstd and xz", async () => {
    write("a.ko.gz", gzipSync(module("b")));
    for (const [program, name, depends] of [
      ["zstd", "b.ko.zst", "c"],
      ["xz", "c.ko.xz", ""],
    ] as const) {
      writeFileSync(join(directory, "plain"), module(depends));
      await runOk("sh", ["-c", `${tool(program)} -q -c plain >kernel/${name}`], { cwd: directory });
    }
    const modules = await readModules(directory, { needed: ["a"], optional: [] });
    expect(modules.map(({ contents }) => Buffer.from(contents))).toEqual([module(""), module("c"), module("b")]);
  });

  it("are named where they are missing, with what needs them", async () => {
    write("ext4.ko", module("jbd2"));
    await expect(names(["virtio_blk"])).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("no module virtio_blk, and"),
      hint: expect.stringMatching(/linux-image-cloud-amd64.*nixpkgs/),
    });
    await expect(names(["ext4"])).rejects.toThrow("no module jbd2, which ext4 depends on");
    await expect(readModules(join(directory, "none"), { needed: ["ext4"], optional: [] })).rejects.toMatchObject({
      code: "unreadable",
    });
  });

  it("end in an error where they depend on each other", async () => {
    write("a.ko", module("b"));
    write("b.ko", module("a"));
    await expect(names(["a"])).rejects.toThrow("it depends on itself");
  });

  it("are refused where they are cut off, or something else", () => {
    const whole = module("jbd2,crc16");
    expect(moduleDependencies(whole, "x")).toEqual(["jbd2", "crc16"]);
    for (let length = 0; length < whole.length; length++) {
      expect(() => moduleDependencies(whole.subarray(0, length), "x.ko"), `${length}`).toThrow(
        "x.ko is no kernel module",
      );
    }
    expect(() => moduleDependencies(Buffer.alloc(1000), "x.ko")).toThrow("it is no ELF file of 64 bits");
  });
});
