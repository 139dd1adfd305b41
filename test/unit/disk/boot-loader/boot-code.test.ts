import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readBootCode, writeBootCode } from "../../../../src/disk/boot-loader/boot-code.js";
import { planLayout, type TableName } from "../../../../src/disk/layout.js";
import { cleanUpDisks, emptyDisk } from "../../../support/disks.js";

const MIB = 1024 * 1024;

describe("the boot code of a disk", () => {
  cleanUpDisks();

  /** A disk that is full of something, and an empty one to which its boot code was written. */
  function copied(table: TableName) {
    const layout = planLayout({ table, rootBytes: MIB, bootEnd: 16 * MIB });
    const [from, to] = [emptyDisk(layout.size), emptyDisk(layout.size)];
    writeFileSync(from, Buffer.alloc(layout.size, 0xab));
    const code = readBootCode(from, layout);
    writeBootCode(to, code);
    const bytes = readFileSync(to);
    const ranges: (readonly [number, number])[] = [];
    for (let at = bytes.indexOf(0xab); at !== -1; ) {
      const end = bytes.indexOf(0, at);
      ranges.push([at, end]);
      at = bytes.indexOf(0xab, end);
    }
    return ranges;
  }

  it.each([
    [
      "legacy",
      [
        [0, 440],
        [512, MIB],
      ],
    ],
    [
      "legacy+boot",
      [
        [0, 440],
        [512, MIB],
      ],
    ],
    [
      "legacy+gpt",
      [
        [0, 440],
        [MIB, 2 * MIB],
      ],
    ],
    [
      "hybrid",
      [
        [0, 440],
        [MIB, 2 * MIB],
      ],
    ],
    ["efi", [[0, 440]]],
  ] as const)("is neither its table nor in a file system: %s", (table, ranges) => {
    expect(copied(table)).toEqual(ranges);
  });

  it("is none where there is none, and has no zeros behind it", () => {
    const layout = planLayout({ table: "legacy", rootBytes: MIB });
    const disk = emptyDisk(layout.size);
    expect(readBootCode(disk, layout)).toEqual([]);
    const bytes = Buffer.alloc(layout.size);
    bytes.write("core", 1024);
    writeFileSync(disk, bytes);
    expect(readBootCode(disk, layout)).toEqual([{ position: 512, bytes: bytes.subarray(512, 1028) }]);
    const bare = planLayout({ table: "none", rootBytes: MIB });
    expect(readBootCode(disk, bare)).toEqual([]);
  });
});
