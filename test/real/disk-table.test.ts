import { chmodSync, chownSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { planLayout, TABLE_NAMES } from "../../src/disk/layout.js";
import { writeTable } from "../../src/disk/table.js";
import { runCommand, runOk } from "../support/command.js";
import { cleanUpDisks, diskTools, emptyDisk } from "../support/disks.js";
import { requireTools, tool } from "../support/tools.js";

const MIB = 1024 * 1024;
const tables = TABLE_NAMES.filter((table) => table !== "none").map((table) => ({ table }));
const layoutOf = (table: (typeof TABLE_NAMES)[number]) => planLayout({ table, rootBytes: 8 * MIB, bootEnd: 110 * MIB });

async function makeTable(table: (typeof TABLE_NAMES)[number]): Promise<string> {
  const layout = layoutOf(table);
  const file = emptyDisk(layout.size);
  await writeTable(file, layout, diskTools());
  return file;
}

cleanUpDisks();

describe.skipIf(requireTools("sfdisk", "sgdisk", "parted"))("a partition table", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it.each(tables)("$table reads back as it was planned", async ({ table }) => {
    const layout = layoutOf(table);
    const file = await makeTable(table);
    const { partitiontable } = JSON.parse(await runOk(tool("sfdisk"), ["-J", file]));
    expect(partitiontable).toMatchObject({ label: layout.label, id: layout.diskId });
    const read = partitiontable.partitions as readonly Record<string, unknown>[];
    expect(read).toHaveLength(layout.partitions.length);
    for (const { number, start, size, type, uuid, name, bootable } of layout.partitions) {
      const found = read.find(({ node }) => node === `${file}${number}`);
      expect(found).toMatchObject({ start: start / 512, size: size / 512 });
      expect(found?.bootable ?? false).toBe(bootable);
      if (layout.label === "gpt") expect(found).toMatchObject({ type, uuid, name });
      else expect(Number.parseInt(String(found?.type), 16)).toBe(Number.parseInt(type, 16));
    }
  });

  it.each(tables)("$table is in order for sfdisk, sgdisk and parted", async ({ table }) => {
    const file = await makeTable(table);
    const { stdout, stderr } = await runCommand(tool("sfdisk"), ["--verify", file]);
    expect(stdout.toString()).toContain("No errors detected");
    expect(stderr).not.toMatch(/error|overlap|boundary/i);
    if (layoutOf(table).label === "gpt") {
      const words = await runOk(tool("sgdisk"), ["-v", file]);
      expect(words).toContain("No problems found");
      expect(words).not.toMatch(/Caution|Warning|Problem:/);
    }
    const checks = layoutOf(table).partitions.flatMap(({ number }) => ["align-check", "optimal", String(number)]);
    await runOk(tool("parted"), ["--script", file, "--", ...checks, "print"]);
  });

  it.each(tables)("$table is the same bytes in another run, and takes hardly any space", async ({ table }) => {
    const first = await makeTable(table);
    vi.stubEnv("TZ", "Pacific/Kiritimati");
    vi.stubEnv("SFDISK_DEBUG", "all");
    const second = await makeTable(table);
    expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
    expect(statSync(first).blocks * 512).toBeLessThan(200_000);
  });

  it.skipIf(requireTools("root"))("is the same bytes when an ordinary user writes it", async () => {
    const layout = layoutOf("hybrid");
    const file = emptyDisk(layout.size);
    chmodSync(dirname(file), 0o755);
    chownSync(file, 65534, 65534);
    const mine = emptyDisk(layout.size);
    await writeTable(mine, layout, diskTools());
    process.setegid?.(65534);
    process.seteuid?.(65534);
    try {
      await writeTable(file, layout, diskTools());
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
    expect(readFileSync(file).equals(readFileSync(mine))).toBe(true);
  });

  it("leaves what is in the partitions", async () => {
    const layout = layoutOf("efi");
    const file = await makeTable("efi");
    await runOk("/bin/sh", ["-c", `printf 'hello' | dd of=${file} bs=1M seek=8 conv=notrunc status=none`]);
    await runOk(tool("mke2fs"), ["-q", "-F", "-t", "ext4", "-E", `offset=${110 * MIB}`, file, `${8 * 1024}K`]);
    await writeTable(file, layout, diskTools());
    expect(
      readFileSync(file)
        .subarray(8 * MIB, 8 * MIB + 5)
        .toString(),
    ).toBe("hello");
    await runOk(tool("e2fsck"), ["-fn", `${file}?offset=${110 * MIB}`]);
  });

  it("is none where the layout has none", async () => {
    const file = emptyDisk(MIB);
    await writeTable(file, planLayout({ table: "none", rootBytes: MIB }), diskTools());
    expect(statSync(file).blocks).toBe(0);
  });
});
