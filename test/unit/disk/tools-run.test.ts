import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { buildDiskImage } from "../../../src/disk/build-disk.js";
import { DiskTools } from "../../../src/disk/tools.js";
import { checkBoot } from "../../../src/disk/vm/boot-check.js";
import { copySampleStore } from "../../support/sample-store.js";
import { requireTools } from "../../support/tools.js";

const MIB = 2 ** 20;
const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";

let directory: string;
let tools: DiskTools;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "run-"));
  vi.stubEnv("PATH", `${directory}:${process.env.PATH}`);
  tools = new DiskTools();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  tools.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A program that says its version like the others. */
function install(name: string, script: string): void {
  const version = `case "$1" in --version|-V|--help) echo ${name} 1.2.3-4; exit;; esac`;
  const path = `begun() { /usr/bin/touch '${directory}/begun'; }; hang() { exec /bin/sleep 1001; }`;
  writeFileSync(join(directory, name), `#!/bin/sh\n${path}\n${version}\n${script}\n`);
  chmodSync(join(directory, name), 0o755);
}

describe("a tool", () => {
  it("that hangs is ended past its deadline, with what it started", async () => {
    install("sfdisk", "/bin/sleep 1001 & hang");
    await expect(tools.run("sfdisk", ["disk"], { deadlineMs: 200 })).rejects.toMatchObject({
      code: "limit",
      message: "sfdisk did not end within 0.2 s",
    });
  });

  it("that hangs does not keep us by what left its group", async () => {
    install("sfdisk", "/usr/bin/setsid /bin/sleep 5 & hang");
    const started = performance.now();
    await expect(tools.run("sfdisk", ["disk"], { deadlineMs: 200 })).rejects.toMatchObject({ code: "limit" });
    expect(performance.now() - started).toBeLessThan(4000);
  });

  it("has two minutes, and more for a large file", async () => {
    const file = join(directory, "large");
    writeFileSync(file, Buffer.alloc(8 * MIB, 1));
    install("sfdisk", "begun; hang");
    const deadlineOf = async (over?: string): Promise<string> => {
      const failure = tools.run("sfdisk", ["disk"], { over }).catch(({ message }: Error) => message);
      while (!existsSync(join(directory, "begun"))) await new Promise((resolve) => setImmediate(resolve));
      rmSync(join(directory, "begun"));
      vi.advanceTimersByTime(10 * 60_000);
      return String(await failure);
    };
    // Whatever is done but once needs no clock.
    await tools.run("sfdisk", ["--version"], { over: file });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    expect(await deadlineOf()).toBe("sfdisk did not end within 120 s");
    expect(await deadlineOf(file)).toMatch(/did not end within 122\.\d+ s/);
  });

  it("has bounded memory", async () => {
    install("sfdisk", "ulimit -S -d");
    expect(Number(await tools.run("sfdisk", []))).toBe(4 * MIB);
  });

  it("that fails says its command, its exit and its last lines", async () => {
    install("sfdisk", "/usr/bin/seq 9; exit 7");
    await expect(tools.run("sfdisk", ["a", "b"])).rejects.toMatchObject({
      code: "invalid-input",
      message: "sfdisk a b failed (exit 7): 5\n6\n7\n8\n9",
    });
  });

  it("that tells how it goes says why it failed all the same", async () => {
    install("qemu-img", "echo half; echo no luck >&2; exit 1");
    const heard: string[] = [];
    const run = tools.run("qemu-img", ["convert"], { onOutput: (text) => heard.push(text) });
    await expect(run).rejects.toMatchObject({ message: "qemu-img convert failed (exit 1): no luck" });
    expect(heard.join("")).toBe("half\n");
  });

  it("that has no space left is not to blame", async () => {
    install("mke2fs", "echo mke2fs: No space left on device >&2; exit 1");
    await expect(tools.run("mke2fs", [])).rejects.toMatchObject({
      code: "output",
      hint: expect.stringContaining("TMPDIR"),
    });
  });

  it("that is missing is named with its packages", async () => {
    vi.stubEnv("PATH", directory);
    await expect(tools.run("qemu-img", [])).rejects.toMatchObject({
      code: "not-found",
      message: "qemu-img is not on the PATH",
      hint: "install the Debian package qemu-utils, or qemu of nixpkgs",
    });
  });

  it("finds nothing of the caller's environment, and no programs but those beside it", async () => {
    vi.stubEnv("HOME", "/canary");
    vi.stubEnv("MKE2FS_DEVICE_SECTSIZE", "4096");
    install("sfdisk", "/usr/bin/env");
    const environment = (await tools.run("sfdisk", []))
      .split("\n")
      .filter((line) => !/^(PWD|_|OLDPWD|SHLVL)=/.test(line));
    expect(environment.map((line) => line.replace(tools.directory, "DIRECTORY")).sort()).toEqual([
      "",
      "E2FSPROGS_FAKE_TIME=1",
      "HOME=/homeless-shelter",
      "LC_ALL=C",
      "MKE2FS_CONFIG=DIRECTORY/mke2fs.conf",
      "MTOOLSRC=/dev/null",
      "MTOOLS_SKIP_CHECK=1",
      `PATH=${directory}`,
      "SOURCE_DATE_EPOCH=315532800",
      "TMPDIR=DIRECTORY",
      "TZ=UTC",
    ]);
  });

  it("says its version with the distribution's own", async () => {
    install("sfdisk", "");
    await tools.run("sfdisk", []);
    expect([...tools.versions]).toEqual([["sfdisk", "1.2.3-4"]]);
  });
});

describe("a machine that boots a disk", () => {
  it("says that somebody killed it", async () => {
    install("qemu-system-x86_64", "kill -KILL $$");
    const disk = join(directory, "disk.img");
    writeFileSync(disk, "");
    const check = { firmware: "bios", line: "login:", deadlineMs: 60_000, accelerators: ["tcg"] } as const;
    await expect(checkBoot(disk, check, tools)).rejects.toMatchObject({
      code: "invalid-input",
      message: `QEMU was killed (SIGKILL) while it booted ${disk}`,
    });
  });
});

describe.skipIf(requireTools("mke2fs"))("a disk", () => {
  it("is not there when a tool hangs", async () => {
    install("sfdisk", "begun; hang");
    const where = mkdtempSync(join(directory, "to-"));
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { closureFile: graph, storeRoot } = copySampleStore(directory);
    const closure = { graph, storeRoot, roots: [GREETING] };
    const failure = buildDiskImage({ closure }, { to: where }).catch((error: Error) => error);
    while (!existsSync(join(directory, "begun"))) await new Promise((resolve) => setImmediate(resolve));
    expect(readdirSync(where)).toHaveLength(1);
    vi.advanceTimersByTime(130_000);
    expect(await failure).toMatchObject({ code: "limit", message: "sfdisk did not end within 120 s" });
    expect(readdirSync(where)).toEqual([]);
  });
});
