import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { debianKernel, makeTalkingInitramfs } from "../support/boot-disks.js";
import { type CliOptions, installForEverybody, runCli, startCli } from "../support/cli.js";
import { type CommandResult, expectOk, runOk } from "../support/command.js";
import { checkExt4, mountedFiles } from "../support/ext4.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 240_000;
const MIB = 2 ** 20;
const NOBODY = 65534;
const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";
const MESSAGE = "/nix/store/k1y29i1qr6ipr6cjcbvhj505lfr3c0r4-greeting-message-1.0/share/greeting/message";
const PROGRAMS = ["sfdisk", "mke2fs", "mkfs.vfat", "fsck.vfat", "mmd", "mcopy", "qemu-img", "grub-mkimage", "root"];

interface Summary {
  readonly file: string;
  readonly size: number;
  readonly partitions: readonly { readonly role: string; readonly start: number; readonly size: number }[];
  readonly madeWith: Readonly<Record<string, string>>;
}

let directory: string;
let store: SampleStore;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-disk-"));
  chmodSync(directory, 0o755);
  store = copySampleStore(directory);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A directory of one test's own. */
function fresh(name: string): string {
  const path = join(directory, name);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  return path;
}

function specFile(where: string, spec: object): string {
  const file = join(where, "disk.json");
  const closure = { graph: store.closureFile, storeRoot: store.storeRoot, roots: [GREETING] };
  const isImage = "fromImage" in spec;
  writeFileSync(file, JSON.stringify({ ...(isImage ? {} : { closure }), additionalSpace: "16M", ...spec }));
  return file;
}

/** Makes a disk and gives what the program says of it. */
async function makeDisk(where: string, spec: object, options: CliOptions = {}): Promise<Summary> {
  const to = join(where, "disk.img");
  const args = ["disk", specFile(where, spec), "--to", to, "--json"];
  const { stderr } = expectOk(await runCli(args, { timeoutMs: LIMIT_MS, ...options }), "oci-nix disk");
  return JSON.parse(stderr) as Summary;
}

const rootOf = ({ file, size, partitions }: Summary) => {
  const { start = 0, size: length = size } = partitions.find(({ role }) => role === "root") ?? {};
  return { file, offset: start, size: length };
};

const hash = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

