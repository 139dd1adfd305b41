import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { debianKernel } from "../support/boot-disks.js";
import { installForEverybody, runCli, startCli } from "../support/cli.js";
import { type CommandOptions, expectOk, runCommand, runOk } from "../support/command.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 240_000;
const MIB = 2 ** 20;
const NOBODY = 65534;
const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";
const PROGRAMS = ["sfdisk", "mke2fs", "mkfs.vfat", "mcopy", "qemu-img", "grub-mkimage", "root"];
const FORMATS = ["raw", "qcow2", "qcow2-compressed", "vdi", "vpc", "vmdk", "vhdx"];

let directory: string;
let store: SampleStore;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-circumstances-"));
  chmodSync(directory, 0o755);
  store = copySampleStore(directory);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let where: string;
beforeEach(() => {
  where = mkdtempSync(join(directory, "test-"));
  chmodSync(where, 0o777);
});

const closure = () => ({ graph: store.closureFile, storeRoot: store.storeRoot, roots: [GREETING] });

function specFile(spec: object): string {
  const file = join(where, "disk.json");
  writeFileSync(file, JSON.stringify({ closure: closure(), additionalSpace: "8M", ...spec }));
  return file;
}

const unfinished = () => readdirSync(where).filter((name) => name.startsWith(".oci-nix"));

const bytes = (path: string) => Buffer.from(path, "latin1");

/** Copies a tree, the last name first, with times of its own. Names are bytes. */
function copyBackwards(from: string, to: string, time: Date): void {
  const stat = lstatSync(bytes(from));
  if (stat.isSymbolicLink()) {
    symlinkSync(bytes(readlinkSync(bytes(from), "latin1")), bytes(to));
    return;
  }
  if (stat.isDirectory()) {
    mkdirSync(bytes(to));
    const names = readdirSync(bytes(from), { encoding: "latin1" }).sort().reverse();
    for (const name of names) copyBackwards(`${from}/${name}`, `${to}/${name}`, time);
  } else copyFileSync(bytes(from), bytes(to));
  chmodSync(bytes(to), stat.mode & 0o7777);
  utimesSync(bytes(to), time, time);
}

