import { spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fileKey, formatRecord, parseRecord } from "../../../src/build/customisation/commands/fakeroot-record.js";
import { requireTools } from "../../support/tools.js";

describe("fakeroot's record", () => {
  it("tells owners, modes and the numbers of devices", () => {
    const record = parseRecord(
      [
        "dev=fe00,ino=2704197,mode=104711,uid=12,gid=34,nlink=1,rdev=0",
        "dev=fe00,ino=2704199,mode=20644,uid=0,gid=0,nlink=1,rdev=259",
        "dev=fe00,ino=2704201,mode=60600,uid=0,gid=4294967294,nlink=1,rdev=3212264",
        "dev=fe00,ino=18446744073709551615,mode=20644,uid=0,gid=0,nlink=1,rdev=17592190238976",
        "",
      ].join("\n"),
    );
    const at = (ino: bigint) => record.get(fileKey({ dev: 0xfe00n, ino }));
    expect(at(2704197n)).toEqual({ mode: 0o104711, uid: 12, gid: 34, device: { major: 0, minor: 0 } });
    expect(at(2704199n)?.device).toEqual({ major: 1, minor: 3 });
    expect(at(2704201n)).toEqual({ mode: 0o60600, uid: 0, gid: 4294967294, device: { major: 259, minor: 1000 } });
    expect(at(2n ** 64n - 1n)?.device).toEqual({ major: 4097, minor: 1024 });
    expect(record.size).toBe(4);
  });

  it.each([
    ["a line of another form", "ino=5,mode=100644"],
    ["an owner that nobody can be", "dev=0,ino=5,mode=100644,uid=4294967295,gid=0,nlink=1,rdev=0"],
    ["text after it", "dev=0,ino=5,mode=100644,uid=0,gid=0,nlink=1,rdev=0,more=1"],
  ])("is refused with %s", (_, line) => {
    expect(() => parseRecord(`${line}\n`)).toThrow(/fakeroot (wrote|recorded)/);
  });

  it.skipIf(requireTools("fakeroot", "stat"))("is what fakeroot itself reads and writes", () => {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-fakeroot-record-"));
    try {
      const [file, before, after] = ["file", "before", "after"].map((name) => join(directory, name)) as [
        string,
        string,
        string,
      ];
      writeFileSync(file, "");
      const { dev, ino } = lstatSync(file, { bigint: true });
      writeFileSync(before, formatRecord([{ dev, ino, mode: 0o100640, uid: 33, gid: 4000000000 }]));
      const script = 'stat -c "%u %g %a" "$1"; chown 7:8 "$1"; chmod 6755 "$1"; mknod "$1"-disk b 259 70000';
      const { stdout } = spawnSync("fakeroot", ["-i", before, "-s", after, "sh", "-c", script, "sh", file]);
      expect(stdout.toString()).toBe("33 4000000000 640\n");
      const record = parseRecord(readFileSync(after, "utf8"));
      expect(record.get(fileKey({ dev, ino }))).toMatchObject({ mode: 0o106755, uid: 7, gid: 8 });
      const disk = record.get(fileKey(lstatSync(`${file}-disk`, { bigint: true })));
      expect(disk).toMatchObject({ mode: 0o60644, uid: 0, gid: 0, device: { major: 259, minor: 70000 } });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