describe.skipIf(requireTools(...PROGRAMS))("oci-nix disk", () => {
  it.each([
    ["none", 0],
    ["legacy", 1],
    ["legacy+gpt", 2],
    ["legacy+boot", 2],
    ["efi", 2],
    ["efixbootldr", 3],
    ["hybrid", 3],
  ] as const)(
    "makes a disk with the table %s that its checkers find nothing wrong with",
    { timeout: LIMIT_MS },
    async (table, count) => {
      const where = fresh("table");
      const summary = await makeDisk(where, { partitionTableType: table, bootSize: "144M" });
      expect(summary.partitions).toHaveLength(count);
      expect(statSync(summary.file).size).toBe(summary.size);
      expect(statSync(summary.file).blocks * 512).toBeLessThan(summary.size / 2);
      expect(summary.madeWith).toHaveProperty("mke2fs");
      if (count > 0) expect(await runOk(tool("sfdisk"), ["-V", summary.file])).toContain("No errors detected");
      await checkExt4(rootOf(summary));
      for (const { role, start, size } of summary.partitions) {
        if (role === "root" || role === "bios-grub") continue;
        const part = join(where, `${role}.img`);
        await runOk("dd", [`if=${summary.file}`, `of=${part}`, "bs=1M", `skip=${start / MIB}`, `count=${size / MIB}`]);
        await runOk(tool("fsck.vfat"), ["-n", part]);
      }
      const verified = await runCli(["disk", "verify", summary.file]);
      expect(verified).toMatchObject({ status: 0, stdout: expect.anything() });
      expect(String(verified.stdout)).toContain(`${summary.file}: valid: raw, a disk of ${summary.size / MIB} MiB`);
      const files = await mountedFiles(rootOf(summary));
      expect(files.some((line) => line.includes(MESSAGE.slice(1)))).toBe(true);
      expect(files.some((line) => line.includes("nix/var/nix/db/db.sqlite"))).toBe(true);
    },
  );

  it("starts by itself, from a BIOS and from UEFI", { timeout: LIMIT_MS }, async () => {
    const where = fresh("boot");
    const initrd = await makeTalkingInitramfs(where, "started");
    const { file } = await makeDisk(where, {
      partitionTableType: "hybrid",
      bootSize: "144M",
      bootLoader: { kind: "grub", kernel: debianKernel(), initrd, cmdline: "console=ttyS0 quiet" },
    });
    const verify = ["disk", "verify", file, "--boot", "bios", "--boot", "uefi", "--json"];
    const { stdout } = expectOk(await runCli([...verify, "--line", "started: "], { timeoutMs: LIMIT_MS }), "verify");
    const boots = ["bios", "uefi"].map((firmware) => expect.objectContaining({ firmware, booted: true }));
    expect(JSON.parse(String(stdout))).toMatchObject({ valid: true, findings: [], boots });
    const silent = await runCli([...verify.slice(0, 5), "--line", "never said", "--deadline", "2"], {
      timeoutMs: LIMIT_MS,
    });
    expect(silent.status).toBe(3);
    expect(String(silent.stdout)).toMatch(/bios: "never said" did not show within \d+ s/);
  });

  it.each([
    ["legacy", "grub", "bios"],
    ["efi", "systemd-boot", "uefi"],
  ] as const)("starts a NixOS system: %s, %s", { timeout: LIMIT_MS }, async (partitionTableType, kind, firmware) => {
    const where = fresh("nixos");
    const toplevel = `/nix/store/${"s".repeat(32)}-nixos-system-test`;
    const system = join(where, "root", toplevel);
    mkdirSync(system, { recursive: true });
    copyFileSync(debianKernel(), join(system, "kernel"));
    copyFileSync(await makeTalkingInitramfs(where, "started"), join(system, "initrd"));
    writeFileSync(join(system, "kernel-params"), "console=ttyS0 quiet");
    writeFileSync(join(system, "nixos-version"), "25.11");
    const graph = join(where, "graph.json");
    const size = { narHash: `sha256:${"0".repeat(64)}`, narSize: 1 };
    writeFileSync(graph, JSON.stringify([{ path: toplevel, references: [], ...size }]));
    const closure = { graph, storeRoot: join(where, "root") };
    const spec = { closure, toplevel, partitionTableType, bootSize: "144M", bootLoader: { kind } };
    const summary = await makeDisk(where, spec);
    const boot = ["--boot", firmware, "--line", `init=${toplevel}/init console=ttyS0`];
    expectOk(await runCli(["disk", "verify", summary.file, ...boot], { timeoutMs: LIMIT_MS }), "verify");
    const files = await mountedFiles(rootOf(summary));
    expect(files).toContain(`"nix/var/nix/profiles/system-1-link" symlink 777 0:0 ${JSON.stringify(toplevel)}`);
  });

  it("makes every format of the same disk", { timeout: LIMIT_MS }, async () => {
    const where = fresh("formats");
    const raw = await makeDisk(where, {});
    for (const format of ["qcow2", "qcow2-compressed", "vdi", "vpc", "vmdk", "vhdx"]) {
      const args = ["disk", specFile(where, {}), "--to", where, "--format", format, "--json"];
      const { file } = JSON.parse(expectOk(await runCli(args), format).stderr) as Summary;
      expect(file).toMatch(/\/nixos\.(qcow2|vdi|vhd|vmdk|vhdx)$/);
      expect(await runOk(tool("qemu-img"), ["compare", raw.file, file])).toContain("Images are identical");
    }
    expect(readdirSync(where).filter((name) => name.startsWith(".oci-nix"))).toEqual([]);
  });

  describe("for another user, elsewhere, with everything set against it", () => {
    let installed: ReturnType<typeof installForEverybody>;
    let home: string;
    beforeAll(() => {
      installed = installForEverybody();
      home = fresh("hostile");
      writeFileSync(join(home, ".mtoolsrc"), "MTOOLS_LOWER_CASE=1\nMTOOLS_SKIP_CHECK=0\n");
      writeFileSync(join(home, "mke2fs.conf"), "[fs_types]\next4 = {\nfeatures = ^has_journal,^extent\n}\n");
      chmodSync(home, 0o777);
    });
    afterAll(() => rmSync(installed.directory, { recursive: true, force: true }));

    const asNobody = (): CliOptions => ({
      program: installed.program,
      uid: NOBODY,
      gid: NOBODY,
      wrapper: ["sh", "-c", 'umask 077; exec "$@"', "sh"],
      env: {
        ...{ HOME: home, TMPDIR: home, TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" },
        ...{ MKE2FS_CONFIG: join(home, "mke2fs.conf"), MTOOLSRC: join(home, ".mtoolsrc"), MTOOLS_LOWER_CASE: "1" },
        ...{ SOURCE_DATE_EPOCH: "1234567890", E2FSPROGS_FAKE_TIME: "1234567890", MKE2FS_DEVICE_SECTSIZE: "4096" },
      },
    });

    // Of a hybrid one test/real/disk-circumstances says it, in every format.
    it("is the same bytes", { timeout: LIMIT_MS }, async () => {
      const bootLoader = { kind: "grub", kernel: debianKernel(), cmdline: "quiet" };
      const spec = { partitionTableType: "legacy", format: "raw", bootLoader };
      const one = await makeDisk(fresh("one"), spec);
      const where = fresh("two");
      chmodSync(where, 0o777);
      const copy = copySampleStore(where);
      const newer = new Date();
      for (const name of readdirSync(copy.storeRoot, { recursive: true, encoding: "latin1" })) {
        const path = Buffer.from(join(copy.storeRoot, name), "latin1");
        if (existsSync(path)) utimesSync(path, newer, newer);
      }
      const closure = { graph: copy.closureFile, storeRoot: copy.storeRoot, roots: [GREETING] };
      const two = await makeDisk(where, { ...spec, closure }, asNobody());
      expect(hash(two.file)).toBe(hash(one.file));
      expect(two.madeWith).toEqual(one.madeWith);
    });
  });

  it("makes the smallest disk that holds all, where that is asked for", { timeout: LIMIT_MS }, async () => {
    const usual = await makeDisk(fresh("usual"), { additionalSpace: "0" });
    const where = fresh("least");
    const least = await makeDisk(where, { additionalSpace: "0", minimise: true });
    expect(least.size).toBeLessThan(usual.size + 16 * MIB);
    await checkExt4(rootOf(least));
    const smaller = { diskSize: least.size / MIB - 1 };
    const { status, stderr } = await runCli(["disk", specFile(where, smaller), "--to", join(where, "smaller.img")]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/too small by 1 MiB/);
  });

  it("makes other identifiers each time where that is asked for", { timeout: LIMIT_MS }, async () => {
    const spec = { partitionTableType: "efi", bootSize: "144M", deterministic: false };
    const one = await makeDisk(fresh("one"), spec);
    const two = await makeDisk(fresh("two"), spec);
    const uuids = [one, two].flatMap(({ partitions }) =>
      (partitions as readonly object[]).map((each) => "uuid" in each && each.uuid),
    );
    expect(new Set(uuids).size).toBe(4);
  });
});

describe.skipIf(requireTools(...PROGRAMS, "tar", "umoci"))("a disk of an image", () => {
  it("has its files with their owners, its devices and hard links, and not what an upper layer hides", {
    timeout: LIMIT_MS,
  }, async () => {
    const where = fresh("image");
    const layout = join(where, "layout");
    const bundle = join(where, "bundle");
    const rootfs = join(bundle, "rootfs");
    await runOk("umoci", ["init", "--layout", layout]);
    await runOk("umoci", ["new", "--image", `${layout}:one`]);
    await runOk("umoci", ["unpack", "--image", `${layout}:one`, bundle]);
    for (const name of ["etc", "home", "home/alice", "dev", "usr", "usr/bin"]) mkdirSync(join(rootfs, name));
    writeFileSync(join(rootfs, "etc/passwd"), "root:x:0:0::/:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\n");
    writeFileSync(join(rootfs, "etc/group"), "root:x:0:\nusers:x:100:\n");
    writeFileSync(join(rootfs, "home/alice/notes"), "notes\n", { mode: 0o640 });
    linkSync(join(rootfs, "home/alice/notes"), join(rootfs, "home/alice/again"));
    writeFileSync(join(rootfs, "etc/hidden"), "");
    symlinkSync("usr/bin", join(rootfs, "bin"));
    await runOk("mknod", [join(rootfs, "dev/null"), "c", "1", "3"]);
    await runOk("mkfifo", [join(rootfs, "dev/fifo")]);
    await runOk("chown", ["-R", "1000:100", join(rootfs, "home/alice")]);
    await runOk("umoci", ["repack", "--image", `${layout}:one`, bundle]);
    rmSync(join(rootfs, "etc/hidden"));
    await runOk("umoci", ["repack", "--image", `${layout}:one`, bundle]);
    writeFileSync(join(where, "tool"), "#!/bin/sh\n", { mode: 0o755 });
    const summary = await makeDisk(where, {
      fromImage: "oci:layout:one",
      partitionTableType: "none",
      contents: [{ source: "tool", target: "/bin/tool", mode: "4755", user: "alice", group: "users" }],
    });
    expect(summary.partitions).toEqual([]);
    await checkExt4(rootOf(summary));
    const stat = async (path: string) => await runOk("/sbin/debugfs", ["-R", `stat ${path}`, summary.file]);
    const owner = /User: +1000 +Group: +100 /;
    expect(await stat("/home/alice")).toMatch(owner);
    expect(await stat("/home/alice/notes")).toMatch(/Mode: +0640/);
    expect(await stat("/home/alice/notes")).toMatch(owner);
    const inode = async (path: string) => /Inode: (\d+) .*Links: (\d+)/s.exec(await stat(path))?.slice(1);
    expect(await inode("/home/alice/again")).toEqual(await inode("/home/alice/notes"));
    expect(await inode("/home/alice/again")).toEqual([expect.any(String), "2"]);
    expect(await runOk("/sbin/debugfs", ["-R", "cat /home/alice/again", summary.file])).toBe("notes\n");
    expect(await stat("/dev/null")).toMatch(/Type: character special/);
    expect(await stat("/dev/fifo")).toMatch(/Type: FIFO/);
    expect(await stat("/usr/bin/tool")).toMatch(/Mode: +04755/);
    expect(await stat("/usr/bin/tool")).toMatch(owner);
    expect(await runOk("/sbin/debugfs", ["-R", "ls -p /etc", summary.file])).not.toContain("hidden");
  });
});

describe.skipIf(requireTools(...PROGRAMS))("a disk that cannot be made", () => {
  let where: string;
  beforeEach(() => {
    where = fresh("bad");
  });

  const failing = async (
    spec: object,
    options: CliOptions = {},
    to = join(where, "disk.img"),
  ): Promise<CommandResult> => {
    const before = readdirSync(where);
    const result = await runCli(["disk", specFile(where, spec), "--to", to], options);
    expect(result.status).not.toBe(0);
    expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
    expect(readdirSync(where).filter((name) => name !== "disk.json")).toEqual(
      before.filter((name) => name !== "disk.json"),
    );
    return result;
  };

  it.each([
    ["is too small", { diskSize: 1 }, /too small by \d+ MiB/],
    [
      "has a user that nobody is",
      { contents: [{ source: "disk.json", target: "/a", user: "carol", group: "0" }] },
      /user "carol" is not in the image's \/etc\/passwd/,
    ],
    [
      "has two things in one place",
      { contents: ["/a", "/a"].map((target) => ({ source: "disk.json", target })) },
      /goes to \/a, where there is what comes from/,
    ],
    ["has a file system that is not ext4", { fsType: "btrfs" }, /fsType must be one of ext4/],
    ["has a source that is not there", { contents: [{ source: "nothing", target: "/a" }] }, /cannot read .*\/nothing/],
    [
      "has a system that is none",
      { toplevel: GREETING, installBootLoader: true },
      /toplevel: .*-greeting-1\.0 is no NixOS system: it has no file nixos-version; found bin, etc/,
    ],
    [
      "has a kernel that is none",
      { partitionTableType: "efi", bootLoader: { kind: "uki", kernel: "disk.json" } },
      /disk\.json is no x86 Linux kernel/,
    ],
    ["has no image to be made of", { fromImage: "oci:nothing:1" }, /nothing/],
  ] as const)("as it %s: says so, and leaves nothing", { timeout: LIMIT_MS }, async (_, spec, message) => {
    expect((await failing(spec)).stderr).toMatch(message);
  });

  it("as a tool is missing: names its packages", { timeout: LIMIT_MS }, async () => {
    // Tools are looked for in the system's directories as well, so that these are hidden.
    const wrapper = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /usr/sbin && exec "$@"', "sh"];
    const { stderr } = await failing({ partitionTableType: "none" }, { wrapper });
    expect(stderr).toMatch(/mke2fs/);
    expect(stderr).toMatch(/e2fsprogs/);
  });

  it("as the output is a device or is in no directory", async () => {
    expect((await failing({}, {}, "/dev/null")).stderr).toMatch(/\/dev\/null is no regular file/);
    expect((await failing({}, {}, join(where, "no/disk.img"))).stderr).toMatch(
      /there is no directory .*\/no to write to/,
    );
  });

  it("as the file system of the output is full: says so, and keeps what was there", { timeout: LIMIT_MS }, async () => {
    const small = join(where, "small");
    mkdirSync(small);
    await runOk("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", small]);
    writeFileSync(join(where, "noise"), randomBytes(2 * MIB));
    try {
      const to = join(small, "disk.img");
      writeFileSync(to, "as it was");
      const contents = [{ source: "noise", target: "/noise" }];
      const result = await runCli(["disk", specFile(where, { contents }), "--to", to]);
      expect(result).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/disk\.img.*[Nn]o space left on device/s),
      });
      expect(readdirSync(small)).toEqual(["disk.img"]);
      expect(readFileSync(to, "utf8")).toBe("as it was");
    } finally {
      await runOk("umount", [small]);
    }
  });
});