describe.skipIf(requireTools(...PROGRAMS))("a disk in every format", () => {
  let installed: ReturnType<typeof installForEverybody>;
  beforeAll(() => {
    installed = installForEverybody();
  });
  afterAll(() => rmSync(installed.directory, { recursive: true, force: true }));

  /** Makes them all with one process, and gives their hashes and the versions of what made them. */
  async function makeAll(spec: object, to: string, options: CommandOptions = {}): Promise<object> {
    const kinds = [...FORMATS.map((format) => ({ format })), { format: "qcow2-compressed", compression: "zstd" }];
    const script = `
      import { buildDiskImage } from ${JSON.stringify(join(installed.directory, "dist", "index.js"))};
      const made = [];
      for (const [i, kind] of ${JSON.stringify(kinds)}.entries())
        made.push(await buildDiskImage({ ...${JSON.stringify(spec)}, ...kind }, { to: ${JSON.stringify(to)} + "/" + i }));
      console.log(JSON.stringify(made.map(({ madeWith }) => madeWith)));`;
    const command = [process.execPath, "--input-type=module", "-e", script];
    const args = ["-c", 'umask 077; exec "$@"', "sh", ...command];
    const result = expectOk(await runCommand("/bin/sh", args, { timeoutMs: LIMIT_MS, ...options }), "the builds");
    const hash = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
    const hashes = kinds.map(({ format }, i) => [format, hash(join(to, `${i}`))]);
    return { hashes, madeWith: JSON.parse(String(result.stdout)) };
  }

  it("is the same bytes of another copy of its files, for another user, with everything set against it", {
    timeout: LIMIT_MS,
  }, async () => {
    const [one, two, home, bin] = ["one", "two", "home", "bin"].map((name) => join(where, name)) as [
      string,
      string,
      string,
      string,
    ];
    for (const each of [one, two, home, bin]) {
      mkdirSync(each);
      chmodSync(each, 0o777);
    }
    writeFileSync(join(home, ".mtoolsrc"), "MTOOLS_LOWER_CASE=1\nMTOOLS_SKIP_CHECK=0\n");
    writeFileSync(join(home, "mke2fs.conf"), "[fs_types]\next4 = {\nfeatures = ^has_journal,^extent\n}\n");
    // Programs that are none of ours, found before those of the system.
    for (const name of ["sh", "env", "cat", "cp", "date", "dd", "find", "hostname", "id", "ls", "mkdir", "rm", "tar"]) {
      writeFileSync(join(bin, name), `#!/bin/sh\n: >${home}/ran-${name}\nexit 1\n`);
      chmodSync(join(bin, name), 0o755);
    }
    const spec = {
      additionalSpace: 8 * MIB,
      partitionTableType: "hybrid",
      bootSize: 48 * MIB,
      bootLoader: { kind: "grub", kernel: debianKernel(), cmdline: "quiet" },
    };
    const first = await makeAll({ ...spec, closure: closure() }, one);
    const storeRoot = join(where, "copy");
    copyBackwards(store.storeRoot, storeRoot, new Date("2031-05-06T07:08:09Z"));
    const graph = join(where, basename(store.closureFile));
    copyFileSync(store.closureFile, graph);
    // GRUB's modules by another name, too.
    const modules = join(where, "modules");
    for (const platform of ["i386-pc", "x86_64-efi"]) {
      mkdirSync(join(modules, platform), { recursive: true });
      copyBackwards(`/usr/lib/grub/${platform}`, join(modules, platform, "grub"), new Date());
    }
    const bootLoader = {
      ...spec.bootLoader,
      grubBiosDirectory: join(modules, "i386-pc", "grub"),
      grubEfiDirectory: join(modules, "x86_64-efi", "grub"),
    };
    const second = await makeAll({ ...spec, bootLoader, closure: { ...closure(), graph, storeRoot } }, two, {
      uid: NOBODY,
      gid: NOBODY,
      env: {
        ...{ PATH: `${bin}:/sbin:/bin:/usr/sbin:/usr/bin`, HOME: home, TMPDIR: home, TZ: "Pacific/Kiritimati" },
        ...{ LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8", MKE2FS_CONFIG: join(home, "mke2fs.conf") },
        ...{ MTOOLSRC: join(home, ".mtoolsrc"), MTOOLS_LOWER_CASE: "1", MKE2FS_DEVICE_SECTSIZE: "4096" },
        ...{ SOURCE_DATE_EPOCH: "1234567890", E2FSPROGS_FAKE_TIME: "1234567890" },
      },
    });
    expect(second).toEqual(first);
    const programs = [
      "GRUB i386-pc",
      "GRUB x86_64-efi",
      "grub-mkimage",
      "mcopy",
      "mke2fs",
      "mkfs.vfat",
      "mmd",
      "sfdisk",
    ];
    const versions = (first as { madeWith: readonly Readonly<Record<string, string>>[] }).madeWith;
    expect(Object.keys(versions[0] ?? {})).toEqual(programs);
    expect(Object.keys(versions[1] ?? {}).sort()).toEqual([...programs, "qemu-img"].sort());
    for (const version of versions.flatMap((each) => Object.values(each))) expect(version).toMatch(/^\d+\.\d/);
    expect(readdirSync(home).sort()).toEqual([".mtoolsrc", "mke2fs.conf"]);
  });
});

describe.skipIf(requireTools(...PROGRAMS))("a disk", () => {
  it("has a hole where a file has one", { timeout: LIMIT_MS }, async () => {
    const source = join(where, "sparse");
    const fd = openSync(source, "w");
    ftruncateSync(fd, 1024 * MIB);
    writeSync(fd, "something", 700 * MIB);
    const to = join(where, "disk.img");
    const spec = { contents: [{ source, target: "/sparse" }], partitionTableType: "none", nixDatabase: false };
    expectOk(await runCli(["disk", specFile(spec), "--to", to], { timeoutMs: LIMIT_MS }), "disk");
    expect(statSync(to).size).toBeGreaterThan(1024 * MIB);
    expect(statSync(to).blocks * 512).toBeLessThan(8 * MIB);
    expect(await runOk("/sbin/debugfs", ["-R", "stat /sparse", to])).toMatch(/Size: 1073741824\n.*Blockcount: 8\n/s);
  });

  it("is not made of what is too large for its table, or has no place in it", { timeout: LIMIT_MS }, async () => {
    const bootLoader = { kind: "grub", kernel: "disk.json" };
    for (const [spec, message] of [
      [{ additionalSpace: "2T" }, /too large for the table legacy, which ends at 2 TiB/],
      [{ partitionTableType: "none", bootLoader }, /table none has no place for the boot loader grub/],
    ] as const) {
      const result = await runCli(["disk", specFile(spec), "--to", join(where, "disk.img")]);
      expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(message) });
      expect(readdirSync(where)).toEqual(["disk.json"]);
    }
  });

  it("is not there where temporary files have no room", { timeout: LIMIT_MS }, async () => {
    const small = join(where, "small");
    mkdirSync(small);
    await runOk("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", small]);
    try {
      const bootLoader = { kind: "uki", kernel: debianKernel(), cmdline: "quiet" };
      const args = ["disk", specFile({ partitionTableType: "efi", bootLoader }), "--to", join(where, "disk.img")];
      const result = await runCli(args, { env: { TMPDIR: small } });
      expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(/no space left on device.*TMPDIR/s) });
      expect(readdirSync(small)).toEqual([]);
      expect(readdirSync(where).sort()).toEqual(["disk.json", "small"]);
    } finally {
      await runOk("umount", [small]);
    }
  });

  it.each(["SIGTERM", "SIGKILL"] as const)(
    "is not there, and nothing runs on, when its conversion ends by %s",
    { timeout: LIMIT_MS },
    async (signal) => {
      const temporary = join(where, "tmp");
      const bin = join(where, "bin");
      for (const each of [temporary, bin]) mkdirSync(each);
      const begun = join(where, "begun");
      const script = `[ "$1" = --version ] && echo 1.2 && exit\necho $$ >${begun}.new; /bin/mv ${begun}.new ${begun}\nexec /bin/sleep 1002`;
      writeFileSync(join(bin, "qemu-img"), `#!/bin/sh\n${script}\n`);
      chmodSync(join(bin, "qemu-img"), 0o755);
      const env = { TMPDIR: temporary };
      const args = ["disk", specFile({}), "--to", join(where, "disk.vdi"), "--format", "vdi"];
      const running = startCli(args, { env: { ...env, PATH: `${bin}:${process.env.PATH}` } });
      running.stdout.resume();
      while (!existsSync(begun)) await sleep(20);
      running.child.kill(signal);
      await running.ended;
      expect(existsSync(join(where, "disk.vdi"))).toBe(false);
      const process_ = `/proc/${readFileSync(begun, "utf8").trim()}`;
      for (let count = 0; count < 100 && existsSync(process_); count++) await sleep(20);
      expect(existsSync(process_)).toBe(false);
      if (signal === "SIGTERM") expect([...unfinished(), ...readdirSync(temporary)]).toEqual([]);
      else expect(unfinished()).toHaveLength(2);
      expectOk(await runCli(args, { env, timeoutMs: LIMIT_MS }), "the next run");
      expect([...unfinished(), ...readdirSync(temporary)]).toEqual([]);
      expect(existsSync(join(where, "disk.vdi"))).toBe(true);
    },
  );
});
