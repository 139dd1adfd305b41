import { describe, expect, it } from "vitest";
import { isKnownXattr, sealXattrBlock, storeXattrs } from "../../../../src/disk/ext4/xattrs.js";
import type { EntryType } from "../../../../src/tar/entry-list.js";
import { acl, CAPABILITY } from "../../../support/xattrs.js";

const stored = (xattrs: Readonly<Record<string, string>>, type: EntryType = "file", mode = 0o644) =>
  storeXattrs({ path: "etc/f", type, mode, xattrs: new Map(Object.entries(xattrs)) });
const hex = (...parts: readonly string[]) => Buffer.from(parts.join("").replaceAll(" ", ""), "hex");
const ACCESS = "system.posix_acl_access";
const DEFAULT = "system.posix_acl_default";
/** Entries of an ACL by tag, permissions and id. */
const rawAcl = (...entries: readonly (readonly [number, number, number?])[]) => {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  for (const [i, [tag, permissions, id = 0xffff_ffff]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id, 8 + 8 * i);
  }
  return bytes.toString("latin1");
};

// The bytes that are expected are those that Linux 6.18 wrote for the same attributes, set in the order in which they are stored.
describe("extended attributes as ext4 stores them", () => {
  it("are behind an inode's fields where there is room, as the kernel writes them", () => {
    expect(stored({ "security.capability": CAPABILITY, "user.s": "hey" })).toEqual({
      inode: hex(
        "000002ea",
        "01015800 00000000 03000000 00000000 73000000",
        "0a064400 00000000 14000000 00000000 6361706162696c6974790000",
        "00".repeat(20),
        "01000002 00040000 00000000 00000000 00000000",
        "68657900",
      ),
      block: undefined,
    });
    expect(stored({ [ACCESS]: acl(6, { 1000: 5 }, 4, 4), "user.empty": "" }, "file", 0o654)).toEqual({
      inode: hex(
        "000002ea",
        "05010000 00000000 00000000 00000000 656d707479000000",
        "00024000 00000000 1c000000 00000000",
        "00".repeat(24),
        "01000000 01000600 02000500 e8030000 04000400 10000500 20000400",
      ),
      block: undefined,
    });
    expect(stored({ [DEFAULT]: acl(7, { 70000: 7 }, 5, 5) }, "directory", 0o2755)?.inode).toEqual(
      hex(
        "000002ea",
        "00034000 00000000 1c000000 00000000",
        "00".repeat(48),
        "01000000 01000700 02000700 70110100 04000500 10000700 20000500",
      ),
    );
  });

  it("are in a block where there is none, sorted and hashed as the kernel does it", () => {
    const found = stored({ "user.bb": "w".repeat(101), "security.x": "x".repeat(102), "user.a": "v".repeat(100) });
    expect(found?.inode).toEqual(Buffer.alloc(96));
    const block = sealXattrBlock(found?.block as Buffer, 7, 1);
    expect(block.subarray(0, 16)).toEqual(hex("000002ea 01000000 01000000 79014d75"));
    expect(block.subarray(20, 112)).toEqual(
      hex(
        "00".repeat(12),
        "01019c0f 00000000 64000000 76761776 61000000",
        "0201340f 00000000 65000000 227b7777 62620000",
        "0106cc0e 00000000 66000000 78007878 78000000",
        "00".repeat(20),
      ),
    );
    const values = `${"x".repeat(102)}\0\0${"w".repeat(101)}\0\0\0${"v".repeat(100)}`;
    expect(block.subarray(112).toString("latin1")).toBe(values.padStart(4096 - 112, "\0"));
    expect(sealXattrBlock(Buffer.from(block), 8, 1).subarray(16, 20)).not.toEqual(block.subarray(16, 20));
    const odd = stored({ "user.\xc3\xa9": "x".repeat(102) })?.block;
    expect(odd?.subarray(12, 16)).toEqual(hex("c9187878"));
    expect(odd?.subarray(32, 52)).toEqual(hex("0201980f 00000000 66000000 c9187878 c3a90000"));
  });

  it("are the same bytes in whatever order they are given", () => {
    const xattrs = Object.entries({ "user.a": "1".repeat(50), "user.b": "2".repeat(50), "trusted.c": "3".repeat(50) });
    const [one, two] = [xattrs, [...xattrs].reverse()].map((given) => stored(Object.fromEntries(given)));
    expect(one).toEqual(two);
    expect(one?.inode.includes("1".repeat(50))).toBe(true);
    expect(one?.block?.includes("2".repeat(50))).toBe(true);
  });

  it("have room up to the last byte of a block, and 88 bytes more in the inode", () => {
    const most = "v".repeat(4096 - 32 - 4 - 16 - 4);
    expect(
      stored({ "user.a": most })
        ?.block?.subarray(32 + 20, 32 + 24)
        .toString("latin1"),
    ).toBe("\0\0\0\0");
    expect(stored({ "user.a": most, "user.bbbb": "i".repeat(68) })?.inode.includes("i".repeat(68))).toBe(true);
    expect(() => stored({ "user.a": `${most}v` })).toThrow(
      expect.objectContaining({
        code: "unsupported",
        message: expect.stringMatching(/^\/etc\/f has the extended attribute user\.a of 4041 bytes, .* 4060$/),
      }),
    );
    expect(() => stored({ "user.a": most, "user.b": "i".repeat(69) })).toThrow(
      expect.objectContaining({ code: "unsupported", message: expect.stringContaining("user.a of 4040 bytes") }),
    );
  });

  it("are none where Linux would keep none: ACLs that are empty or say no more than the mode", () => {
    expect(stored({})).toBeUndefined();
    expect(stored({ [ACCESS]: rawAcl() })).toBeUndefined();
    expect(stored({ [ACCESS]: acl(6, {}, 4, 4) })).toBeUndefined();
    expect(stored({ [DEFAULT]: acl(6, {}, 4, 4) }, "directory")).toBeDefined();
  });

  it("have ACLs that fit the mode, as after chmod", () => {
    const at = 96 - 28;
    const access = stored({ [ACCESS]: acl(7, { 1000: 7 }, 7, 7) }, "file", 0o4640)?.inode.subarray(at);
    expect(access).toEqual(hex("01000000 01000600 02000700 e8030000 04000700 10000400 20000000"));
    const inherited = stored({ [DEFAULT]: acl(7, { 1000: 7 }, 7, 7) }, "directory", 0o640)?.inode.subarray(at);
    expect(inherited).toEqual(hex("01000000 01000700 02000700 e8030000 04000700 10000700 20000700"));
    const masked = stored({ [ACCESS]: rawAcl([1, 6], [4, 4], [16, 6], [32, 4]) }, "file", 0o750)?.inode;
    expect(masked?.subarray(96 - 20)).toEqual(hex("01000000 01000700 04000400 10000500 20000000"));
  });

  it.each([
    ["a name of no known kind", "com.apple.provenance", "1", "file"],
    ["a name that is its begin alone", "user.", "1", "file"],
    ["a name with a zero byte", "user.a\0b", "1", "file"],
    ["a name of 256 bytes", `trusted.${"n".repeat(248)}`, "1", "file"],
    ["one of users on a symlink", "user.a", "1", "symlink"],
    ["one of users on a device", "user.a", "1", "block"],
    ["an ACL of a symlink", ACCESS, acl(7, { 1: 7 }, 7, 7), "symlink"],
    ["a default ACL of a file", DEFAULT, acl(7, { 1: 7 }, 7, 7), "file"],
    ["an ACL of another version", ACCESS, "\x01\0\0\0", "file"],
    ["an ACL that is cut off", ACCESS, acl(7, { 1: 7 }, 7, 7).slice(0, -1), "file"],
    ["an empty ACL value", ACCESS, "", "file"],
    ["an ACL without others", ACCESS, rawAcl([1, 7], [4, 7]), "file"],
    ["an ACL with users and no mask", ACCESS, rawAcl([1, 7], [2, 7, 5], [4, 7], [32, 7]), "file"],
    ["an ACL in another order", ACCESS, rawAcl([4, 7], [1, 7], [32, 7]), "file"],
    ["an ACL with an unknown tag", ACCESS, rawAcl([1, 7], [64, 7], [4, 7], [16, 7], [32, 7]), "file"],
    ["an ACL with permissions that are none", ACCESS, rawAcl([1, 8], [4, 7], [32, 7]), "file"],
    ["an ACL of nobody", ACCESS, rawAcl([1, 7], [2, 7], [4, 7], [16, 7], [32, 7]), "file"],
  ] as const)("refuse %s", (_, name, value, type) => {
    const begin = `/etc/f cannot be in a file system: of its extended attribute ${name.replace("\0", "\\x00")}: `;
    expect(() => stored({ [name]: value }, type)).toThrow(
      expect.objectContaining({ code: "invalid-input", message: expect.stringContaining(begin) }),
    );
  });

  it.each([
    ["com.apple.provenance", "file", "Linux has no such name"],
    ["user.a", "symlink", "Linux has such ones of files and directories alone"],
  ] as const)("are refused with a reason: %s of a %s", (name, type, why) => {
    expect(() => stored({ [name]: "1" }, type)).toThrow(new RegExp(`of its extended attribute ${name}: ${why}$`));
  });

  it("are those of Linux", () => {
    const names = ["user.a", "trusted.a", "security.a", ACCESS, DEFAULT];
    expect(names.filter(isKnownXattr)).toEqual(names);
    expect(["system.nfs4_acl", "com.apple.quarantine", "user", `${ACCESS}x`, ""].filter(isKnownXattr)).toEqual([]);
  });
});
