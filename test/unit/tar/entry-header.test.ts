import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TarEntries, type TarEntry } from "../../../src/tar/entries.js";
import { entryHeader, type KeptEntry } from "../../../src/tar/entry-header.js";

/** What the reader of layers makes of a header. */
function readBack(header: Buffer): TarEntry {
  let found: TarEntry | undefined;
  const visitor = {
    open(entry: TarEntry) {
      found = entry;
      return false;
    },
    close: () => undefined,
  };
  new TarEntries(visitor, "a header").write(header);
  if (found === undefined) throw new Error("no entry was read");
  return found;
}

const bytes = (maxLength: number) =>
  fc
    .array(fc.constantFrom("a", "/", " ", "=", "\n", "\xff", "\xc3\xa9", "d/".repeat(40), "n".repeat(90)), {
      maxLength: 4,
    })
    .map((parts) => parts.join("").slice(0, maxLength));
const number = (max: number) => fc.oneof(fc.nat(8), fc.constantFrom(8 ** 7 - 1, 8 ** 7, max), fc.nat(max));

const entry: fc.Arbitrary<KeptEntry> = fc
  .record({
    path: bytes(400),
    type: fc.constantFrom("file", "link", "symlink", "character", "block", "directory", "fifo"),
    mode: fc.nat(0o7777),
    uid: number(2 ** 32 - 2),
    gid: number(2 ** 32 - 2),
    uname: bytes(50),
    gname: bytes(50),
    size: fc.oneof(fc.constantFrom(0, 8 ** 11 - 1, 8 ** 11, 2 ** 50), fc.nat()),
    mtime: fc.constantFrom("0", "1", "-5", "1700000000.123456789", "-0.5", String(8 ** 11)),
    linkName: bytes(300),
    device: fc.tuple(fc.nat(8 ** 7 - 1), fc.nat(8 ** 7 - 1)),
    xattrs: fc.uniqueArray(fc.tuple(fc.constantFrom("user.a", "user.b\xff", "security.capability"), bytes(99)), {
      selector: ([name]) => name,
    }),
  })
  .map(({ path, type, mtime, device, xattrs, linkName, size, ...rest }) => ({
    ...rest,
    type: type as KeptEntry["type"],
    name: type === "directory" ? `./${path}/` : `./${path}`,
    size: type === "file" ? size : 0,
    mtime: Number(mtime),
    mtimeRecord: mtime,
    linkName: type === "link" || type === "symlink" ? `t${linkName}` : "",
    devMajor: type === "character" || type === "block" ? device[0] : 0,
    devMinor: type === "character" || type === "block" ? device[1] : 0,
    xattrs: xattrs.length === 0 ? undefined : new Map(xattrs),
  }));

describe("an entry's header", () => {
  it("says all that is known of it, whatever that is", () => {
    fc.assert(
      fc.property(entry, (given) => {
        const header = entryHeader(given);
        expect(header.length % 512).toBe(0);
        const { mtimeRecord, ...found } = readBack(header);
        const { mtimeRecord: spelled, ...rest } = given;
        expect(found).toEqual({ ...rest, sparse: false, fullSize: given.size });
        expect(mtimeRecord ?? String(found.mtime)).toBe(spelled);
      }),
      { numRuns: 500 },
    );
  });

  it("is one block where a plain header can say it", () => {
    const plain = readBack(entryHeader({ ...fc.sample(entry, { numRuns: 1, seed: 1 })[0], ...PLAIN } as KeptEntry));
    expect(plain).toMatchObject(PLAIN);
    expect(entryHeader({ ...plain, ...PLAIN } as KeptEntry).length).toBe(512);
    const long = `./${"d".repeat(140)}/${"f".repeat(100)}`;
    expect(entryHeader({ ...plain, ...PLAIN, name: long } as KeptEntry).length).toBe(512);
  });
});

const PLAIN = {
  name: "./f",
  type: "file",
  uid: 0,
  gid: 0,
  uname: "root",
  gname: "root",
  size: 5,
  mtime: 1,
  mtimeRecord: undefined,
  linkName: "",
  devMajor: 0,
  devMinor: 0,
  xattrs: undefined,
} as const;
