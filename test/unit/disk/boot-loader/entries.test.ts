import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bootEntryOf, bootEntryOfFiles } from "../../../../src/disk/boot-loader/entries.js";

const KERNEL = "/nix/store/1111-linux-6.6.1";
const INITRD = "/nix/store/2222-initrd-linux-6.6.1";
const TOPLEVEL = "/nix/store/3333-nixos-system-host-24.05";

describe("the boot entry of a NixOS system", () => {
  let storeRoot: string;

  const write = (path: string, contents: string) => {
    mkdirSync(dirname(join(storeRoot, path)), { recursive: true });
    writeFileSync(join(storeRoot, path), contents);
  };
  const link = (path: string, target: string) => {
    rmSync(join(storeRoot, path), { force: true });
    symlinkSync(target, join(storeRoot, path));
  };

  beforeEach(() => {
    storeRoot = mkdtempSync(join(tmpdir(), "store-"));
    write(`${KERNEL}/bzImage`, "kernel");
    write(`${INITRD}/initrd`, "initrd");
    write("/nix/store/4444-etc/etc/os-release", 'ID=nixos\nNAME="NixOS"\n');
    write(`${TOPLEVEL}/kernel-params`, "loglevel=4 net.ifnames=0");
    write(`${TOPLEVEL}/nixos-version`, "24.05.20240531");
    write(`${TOPLEVEL}/init`, "#!/bin/sh\n");
    link(`${TOPLEVEL}/kernel`, `${KERNEL}/bzImage`);
    link(`${TOPLEVEL}/initrd`, "../2222-initrd-linux-6.6.1/./initrd");
    link(`${TOPLEVEL}/etc`, "/nix/store/4444-etc/etc");
  });
  afterEach(() => rmSync(storeRoot, { recursive: true }));

  it("is what its installers make for the first generation, from a store anywhere", () => {
    expect(bootEntryOf(TOPLEVEL, { storeRoot })).toEqual({
      id: "nixos-generation-1",
      title: "NixOS",
      version: "Generation 1 NixOS 24.05.20240531",
      sortKey: "nixos",
      kernel: {
        path: `${KERNEL}/bzImage`,
        source: `${storeRoot}${KERNEL}/bzImage`,
        bootPath: "/EFI/nixos/1111-linux-6.6.1-bzImage.efi",
      },
      initrd: {
        path: `${INITRD}/initrd`,
        source: `${storeRoot}${INITRD}/initrd`,
        bootPath: "/EFI/nixos/2222-initrd-linux-6.6.1-initrd.efi",
      },
      commandLine: `init=${TOPLEVEL}/init loglevel=4 net.ifnames=0`,
      osRelease: 'ID=nixos\nNAME="NixOS"',
    });
  });

  it("has no initrd where the system has none", () => {
    rmSync(join(storeRoot, TOPLEVEL, "initrd"));
    expect(bootEntryOf(TOPLEVEL, { storeRoot }).initrd).toBeUndefined();
  });

  it("is refused for a system without a kernel, as those for containers are", () => {
    rmSync(join(storeRoot, TOPLEVEL, "kernel"));
    expect(() => bootEntryOf(TOPLEVEL, { storeRoot })).toThrow(`${TOPLEVEL} has no kernel`);
  });

  it("is refused where a link leads nowhere, or round in a circle", () => {
    link(`${TOPLEVEL}/initrd`, "/nix/store/none/initrd");
    expect(() => bootEntryOf(TOPLEVEL, { storeRoot })).toThrow(
      `${TOPLEVEL}/initrd leads to /nix/store/none: no such file or directory (ENOENT)`,
    );
    link(`${TOPLEVEL}/initrd`, "initrd");
    expect(() => bootEntryOf(TOPLEVEL, { storeRoot })).toThrow(`${TOPLEVEL}/initrd is a circle of links`);
  });
});

describe("the boot entry of files", () => {
  it("has nothing of their names in it", () => {
    const options = { kernel: "/home/me/vmlinuz-6.1-ü", commandLine: "a=ü" };
    const { kernel, ...rest } = bootEntryOfFiles(options);
    expect(kernel).toEqual({ source: "/home/me/vmlinuz-6.1-ü", bootPath: "/vmlinuz" });
    expect(rest).toEqual({ id: "linux", title: "Linux", initrd: undefined, commandLine: "a=\xc3\xbc" });
  });
});
