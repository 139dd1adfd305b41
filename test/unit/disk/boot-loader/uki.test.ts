import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BootEntry } from "../../../../src/disk/boot-loader/boot-entry.js";
import { addPeSections } from "../../../../src/disk/boot-loader/pe-sections.js";
import { ukiFile } from "../../../../src/disk/boot-loader/uki.js";
import { DiskTools } from "../../../../src/disk/tools.js";
import { runOk } from "../../../support/command.js";
import { requireTools } from "../../../support/tools.js";

const STUBS = "/usr/lib/systemd/boot/efi";

describe.skipIf(requireTools("objcopy", "objdump"))("unified kernel images", () => {
  let directory: string;
  let tools: DiskTools;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "uki-"));
    tools = new DiskTools();
  });
  afterEach(() => {
    tools.close();
    rmSync(directory, { recursive: true });
  });

  function entry(changes: Partial<BootEntry> = {}): BootEntry {
    const put = (name: string, contents: Buffer) => {
      writeFileSync(join(directory, name), contents);
      return { source: join(directory, name), bootPath: `/${name}` };
    };
    // More than is read at once, and no multiple of anything.
    const kernel = put("vmlinuz", Buffer.alloc(1_234_567, "kernel"));
    const initrd = put("initrd", Buffer.alloc(70_001, "initrd"));
    return { id: "linux", title: 'A "Linux"', kernel, initrd, commandLine: "console=ttyS0", ...changes };
  }

  function make(from: BootEntry): string {
    const file = ukiFile(from, { directory: STUBS }, tools);
    expect(file.path).toBe("/EFI/BOOT/BOOTX64.EFI");
    return "source" in file ? file.source : "";
  }

  async function section(file: string, name: string): Promise<Buffer> {
    const into = join(directory, "section");
    await runOk("objcopy", ["--dump-section", `${name}=${into}`, file, join(directory, "copy")]);
    return readFileSync(into);
  }

  it("have kernel, initrd, command line and os-release in sections of their own", async () => {
    const uki = make(entry());
    const contents = {
      ".linux": readFileSync(join(directory, "vmlinuz")),
      ".initrd": readFileSync(join(directory, "initrd")),
      ".cmdline": Buffer.from("console=ttyS0"),
      ".osrel": Buffer.from('ID="linux"\nNAME="A \\"Linux\\""\nPRETTY_NAME="A \\"Linux\\""\n'),
    };
    for (const [name, wanted] of Object.entries(contents)) {
      expect((await section(uki, name)).equals(wanted), name).toBe(true);
    }
    expect(await section(uki, ".text")).toEqual(await section(join(STUBS, "linuxx64.efi.stub"), ".text"));
  });

  it("have sections that do not overlap in memory, page by page, the kernel last", async () => {
    const listed = await runOk("objdump", ["-h", make(entry())]);
    const sections = [...listed.matchAll(/^ +\d+ (\S+) +([0-9a-f]{8}) +([0-9a-f]{16}) /gm)].map(
      ([, name, size, address]) => ({
        name,
        start: Number.parseInt(address as string, 16),
        end: Number.parseInt(address as string, 16) + Number.parseInt(size as string, 16),
      }),
    );
    expect(sections.map(({ name }) => name).slice(-4)).toEqual([".osrel", ".cmdline", ".initrd", ".linux"]);
    for (const [index, { start }] of sections.entries()) {
      expect(start).toBeGreaterThanOrEqual(sections[index - 1]?.end ?? 0);
    }
    expect(sections.slice(-4).every(({ start }) => start % 4096 === 0)).toBe(true);
    const header = await runOk("objdump", ["-p", make(entry())]);
    const sizeOfImage = Number.parseInt(/^SizeOfImage\s+([0-9a-f]+)/m.exec(header)?.[1] ?? "", 16);
    expect(sizeOfImage).toBeGreaterThanOrEqual(sections.at(-1)?.end ?? 0);
  });

  it("are the same for the same input", () => {
    const [first, second] = [readFileSync(make(entry())), readFileSync(make(entry()))];
    expect(first.equals(second)).toBe(true);
    expect(first.equals(readFileSync(make(entry({ commandLine: "quiet" }))))).toBe(false);
  });

  it("are refused without the bytes of the kernel, or without a stub", () => {
    const noBytes = entry({ kernel: { path: "/boot/vmlinuz", bootPath: "/vmlinuz" } });
    expect(() => make(noBytes)).toThrow("a unified kernel image needs the bytes of the kernel /boot/vmlinuz");
    expect(() => make(entry({ initrd: { source: join(directory, "none"), bootPath: "/i" } }))).toThrow(
      /^cannot read .*none: no such file/,
    );
    const empty = join(directory, "empty");
    mkdirSync(empty);
    expect(() => ukiFile(entry(), { directory: empty }, tools)).toThrow(
      `systemd-boot is not in ${empty}: there is no linuxx64.efi.stub`,
    );
  });

  it("are refused with a stub that is something else, is signed or has no room", () => {
    const stub = readFileSync(join(STUBS, "linuxx64.efi.stub"));
    const add = (from: Buffer, count = 1) =>
      addPeSections(from, Array(count).fill({ name: ".linux", size: 1 }), "stub");
    expect(() => add(Buffer.from("#!/bin/sh\n"))).toThrow("stub is no UEFI program for x86-64");
    for (let length = 0; length < 0x190; length++)
      expect(() => add(stub.subarray(0, length))).toThrow(/no UEFI program|no room/);
    expect(() => add(stub, 50)).toThrow("stub has no room for 50 more sections in its headers");
    const signed = Buffer.from(stub);
    signed.writeUInt32LE(1, stub.readUInt32LE(0x3c) + 24 + 112 + 8 * 4);
    expect(() => add(signed)).toThrow("stub is signed");
  });

  it("are refused where they grow beyond what firmware loads", () => {
    const stub = readFileSync(join(STUBS, "linuxx64.efi.stub"));
    expect(() => addPeSections(stub, [{ name: ".linux", size: 2 ** 31 }], "stub")).toThrow(".linux is too large");
  });
});
