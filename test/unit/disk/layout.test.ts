import { describe, expect, it } from "vitest";
import { planLayout, rootRegion, TABLE_NAMES } from "../../../src/disk/layout.js";

const MIB = 1024 * 1024;
const ROOT = "F222513B-DED1-49FA-B591-20CE86A2FE7F";

const places = (table: (typeof TABLE_NAMES)[number]) =>
  planLayout({ table, rootBytes: 100 * MIB }).partitions.map(
    ({ number, role, start, size }) => `${number} ${role} ${start / MIB}+${size / MIB}`,
  );

describe("a disk's layout", () => {
  it("has the partitions that make-disk-image makes", () => {
    expect(Object.fromEntries(TABLE_NAMES.map((table) => [table, places(table)]))).toEqual({
      none: [],
      legacy: ["1 root 1+100"],
      "legacy+gpt": ["1 bios-grub 1+1", "2 root 2+100"],
      "legacy+boot": ["1 boot 1+255", "2 root 256+100"],
      efi: ["1 esp 8+248", "2 root 256+100"],
      efixbootldr: ["1 esp 8+92", "2 xbootldr 100+156", "3 root 256+100"],
      hybrid: ["1 esp 8+248", "2 bios-grub 1+1", "3 root 256+100"],
    });
  });

  it("leaves a MiB for the second GPT, and nothing else", () => {
    const sizes = TABLE_NAMES.map((table) => [table, planLayout({ table, rootBytes: 100 * MIB }).size / MIB]);
    expect(Object.fromEntries(sizes)).toEqual({
      none: 100,
      legacy: 101,
      "legacy+gpt": 103,
      "legacy+boot": 356,
      efi: 357,
      efixbootldr: 357,
      hybrid: 357,
    });
  });

  it("gives rootGPUID to the root partition in every table with GUIDs", () => {
    for (const table of TABLE_NAMES) {
      const { label, partitions } = planLayout({ table, rootBytes: MIB });
      if (label === "gpt") expect(partitions.filter(({ uuid }) => uuid === ROOT)).toMatchObject([{ role: "root" }]);
    }
  });

  it("names an MBR's disk and partitions by the first digits of rootGPUID", () => {
    const layout = planLayout({
      table: "legacy+boot",
      rootBytes: MIB,
      rootGuid: "ABCDEF01-ded1-49fa-b591-20ce86a2fe7f",
    });
    expect(layout.diskId).toBe("0xabcdef01");
    expect(layout.partitions.map(({ uuid }) => uuid)).toEqual(["abcdef01-01", "abcdef01-02"]);
  });

  it("gives a disk of a given size to the root file system", () => {
    const layout = planLayout({ table: "hybrid", rootBytes: MIB, diskBytes: 1000 * MIB, bootEnd: 64 * MIB - 1 });
    expect(layout.size).toBe(1000 * MIB);
    expect(rootRegion("a", layout)).toEqual({ file: "a", offset: 64 * MIB, size: 935 * MIB });
    expect(rootRegion("a", planLayout({ table: "none", rootBytes: MIB, diskBytes: 5 * MIB }))).toEqual({
      file: "a",
      offset: 0,
      size: 5 * MIB,
    });
  });

  it("says by how much a disk is too small", () => {
    const options = { table: "efi", rootBytes: 100 * MIB - 1 } as const;
    expect(() => planLayout({ ...options, diskBytes: 300 * MIB })).toThrow(
      "a disk of 300 MiB is too small by 57 MiB: the root file system needs 100 MiB, and the table efi with its other partitions 257 MiB",
    );
    expect(planLayout({ ...options, diskBytes: 357 * MIB }).size).toBe(357 * MIB);
    expect(() => planLayout({ ...options, table: "none", diskBytes: 99 * MIB })).toThrow(/needs 100 MiB$/);
  });

  it("refuses what is no size, no GUID or no place", () => {
    const options = { table: "efixbootldr", rootBytes: MIB } as const;
    expect(() => planLayout({ ...options, bootEnd: 100 * MIB })).toThrow("the boot partition begins at 100 MiB");
    expect(() => planLayout({ ...options, bootEnd: Number.NaN })).toThrow("the boot partition begins");
    const GIB = 1024 * MIB;
    expect(() => planLayout({ ...options, bootEnd: 103 * MIB })).toThrow("bootSize is 103 MiB, but");
    expect(() => planLayout({ ...options, bootEnd: 104 * MIB })).not.toThrow();
    expect(() => planLayout({ ...options, bootEnd: 33 * GIB })).toThrow("100 MiB and has at most 32768");
    expect(() => planLayout({ ...options, bootEnd: 32 * GIB })).not.toThrow();
    expect(() => planLayout({ ...options, diskBytes: 1000 * MIB + 512 })).toThrow("none of whole MiB");
    expect(() => planLayout({ ...options, rootBytes: 0 })).toThrow("cannot be");
    expect(() => planLayout({ ...options, rootGuid: `${ROOT}0` })).toThrow("is no GUID");
    expect(() => planLayout({ ...options, rootGuid: "1c06f03b-704e-4657-b9cd-681a087a2fdc" })).toThrow("two things");
    expect(() => planLayout({ ...options, table: "legacy", rootGuid: ROOT.replace(/^.{8}/, "00000000") })).toThrow(
      "0 is none",
    );
    expect(() => planLayout({ ...options, table: "legacy", rootBytes: 2 ** 41 })).toThrow("ends at 2 TiB");
    expect(planLayout({ ...options, table: "legacy+gpt", rootBytes: 2 ** 41 }).size).toBeGreaterThan(2 ** 41);
  });
});
