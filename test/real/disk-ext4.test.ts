import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeExt4 } from "../../src/disk/ext4/make-ext4.js";
import { automaticExt4Bytes, ext4Bytes, leastExt4Bytes } from "../../src/disk/ext4/size.js";
import { readImageTree } from "../../src/disk/image-tree.js";
import { DiskTools } from "../../src/disk/tools.js";
import { installForEverybody } from "../support/cli.js";
import { runOk } from "../support/command.js";
import {
  checkExt4,
  entriesOf,
  ext4Of,
  filesIn,
  leastBytes,
  linesOf,
  mountedFiles,
  treeFile,
  UUID,
  zeroFile,
} from "../support/ext4.js";
import { LayoutFixture, OCI } from "../support/layouts.js";
import { REAL_STORE_TOOLS, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";

const MIB = 1024 * 1024;
const LIMIT_MS = 120_000;
/** Of what writes hundreds of megabytes several times. */
const LARGE_LIMIT_MS = 600_000;

describe.skipIf(requireTools("mke2fs", "e2fsck", "debugfs", "resize2fs", "mount", "root"))(
  "an ext4 file system in a region of a file",
  () => {
    let directory: string;
    const path = (name: string) => join(directory, name);
    const bytes = (length: number, seed: number) =>
      Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed + (i >> 8)) & 0xff));
    const random = (length: number) => Buffer.alloc(length, bytes(Math.min(length, 65_521), (length % 251) + 1));

    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-ext4-"));
    });
    afterEach(() => rmSync(directory, { recursive: true, force: true }));

    it(
      "holds every type of file as the kernel and e2fsck see it",
      async () => {
        const files = [
          treeFile("", "directory", { mode: 0o751, uid: 7, gid: 8 }),
          treeFile("etc", "directory", { mode: 0o1777, uid: 70_000, gid: 80_000 }),
          treeFile("etc/hostname", "file", { mode: 0o4711, uid: 4_000_000_000, contents: Buffer.from("nixos\n") }),
          treeFile("etc/empty", "file", { mode: 0, gid: 4_000_000_001 }),
          treeFile("etc/block", "file", { contents: random(4096) }),
          treeFile("etc/big", "file", { contents: random(9 * MIB + 17) }),
          treeFile("etc/short", "symlink", { target: "a".repeat(59) }),
          treeFile("etc/long", "symlink", { target: "b".repeat(60), uid: 5 }),
          treeFile("etc/longest", "symlink", { target: "c".repeat(4095) }),
          treeFile("etc/odd", "symlink", { target: 'a "b"\n\xff' }),
          treeFile("etc/null", "character", { device: { major: 1, minor: 3 }, mode: 0o666 }),
          treeFile("etc/disk", "block", { device: { major: 300, minor: 70_000 }, mode: 0o660 }),
          treeFile("etc/pipe", "fifo", { mode: 0o600 }),
          treeFile('etc/"quoted"', "file"),
          treeFile("etc/new\nline\r", "file", { contents: Buffer.from("x") }),
          treeFile("etc/\xff\xfe \\", "directory"),
          treeFile(`etc/\xff\xfe \\/${"n".repeat(255)}`, "file"),
          treeFile("-f", "directory", { mode: 0o500 }),
          treeFile("-f/#", "directory"),
        ];
        const region = await ext4Of(relative(".", path("disk")), files, 64 * MIB);
        await checkExt4(region);
        expect(await mountedFiles(region)).toEqual(linesOf(files));
      },
      LIMIT_MS,
    );

    it(
      "holds directories of many blocks and many subdirectories, and entries in any order that has parents first",
      async () => {
        const files = [
          treeFile("many", "directory"),
          ...Array.from({ length: 3000 }, (_, i) => treeFile(`many/${"n".repeat(i % 200)}${i}`, "fifo")),
          treeFile("crowd", "directory"),
          treeFile("a", "directory"),
          ...Array.from({ length: 1500 }, (_, i) => treeFile(`crowd/${i}`, "directory")),
          treeFile("a/late", "fifo"),
          treeFile("crowd/7/late", "fifo"),
          treeFile("most", "directory"),
          ...Array.from({ length: 9000 }, (_, i) => treeFile(`most/${"\xe9n".repeat(120)}${i}`, "fifo")),
        ];
        const region = await ext4Of(path("disk"), files, 256 * MIB);
        await checkExt4(region);
        const levels = async (name: string) => {
          const device = `${region.file}?offset=${region.offset}`;
          const said = await runOk(tool("debugfs"), ["-R", `htree_dump ${name}`, device]);
          return /Indirect levels: (\d)/.exec(said)?.[1];
        };
        expect([await levels("a"), await levels("many"), await levels("most")]).toEqual([undefined, "0", "1"]);
        expect(await mountedFiles(region)).toEqual(linesOf(files));
      },
      LIMIT_MS,
    );

    it(
      "stores no blocks of zeros, and counts the others right where a file has more pieces than an inode has room for",
      async () => {
        const holes = Buffer.alloc(4 * MIB);
        for (let at = 0; at < holes.length; at += 8192) holes[at + 4095] = 1;
        const files = [
          treeFile("holes", "file", { contents: holes }),
          treeFile("zeros", "file", { contents: Buffer.alloc(8 * MIB + 1) }),
          treeFile("end", "file", { contents: Buffer.concat([Buffer.alloc(5000), Buffer.from([1])]) }),
        ];
        const region = await ext4Of(path("disk"), files, 16 * MIB);
        expect(await checkExt4(region)).toMatch(/Extent depth histogram: \d+\/1/);
        expect(await mountedFiles(region)).toEqual(linesOf(files));
      },
      LIMIT_MS,
    );

    it(
      "fits into the least size, and into no smaller one",
      async () => {
        const files = [
          treeFile("d", "directory"),
          ...Array.from({ length: 2500 }, (_, i) => treeFile(`d/${i}`, "file", { contents: random(1 + (i % 9000)) })),
          ...Array.from({ length: 500 }, (_, i) => {
            const xattrs = new Map([["trusted.a", "v".repeat(i * 8)]]);
            return treeFile(`d/x${i}`, "symlink", { target: "t".repeat(50 + (i % 20)), xattrs });
          }),
          treeFile("big", "file", { contents: random(40 * MIB) }),
        ];
        const least = await leastBytes(files);
        const region = await ext4Of(path("disk"), files, least, { minimise: true });
        await checkExt4(region);
        expect(await mountedFiles(region)).toEqual(linesOf(files));
        expect(least).toBeLessThan(ext4Bytes(entriesOf(files)) + 16 * MIB);
        await expect(ext4Of(path("smaller"), files, least - 64 * 4096, { minimise: true })).rejects.toMatchObject({
          code: "limit",
        });
      },
      LIMIT_MS,
    );

    it(
      "can be grown, mounted and written to",
      async () => {
        const files = [
          treeFile("d", "directory"),
          ...Array.from({ length: 300 }, (_, i) =>
            treeFile(`d/${"o".repeat(50)}${i}`, "file", { contents: random(i * 100) }),
          ),
        ];
        const whole = { file: zeroFile(path("disk"), 32 * MIB), offset: 0, size: 32 * MIB };
        const tools = new DiskTools();
        await makeExt4(whole, entriesOf(files), { label: "nixos", uuid: UUID }, tools);
        tools.close();
        truncateSync(whole.file, 600 * MIB);
        await runOk(tool("resize2fs"), ["-f", whole.file]);
        const grown = { ...whole, size: 600 * MIB };
        await checkExt4(grown);
        expect(await mountedFiles(grown)).toEqual(linesOf(files));
        mkdirSync(path("mounted"));
        await runOk("mount", ["-t", "ext4", "-o", "loop,errors=remount-ro", whole.file, path("mounted")]);
        try {
          const at = (name: string) => join(path("mounted"), name);
          for (let i = 0; i < 300; i += 2) rmSync(at(`d/${"o".repeat(50)}${i}`));
          for (let i = 0; i < 500; i++) writeFileSync(at(`d/${"n".repeat(100)}${i}`), "new");
          writeFileSync(at("new"), random(100 * MIB));
          writeFileSync(at("d/other"), random(5 * MIB));
        } finally {
          await runOk("umount", [path("mounted")]);
        }
        await checkExt4(grown);
      },
      LIMIT_MS,
    );

    it("has room for more files where it has more room than the tree needs", async () => {
      const files = [treeFile("a", "file")];
      const region = await ext4Of(path("disk"), files, 256 * MIB, { minimise: true });
      expect(await checkExt4(region)).toMatch(/out of 1[67],?\d{3}\)/);
    });

    it("holds more files than it would have inodes for, in the size that it is given", async () => {
      const many = Array.from({ length: 2000 }, (_, i) => treeFile(`${i}`, "fifo"));
      await checkExt4(await ext4Of(path("fixed"), many, 16 * MIB));
      const tools = new DiskTools();
      const entries = entriesOf(many);
      const bytes = await automaticExt4Bytes(entries, 0, tools);
      tools.close();
      expect(bytes).toBe(ext4Bytes(entries));
      const region = await ext4Of(path("automatic"), many, bytes);
      await checkExt4(region);
      expect(await mountedFiles(region)).toEqual(linesOf(many));
    });

    it("says before it writes anything what is missing", async () => {
      const big = treeFile("big", "file", { contents: random(12 * MIB) });
      await expect(ext4Of(path("disk"), [big], 9 * MIB)).rejects.toMatchObject({
        code: "limit",
        message: expect.stringMatching(/^the tree needs 126\d{5} bytes, and the file system has \d+ for it$/),
        hint: expect.stringMatching(/^make it larger by \d+ bytes and/),
      });
    });

    it("stops at the last free block where only the contents tell how much there is to write", async () => {
      const source = zeroFile(path("source"), 12 * MIB);
      const contents = random(12 * MIB);
      // As where a file system stores files compressed, its size on disk says less than it takes elsewhere.
      const progress = {
        bytes: 0,
        get entries() {
          return 0;
        },
        set entries(_: number) {
          writeFileSync(source, contents);
        },
      };
      const files = [treeFile("first", "fifo"), treeFile("big", "file", { contents, source })];
      await expect(ext4Of(path("disk"), files, 9 * MIB, { progress })).rejects.toMatchObject({
        code: "limit",
        message: "the file system has no free block left",
      });
    });

    it("refuses a tree that has a file twice, in the root or lost+found as well", async () => {
      const twice = ["a", "d/a", "lost+found/a"].map((name) => {
        const parents = [treeFile("lost+found", "directory"), treeFile("d", "directory")];
        return {
          name,
          files: [...parents, treeFile(name, "directory"), treeFile("b", "fifo"), treeFile(name, "fifo")],
        };
      });
      for (const { name, files } of twice) {
        await expect(ext4Of(path("disk"), files, 16 * MIB)).rejects.toMatchObject({
          code: "conflict",
          message: `the tree has /${name} twice`,
        });
      }
    });

    it("keeps what is in lost+found", async () => {
      const files = [
        treeFile("lost+found", "directory", { mode: 0o711, uid: 3 }),
        ...Array.from({ length: 200 }, (_, i) => treeFile(`lost+found/${"#".repeat(200)}${i}`, "fifo")),
        treeFile("lost+found/d", "directory"),
      ];
      const region = await ext4Of(path("disk"), files, 32 * MIB);
      await checkExt4(region);
      expect(await mountedFiles(region)).toEqual(linesOf(files));
    });

    it("refuses a label, a UUID and a file that is too short", async () => {
      const files = [treeFile("a", "file")];
      await expect(ext4Of(path("disk"), files, 16 * MIB, { label: "seventeen letters" })).rejects.toMatchObject({
        code: "invalid-input",
        message: expect.stringContaining("longer than 16 bytes"),
      });
      await expect(ext4Of(path("disk"), files, 16 * MIB, { uuid: "x,discard" })).rejects.toMatchObject({
        code: "invalid-input",
      });
    });

    it("tells when a file is not as long as it was, or gone", async () => {
      writeFileSync(path("source"), "12345");
      const made = (length: number, source = path("source")) =>
        ext4Of(path("disk"), [treeFile("a", "file", { contents: Buffer.alloc(length), source })], 16 * MIB);
      await expect(made(4)).rejects.toMatchObject({
        code: "changed",
        message: expect.stringContaining("longer than 4"),
      });
      await expect(made(6)).rejects.toMatchObject({
        code: "changed",
        message: expect.stringContaining("after 5 of 6"),
      });
      await expect(made(5, path("gone"))).rejects.toMatchObject({ code: "not-found" });
      symlinkSync(path("source"), path("link"));
      await expect(made(5, path("link"))).rejects.toMatchObject({ code: "unreadable" });
      await made(5);
    });

    it(
      "is the same bytes from another copy of the files, whoever makes it, in whatever environment",
      async () => {
        const installed = installForEverybody();
        chmodSync(directory, 0o777);
        writeFileSync(path("mke2fs.conf"), "[defaults]\n blocksize = 1024\n inode_ratio = 4096\n");
        const names = ["a", "b", "c\u00e9", "d"];
        const copy = (name: string, order: readonly string[], time: number) => {
          mkdirSync(path(name));
          for (const each of order) {
            writeFileSync(path(`${name}/${each}`), each.repeat(5000));
            utimesSync(path(`${name}/${each}`), time, time);
          }
          return path(name);
        };
        const script = `
        const [root, disk, installed] = process.argv.slice(1);
        const { EntryList } = await import(installed + "/dist/tar/entry-list.js");
        const { makeExt4 } = await import(installed + "/dist/disk/ext4/make-ext4.js");
        const { DiskTools } = await import(installed + "/dist/disk/tools.js");
        const { statSync } = await import("node:fs");
        const owner = { uid: 1, gid: 2, uname: "", gname: "" };
        const list = new EntryList();
        for (const name of ${JSON.stringify(names)}) {
          const bytes = Buffer.from(name).toString("latin1");
          const source = Buffer.from(root + "/" + name).toString("latin1");
          const { size } = statSync(root + "/" + name);
          list.append({ depth: 0, name: bytes, type: "file", mode: 0o644, owner, size, linkTarget: "", source });
        }
        const tools = new DiskTools();
        const region = { file: disk, offset: 1048576, size: 67108864 };
        await makeExt4(region, list, { label: "nixos", uuid: "${UUID}" }, tools);
        tools.close();
      `;
        const make = async (root: string, umask: string, options: Parameters<typeof runOk>[2]) => {
          const disk = zeroFile(`${root}.img`, 65 * MIB);
          chmodSync(disk, 0o666);
          const node = [process.execPath, "--input-type=module", "-e", script, root, disk, installed.directory];
          await runOk("sh", ["-c", `umask ${umask}; exec "$@"`, "sh", ...node], options);
          return createHash("sha256").update(readFileSync(disk)).digest("hex");
        };
        try {
          const one = await make(copy("one", names, 1_000_000_000), "022", {});
          const two = await make(copy("two", [...names].reverse(), 1_700_000_000), "077", {
            uid: 65_534,
            gid: 65_534,
            env: {
              HOME: "/nonexistent",
              PATH: "/nonexistent:/usr/bin:/bin",
              LANG: "tr_TR.UTF-8",
              LC_ALL: "tr_TR.UTF-8",
              TZ: "Asia/Kathmandu",
              TMPDIR: directory,
              MKE2FS_CONFIG: path("mke2fs.conf"),
              MKE2FS_DEVICE_SECTSIZE: "2048",
              E2FSPROGS_FAKE_TIME: "1234567890",
              SOURCE_DATE_EPOCH: "1234567890",
              E2FSPROGS_LIBMAGIC_SUPPRESS: "1",
            },
          });
          expect(two).toBe(one);
        } finally {
          rmSync(installed.directory, { recursive: true, force: true });
        }
      },
      LIMIT_MS,
    );
  },
);

