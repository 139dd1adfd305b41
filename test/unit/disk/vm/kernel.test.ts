import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findGuestSystem, installedKernel } from "../../../../src/disk/vm/kernel.js";

describe("the kernel of a guest", () => {
  let directory: string;
  const at = (name: string) => join(directory, name);
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "kernel-"));
    for (const name of ["boot", "modules"]) mkdirSync(at(name));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const install = (version: string, hasModules = true) => {
    writeFileSync(at(`boot/vmlinuz-${version}`), "");
    if (hasModules) mkdirSync(at(`modules/${version}`));
  };
  const chosen = () => installedKernel(at("boot"), at("modules"));

  it("is the newest that has modules", () => {
    install("6.1.0-9-amd64");
    install("6.1.0-56-amd64");
    install("6.10.0-1-amd64", false);
    expect(chosen()).toEqual({ kernel: at("boot/vmlinuz-6.1.0-56-amd64"), modules: at("modules/6.1.0-56-amd64") });
  });

  it("is one for virtual machines before others", () => {
    install("6.1.0-9-cloud-amd64");
    install("6.12.0-1-amd64");
    expect(chosen().kernel).toBe(at("boot/vmlinuz-6.1.0-9-cloud-amd64"));
  });

  it("is named with its packages where there is none", () => {
    install("6.1.0", false);
    expect(chosen).toThrow(
      expect.objectContaining({
        code: "not-found",
        hint: expect.stringMatching(/linux-image-cloud-amd64.*linuxPackages\.kernel of nixpkgs/),
      }),
    );
  });

  it("is only given with its modules", () => {
    const halves = [{ kernel: at("k") }, { modules: at("m") }];
    for (const half of halves) {
      expect(() => findGuestSystem(half)).toThrow(
        expect.objectContaining({ code: "usage", message: "a kernel and its modules are only given together" }),
      );
    }
  });

  it("has a busybox that needs no libraries", () => {
    install("6.1.0");
    const kernel = { kernel: at("boot/vmlinuz-6.1.0"), modules: at("modules/6.1.0") };
    expect(() => findGuestSystem({ ...kernel, busybox: process.execPath })).toThrow("is not static");
    writeFileSync(at("script"), "#!/bin/sh\n");
    expect(() => findGuestSystem({ ...kernel, busybox: at("script") })).toThrow("is no program for Linux");
    expect(() => findGuestSystem({ ...kernel, busybox: at("none") })).toThrow(
      expect.objectContaining({ code: "not-found", hint: expect.stringContaining("busybox-static") }),
    );
  });
});
