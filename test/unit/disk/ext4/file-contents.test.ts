import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeUtf8 } from "../../../../src/core/byte-string.js";
import { ROOT } from "../../../../src/disk/disk-tree.js";
import { BLOCK } from "../../../../src/disk/ext4/block-file.js";
import { dataOf } from "../../../../src/disk/ext4/file-contents.js";
import { EntryCursor, EntryList } from "../../../../src/tar/entry-list.js";

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-file-contents-"));
  file = join(directory, "file");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** The bytes of a file that was listed with a size. */
function read(source: string, size: number): Buffer {
  const entries = new EntryList([ROOT]);
  const path = encodeUtf8(source);
  entries.append({ depth: 0, name: "", type: "file", mode: 0o644, owner: ROOT, size, linkTarget: "", source: path });
  const cursor = new EntryCursor(entries);
  expect(cursor.next()).toBe(true);
  return Buffer.concat([...dataOf(cursor, Buffer.alloc(4 * BLOCK))].map(({ bytes }) => Buffer.from(bytes)));
}

describe("the contents of a file on a disk", () => {
  it("are those of the file", () => {
    writeFileSync(file, "contents");
    expect(read(file, 8).toString()).toBe("contents");
  });

  it.each([
    ["is longer than 8 bytes", () => appendFileSync(file, "!")],
    ["ended after 3 of 8 bytes", () => truncateSync(file, 3)],
  ])("are refused where it changed: it %s", (what, change) => {
    writeFileSync(file, "contents");
    change();
    expect(() => read(file, 8)).toThrow(
      expect.objectContaining({ code: "changed", message: `${file} changed while it was read: it ${what}` }),
    );
  });

  it.each([
    ["/proc/version", 0, "is longer than 0 bytes"],
    ["/sys/kernel/mm/transparent_hugepage/enabled", 4096, "ended after "],
  ])("are refused where its file system says another size than it has: %s", (source, size, what) => {
    expect(() => read(source, size)).toThrow(
      expect.objectContaining({
        code: "invalid-input",
        message: expect.stringMatching(`^${source} ${what}.*, which is the size it has by its file system: `),
        hint: expect.stringContaining("cat FILE > COPY"),
      }),
    );
  });
});