/** Gives files of a tree attributes of all kinds, some of them further names, and makes devices. */
const DECORATE = `
import os, stat, struct, sys
os.chdir(sys.argv[1])
def acl(mode, user):
    bits = [(1, mode >> 6 & 7, -1), (2, 4, user), (4, 5, -1), (16, mode >> 3 & 7, -1), (32, mode & 7, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xffffffff) for t, p, i in bits)
os.mkdir("dev")
os.mkdir("again")
for i in range(40):
    kind = [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO][i % 3]
    os.mknod(f"dev/{i}", kind | 0o640, 0 if i % 3 == 2 else os.makedev(i * 90, i * 26000))
paths = sorted(os.path.join(d, name) for d, ds, fs in os.walk(".") for name in ds + fs)
for i, path in enumerate(paths):
    mode = os.lstat(path).st_mode
    set = lambda key, value: os.setxattr(path, key, value, follow_symlinks=False)
    if i % 3 == 0 and not stat.S_ISLNK(mode): os.chown(path, i, 5_000_000 - i)
    if i % 5 == 0 and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)): set("user.n", bytes([i % 256]) * (i % 3800))
    if i % 17 == 0: set("trusted.t", b"t" * (i % 90))
    if i % 7 == 0: set("security.selinux", b"system_u:object_r:bin_t:s0\\0")
    if i % 11 == 0 and stat.S_ISREG(mode): set("security.capability", struct.pack("<IIIII", 0x2000001, i, 0, 0, 0))
    if i % 13 == 0 and not stat.S_ISLNK(mode): set("system.posix_acl_access", acl(mode, i))
    if i % 13 == 1 and stat.S_ISDIR(mode): set("system.posix_acl_default", acl(0o750, i))
    if i % 19 == 0 and stat.S_ISREG(mode): os.link(path, f"again/{i}", follow_symlinks=False)
`;

