import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Region } from "../../src/disk/region.js";
import { runCli } from "../support/cli.js";
import { runOk } from "../support/command.js";
import { packImage } from "../support/confs.js";
import { checkExt4, ext4Of, filesIn, linesOf, mounted, mountedFiles, treeFile } from "../support/ext4.js";
import { requireTools, tool } from "../support/tools.js";
import { acl, CAPABILITY } from "../support/xattrs.js";
import { type Entry, tarOf } from "../unit/examine/fixtures.js";

const LIMIT_MS = 120_000;
const MIB = 2 ** 20;
const PROGRAMS = ["mke2fs", "e2fsck", "debugfs", "mount", "python3", "root"];

let directory: string;
const path = (name: string) => join(directory, name);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-xattrs-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Makes a bare file system of an image in a file beside the spec. */
async function makeDisk(fromImage: string): Promise<{ readonly region: Region; readonly stderr: string }> {
  const spec = { fromImage, partitionTableType: "none", minimise: true };
  writeFileSync(path("disk.json"), JSON.stringify(spec));
  const args = ["disk", path("disk.json"), "--to", path("disk.img"), "--json"];
  const { status, stderr } = await runCli(args, { timeoutMs: LIMIT_MS });
  const size = status === 0 ? (JSON.parse(stderr) as { readonly size: number }).size : 0;
  return { region: { file: path("disk.img"), offset: 0, size }, stderr };
}

/** Makes it of layers that are written here. */
async function makeDiskOf(...layers: readonly (readonly (readonly [string, Entry?])[])[]) {
  const tars = layers.map((entries, i) => ({ name: `${i}.tar`, tar: tarOf(...entries) }));
  writeFileSync(path("image.tar"), await packImage(tars));
  return await makeDisk("docker-archive:image.tar");
}

const xattr = (name: string, value: string) => ({ pax: { [`SCHILY.xattr.${name}`]: value } });
const withoutLostAndFound = (lines: readonly string[]) => lines.filter((line) => !line.startsWith('"lost+found"'));

describe.skipIf(requireTools(...PROGRAMS, "umoci", "setcap", "getcap", "setfacl", "getfacl", "setfattr", "getfattr"))(
  "a disk of an image whose files have extended attributes",
  () => {
    it("has them as their tools and debugfs find them", { timeout: LIMIT_MS }, async () => {
      const [layout, bundle, rootfs] = [path("layout"), path("bundle"), path("bundle/rootfs")];
      await runOk("umoci", ["init", "--layout", layout]);
      await runOk("umoci", ["new", "--image", `${layout}:one`]);
      await runOk("umoci", ["unpack", "--image", `${layout}:one`, bundle]);
      for (const name of ["bin", "srv", "srv/shared", "dev"]) mkdirSync(join(rootfs, name));
      const ping = join(rootfs, "bin/ping");
      writeFileSync(ping, "ping", { mode: 0o755 });
      linkSync(ping, join(rootfs, "bin/ping6"));
      symlinkSync("ping", join(rootfs, "bin/ping4"));
      await runOk("mknod", [join(rootfs, "dev/tun"), "c", "10", "200"]);
      const set = async (program: string, ...args: readonly string[]) => await runOk(tool(program), args);
      await set("setcap", "cap_net_raw,cap_net_admin=ep", ping);
      await set("setfattr", "-n", "user.note", "-v", "n".repeat(3000), ping);
      await set("setfattr", "-h", "-n", "trusted.link", "-v", "yes", join(rootfs, "bin/ping4"));
      await set("setfacl", "-m", "u:1000:rw,g:70000:r", join(rootfs, "dev/tun"));
      await set("setfacl", "-m", "u:1000:rwx", "-m", "m::rx", join(rootfs, "srv/shared"));
      await runOk("umoci", ["repack", "--image", `${layout}:one`, bundle]);
      // Another layer, in which a directory has other ones.
      await set("setfacl", "-b", join(rootfs, "srv/shared"));
      await set("setfacl", "-d", "-m", "g:4000000000:rwx", join(rootfs, "srv/shared"));
      await runOk("umoci", ["repack", "--image", `${layout}:one`, bundle]);

      const { region } = await makeDisk("oci:layout:one");
      await checkExt4(region);
      expect(withoutLostAndFound(await mountedFiles(region))).toEqual(await filesIn(rootfs));
      const said = async (program: string, root: string, ...args: readonly string[]) =>
        (await runOk(tool(program), [...args, root])).replaceAll(root, "");
      await mounted(region, async (root) => {
        const sorted = (text: string) => text.trim().split("\n").sort();
        const capabilities = sorted(await said("getcap", root, "-r"));
        expect(capabilities).toContain("/bin/ping6 cap_net_admin,cap_net_raw=ep");
        expect(capabilities).toEqual(sorted(await said("getcap", rootfs, "-r")));
        const acls = await said("getfacl", root, "-Rpn");
        expect(acls).toContain("default:group:4000000000:rwx");
        expect(acls).not.toContain("user:1000:rwx");
        const own = (text: string) => text.split("\n\n").filter((each) => !each.includes("/lost+found"));
        expect(own(acls).sort()).toEqual(own(await said("getfacl", rootfs, "-Rpn")).sort());
      });
      const debugfs = async (request: string) => await runOk(tool("debugfs"), ["-R", request, region.file]);
      const listed = await debugfs("ea_list /bin/ping6");
      for (const each of ["security.capability (20)", "user.note (3000)"]) expect(listed).toContain(each);
      expect(await debugfs("ea_get -V /bin/ping4 trusted.link")).toContain("yes");
      expect(await debugfs("stat /bin/ping6")).toMatch(/Links: 2 +Blockcount: 16/);
    });
  },
);

