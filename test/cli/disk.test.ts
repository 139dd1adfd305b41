import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { DISK_SPEC_SCHEMA } from "../../src/disk/disk-spec.js";
import { runCli } from "../support/cli.js";

describe("oci-nix disk on the command line", () => {
  it.each([
    [["disk"], 2, /one spec file must be named, not 0/],
    [["disk", "a.json", "b.json", "--to", "x"], 2, /one spec file must be named, not 2/],
    [["disk", "a.json"], 2, /nothing says where the disk image goes/],
    [["disk", "/nonexistent.json", "--to", "x"], 1, /cannot read \/nonexistent\.json/],
    [["disk", "a.json", "--to", "x", "--format", "iso"], 2, /--format takes one of raw, qcow2/],
    [["disk", "a.json", "--to", "x", "--size", "5G"], 2, /--size takes a number of MiB, or auto, not "5G"/],
    [["disk", "a.json", "--too", "x"], 2, /did you mean --to\?/],
    [["disk", "verify"], 2, /one disk image must be named, not 0/],
    [["disk", "verify", "x", "--boot", "bios"], 2, /--boot and --line go together/],
    [["disk", "verify", "x", "--boot", "bios", "--line", ""], 2, /--line is empty/],
    [["disk", "verify", "x", "--boot", "bios", "--line", " \t"], 2, /--line is empty/],
    [["disk", "verify", "x", "--deadline", "5"], 2, /--deadline .*--boot/],
    [["disk", "verify", "/nonexistent.img"], 1, /cannot read \/nonexistent\.img/],
  ] as const)("says what is wrong with %j", async (args, status, message) => {
    const result = await runCli(args);
    expect(result.stderr).toMatch(message);
    expect(result.status).toBe(status);
  });

  it("takes a spec on standard input", async () => {
    const wrapper = ["sh", "-c", `echo '{"fromImage": "oci:a:b"}' | "$@"`, "sh"];
    const result = await runCli(["disk", "-", "--to", "/nonexistent/x"], { wrapper });
    expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining("no directory /nonexistent") });
  });

  it("says sizes in MiB with two decimals, or in bytes", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "oci-nix-disk-")), "x");
    const said = async (size: number) => {
      truncateSync(file, size);
      return /a disk of (.*?), no table/.exec((await runCli(["disk", "verify", file])).stdout.toString())?.[1];
    };
    try {
      writeFileSync(file, "");
      expect(await said(1)).toBe("1 byte");
      expect(await said(1_000_000)).toBe("1000000 bytes");
      expect(await said(2 ** 20)).toBe("1 MiB");
      expect(await said(310 * 2 ** 20 - 1)).toBe("310.00 MiB");
      expect(await said(2.5 * 2 ** 20)).toBe("2.50 MiB");
    } finally {
      rmSync(dirname(file), { recursive: true });
    }
  });

  it.each([
    ["", /a disk image is not written to an empty name/],
    ["-", /a disk image is not written to standard output/],
    ["missing/", /there is no directory .*missing to write to/],
    ["base.json", /base\.json is read, and would be replaced by the disk image/],
  ])("does not write to %j", async (to, message) => {
    const cwd = mkdtempSync(join(tmpdir(), "oci-nix-disk-cli-"));
    try {
      const spec = '{"closure": {"roots": []}, "additionalPaths": [], "nixDatabase": false}';
      writeFileSync(join(cwd, "base.json"), spec);
      const { stderr, status } = await runCli(["disk", "base.json", "--to", to], { cwd });
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/internal error/);
      expect(status).toBeGreaterThan(0);
      expect(readdirSync(cwd)).toEqual(["base.json"]);
      expect(readFileSync(join(cwd, "base.json"), "utf8")).toBe(spec);
    } finally {
      rmSync(cwd, { recursive: true, force: true });
    }
  });

  it("has help for itself and for verify", async () => {
    expect(String((await runCli(["disk", "--help"])).stdout)).toMatch(
      /oci-nix disk SPEC.*--to PATH.*verify {2}Look whether/s,
    );
    expect(String((await runCli(["disk", "verify", "--help"])).stdout)).toMatch(
      /oci-nix disk verify FILE.*--line VALUE/s,
    );
  });

  it("prints the schema of its spec", async () => {
    const { stdout } = await runCli(["schema", "disk"]);
    expect(JSON.parse(String(stdout))).toEqual(DISK_SPEC_SCHEMA);
  });
});