/** The place of an image, in a new directory, of one layer that GNU tar made. */
async function imageOfTree(tree: string, directory: string): Promise<string> {
  const layer = `${directory}.layer`;
  const xattrs = ["--xattrs", "--xattrs-include=*", "--format=pax", "--numeric-owner", "--sort=name"];
  await runOk("tar", ["-C", tree, ...xattrs, "-cf", layer, "."], { timeoutMs: LARGE_LIMIT_MS });
  const hex = (await runOk("sha256sum", [layer], { timeoutMs: LARGE_LIMIT_MS })).slice(0, 64);
  const digest = `sha256:${hex}`;
  const layers = [{ mediaType: `${OCI}.layer.v1.tar`, digest, size: statSync(layer).size }];
  const layout = new LayoutFixture();
  const config = { rootfs: { type: "layers", diff_ids: [digest] } };
  layout.add(layout.image({ config, manifest: { layers } }), "1").write(directory);
  renameSync(layer, join(directory, "blobs/sha256", hex));
  return `oci:${directory}:1`;
}

describe.skipIf(requireTools("mke2fs", "e2fsck", "mount", "tar", "python3", "root", ...REAL_STORE_TOOLS))(
  "a large tree",
  () => {
    let directory: string;
    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-ext4-"));
    });
    afterEach(() => rmSync(directory, { recursive: true, force: true }), LIMIT_MS);

    it(
      "holds a tree of real packages, with attributes, hard links and devices, as the image of it has them: each file the same",
      async () => {
        const tree = join(directory, "tree");
        mkdirSync(join(tree, "nix"), { recursive: true });
        const { storeRoot, entries } = await realStore("small");
        await runOk("cp", ["-a", join(storeRoot, "nix/store"), join(tree, "nix")], { timeoutMs: LARGE_LIMIT_MS });
        await runOk("python3", ["-c", DECORATE, tree], { timeoutMs: LARGE_LIMIT_MS });
        const image = await imageOfTree(tree, join(directory, "image"));
        mkdirSync(join(directory, "files"));
        const { tree: read, links } = await readImageTree(image, { directory: join(directory, "files") });
        const list = await read.entries();
        const tools = new DiskTools();
        const size = await leastExt4Bytes(list, tools, links);
        const region = { file: zeroFile(join(directory, "disk"), size), offset: 0, size };
        await makeExt4(region, list, { label: "", uuid: UUID, minimise: true, links }, tools);
        tools.close();
        await checkExt4(region);
        const found = await mountedFiles(region);
        expect(found.length).toBeGreaterThan(entries);
        const count = (what: RegExp) => found.filter((line) => what.test(line)).length;
        expect(count(/"security\.capability"/)).toBeGreaterThan(100);
        expect(count(/"system\.posix_acl_/)).toBeGreaterThan(100);
        expect(count(/"user\.n"/)).toBeGreaterThan(1000);
        expect(count(/ == "/)).toBeGreaterThan(100);
        expect(count(/^"dev\/.*(character|block|fifo)/)).toBe(40);
        expect(found.filter((line) => !line.startsWith('"lost+found"'))).toEqual(await filesIn(tree));
      },
      LARGE_LIMIT_MS,
    );
  },
);

describe.skipIf(requireTools("mke2fs", "grub-fstest"))("GRUB", () => {
  it("reads files of ext4 file systems, in directories with and without an index", { timeout: LIMIT_MS }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "oci-nix-ext4-"));
    try {
      const file = (name: string) => treeFile(name, "file", { contents: Buffer.from(`this is ${name}`) });
      const files = [
        treeFile("boot", "directory"),
        file("boot/kernel"),
        treeFile("store", "directory"),
        ...Array.from({ length: 1000 }, (_, i) => file(`store/${i}`)),
        treeFile("link", "symlink", { target: "store/77" }),
      ];
      const region = { file: zeroFile(join(directory, "disk"), 32 * MIB), offset: 0, size: 32 * MIB };
      const tools = new DiskTools();
      await makeExt4(region, entriesOf(files), { label: "nixos", uuid: UUID }, tools);
      tools.close();
      const cat = (name: string) => runOk(tool("grub-fstest"), [region.file, "cat", `(loop0)/${name}`]);
      expect([await cat("boot/kernel"), await cat("store/999"), await cat("link")]).toEqual([
        "this is boot/kernel",
        "this is store/999",
        "this is store/77",
      ]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