describe.skipIf(requireTools(...PROGRAMS))("a disk of layers with extended attributes", () => {
  it("has those of the highest layer that has a path, and of the first name of a file", {
    timeout: LIMIT_MS,
  }, async () => {
    const { region } = await makeDiskOf(
      [
        ["./", xattr("user.root", "r")],
        ["d/", xattr("user.old", "1")],
        ["d/f", { content: "text", ...xattr("user.f", "f") }],
        ["d/link", { link: "f", ...xattr("trusted.l", "l") }],
        ["d/again", { type: "1", link: "d/f", ...xattr("user.other", "ignored") }],
        ["bare/", xattr("user.bare", "1")],
        ["lost+found/", { ...xattr("user.lost", "x"), mode: 0o700 }],
      ],
      [["d/", xattr("user.new", "2")], ["bare/"]],
    );
    await checkExt4(region);
    const lines = await mountedFiles(region);
    const of = (name: string) => lines.find((line) => line.startsWith(`"${name}" `))?.replace(/^[^[]*/, "");
    expect(["", "d", "d/link", "d/f", "bare", "lost+found", "d/again"].map(of)).toEqual([
      '[["user.root","r"]]',
      '[["user.new","2"]]',
      '[["trusted.l","l"]]',
      '[["user.f","f"]]',
      "",
      '[["user.lost","x"]]',
      '[["user.f","f"]]',
    ]);
  });

  it("lacks what no engine takes: names that Linux does not know, and records that are no attributes to them", {
    timeout: LIMIT_MS,
  }, async () => {
    const pax = {
      "SCHILY.xattr.com.apple.provenance": "x",
      "SCHILY.xattr.user.a%3Db": "kept as it is",
      "LIBARCHIVE.xattr.user.b": "Mg",
      "SCHILY.acl.access": "user::rw-,user:1000:rwx,group::r--,mask::rwx,other::r--",
    };
    const { region } = await makeDiskOf([["f", { pax }]]);
    expect((await mountedFiles(region)).find((line) => line.startsWith('"f"'))).toMatch(
      / \[\["user\.a%3Db","kept as it is"\]\]$/,
    );
  });

  it.each([
    [
      "one that no block holds",
      xattr("user.big", "v".repeat(5000)),
      /\/etc\/f has the extended attribute user\.big of 5000 bytes, which take 5020 in all, and ext4 has room for 4060/,
    ],
    [
      "an ACL that is none",
      xattr("system.posix_acl_access", "no"),
      /attribute system\.posix_acl_access: it is no well-/,
    ],
    [
      "one of users on a FIFO",
      { type: "6", ...xattr("user.a", "1") },
      /attribute user\.a: Linux has such ones of files/,
    ],
  ])("is refused for %s, and no file is left", { timeout: LIMIT_MS }, async (_, entry, message) => {
    const { stderr } = await makeDiskOf([["etc/f", entry]]);
    expect(stderr).toMatch(message);
    expect(existsSync(path("disk.img"))).toBe(false);
  });

  it("can be written to: attributes are changed, added and removed", { timeout: LIMIT_MS }, async () => {
    const many = (count: number) => new Map(Array.from({ length: count }, (_, i) => [`user.${i}`, "v".repeat(90 + i)]));
    const files = [
      treeFile("many", "file", { xattrs: many(30) }),
      treeFile("one", "directory", { xattrs: new Map([["user.a", "1"]]) }),
      treeFile("capable", "file", { xattrs: new Map([["security.capability", CAPABILITY]]) }),
      treeFile("acl", "file", { mode: 0o654, xattrs: new Map([["system.posix_acl_access", acl(6, { 1: 5 }, 4, 4)]]) }),
      treeFile("link", "symlink", { target: "x", xattrs: new Map([["trusted.a", "v".repeat(500)]]) }),
    ];
    const region = await ext4Of(path("disk"), files, 16 * MIB);
    expect(await mountedFiles(region)).toEqual(linesOf(files));
    const whole = { ...region, file: path("alone") };
    await runOk("dd", [`if=${region.file}`, `of=${whole.file}`, "bs=1M", "skip=1"]);
    mkdirSync(path("mounted"));
    await runOk("mount", ["-t", "ext4", "-o", "loop,errors=remount-ro", whole.file, path("mounted")]);
    try {
      const script = `
import os
def set(name, key, value): os.setxattr(name, key, value, follow_symlinks=False)
set("many", "user.3", b"changed")
os.removexattr("many", "user.4")
set("many", "user.new", b"n" * 200)
set("one", "user.b", b"w" * 3000)
os.removexattr("capable", "security.capability")
os.removexattr("link", "trusted.a", follow_symlinks=False)
os.chmod("acl", 0o600)
`;
      await runOk("python3", ["-c", script], { cwd: path("mounted") });
    } finally {
      await runOk("umount", [path("mounted")]);
    }
    const changed = { ...whole, offset: 0 };
    await checkExt4(changed);
    const now = (await mounted(changed, filesIn)).join("\n");
    expect(now).toContain('["user.3","changed"]');
    expect(now).not.toContain('["user.4"');
    expect(now).toMatch(/^"one" .*"user\.a","1".*"user\.b","w{3000}"/m);
    expect(now).toMatch(/^"capable" .*[0-9a-f]$/m);
    expect(now).toMatch(/^"link" .*"x"$/m);
  });
});