describe.skipIf(requireTools(...PROGRAMS, ...REAL_STORE_TOOLS))("a disk of real packages", () => {
  let real: RealStore;
  beforeAll(async () => {
    real = await realStore("small");
  }, 10 * 60_000);

  const spec = () => ({ closure: { roots: real.roots, storeRoot: real.storeRoot } });

  it("has every file of the store, as the kernel reads it, and a database that Nix takes", {
    timeout: LIMIT_MS,
  }, async () => {
    const where = fresh("real");
    const summary = await makeDisk(where, spec());
    await checkExt4(rootOf(summary));
    const inStore = (await mountedFiles(rootOf(summary))).filter((line) => /^"nix\/store\/[^.]/.test(line));
    expect(inStore.length).toBe(real.entries);
    const database = join(where, "db.sqlite");
    const { file, offset } = rootOf(summary);
    await runOk("/sbin/debugfs", ["-R", `dump /nix/var/nix/db/db.sqlite ${database}`, `${file}?offset=${offset}`]);
    expect(await runOk("sqlite3", [database, "select count(*) from ValidPaths"])).toBe(`${real.storePaths}\n`);
  });

  it.each(["SIGINT", "SIGTERM"] as const)(
    "leaves nothing where it is interrupted by %s",
    { timeout: LIMIT_MS },
    async (signal) => {
      const where = fresh("killed");
      const running = startCli(["disk", specFile(where, spec()), "--to", join(where, "disk.img"), "-v"]);
      running.stdout.resume();
      while (!readdirSync(where).some((name) => name.startsWith(".oci-nix"))) await sleep(20);
      running.child.kill(signal);
      const { status, stderr } = await running.ended;
      expect(status).toBe(signal === "SIGINT" ? 130 : 143);
      expect(stderr).toContain(`interrupted by ${signal}`);
      expect(readdirSync(where)).toEqual(["disk.json"]);
    },
  );

  it("has removed what a killed run left behind once it is run again", { timeout: LIMIT_MS }, async () => {
    const where = fresh("killed");
    const running = startCli(["disk", specFile(where, spec()), "--to", join(where, "disk.img")]);
    running.stdout.resume();
    while (!readdirSync(where).some((name) => name.startsWith(".oci-nix"))) await sleep(20);
    running.child.kill("SIGKILL");
    await running.ended;
    expect(readdirSync(where)).not.toContain("disk.img");
    await makeDisk(where, {});
    expect(readdirSync(where).sort()).toEqual(["disk.img", "disk.json"]);
  });
});
