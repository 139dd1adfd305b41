import { closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { convertImage, DISK_FORMATS, type DiskFormat } from "../../src/disk/format/convert.js";
import { planLayout } from "../../src/disk/layout.js";
import { writeTable } from "../../src/disk/table.js";
import { runCommand, runOk } from "../support/command.js";
import { cleanUpDisks, directory, diskTools, emptyDisk } from "../support/disks.js";
import { requireTools, tool } from "../support/tools.js";

const MIB = 1024 * 1024;
const formats = DISK_FORMATS.map((format) => ({ format }));
const madeUp = DISK_FORMATS.filter((format) => !/raw|qcow2/.test(format)).map((format) => ({ format }));

/** A disk of 45 MiB, no number of whole cylinders, with something at its begin, its end and between. */
async function sampleDisk(text = "something"): Promise<string> {
  const layout = planLayout({ table: "efi", rootBytes: 28 * MIB, bootEnd: 16 * MIB });
  const file = emptyDisk(layout.size);
  await writeTable(file, layout, diskTools());
  const fd = openSync(file, "r+");
  for (const [index, mib] of [8, 16, 29, 43].entries())
    writeSync(fd, text.repeat(index * 9999 + 1), mib * MIB + 512 * index);
  closeSync(fd);
  return file;
}

async function convert(format: DiskFormat, raw: string, name = "image"): Promise<string> {
  const to = join(directory(), name);
  await convertImage(raw, to, format, diskTools());
  return to;
}

const nameOf = (format: DiskFormat) => format.replace("-compressed", "");

cleanUpDisks();

describe.skipIf(requireTools("sfdisk", "sgdisk", "qemu-img"))("an image in another format", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it.each(formats)("$format is in order, and the same disk", async ({ format }) => {
    const raw = await sampleDisk();
    const image = await convert(format, raw);
    const info = JSON.parse(await runOk(tool("qemu-img"), ["info", "--output=json", "-f", nameOf(format), image]));
    expect(info).toMatchObject({ "virtual-size": 45 * MIB });
    const compared = await runCommand(tool("qemu-img"), ["compare", "-f", "raw", "-F", nameOf(format), raw, image]);
    expect([compared.stdout.toString(), compared.stderr]).toEqual(["Images are identical.\n", ""]);
    const checked = await runCommand(tool("qemu-img"), ["check", "-f", nameOf(format), image]);
    if (format === "raw" || format === "vpc") expect(checked.status).toBe(63);
    else
      expect([checked.stdout.toString(), checked.stderr]).toEqual([
        expect.stringContaining("No errors were found"),
        "",
      ]);
    expect(statSync(image).blocks * 512).toBeLessThan(13 * MIB);
    const back = join(directory(), "back.img");
    await runOk(tool("qemu-img"), ["convert", "-f", nameOf(format), "-O", "raw", image, back]);
    expect(await runOk(tool("sgdisk"), ["-v", back])).toContain("No problems found");
  });

  it.each(formats)(
    "$format is the same bytes in another place, from a file without holes, under other circumstances",
    async ({ format }) => {
      const raw = await sampleDisk();
      const first = await convert(format, raw);
      const full = join(directory(), "a copy of another name");
      writeFileSync(full, readFileSync(raw));
      expect(statSync(full).blocks).toBeGreaterThan(2 * statSync(raw).blocks);
      vi.stubEnv("TZ", "Pacific/Kiritimati");
      vi.stubEnv("LANG", "de_DE.UTF-8");
      const before = process.umask(0o077);
      try {
        const second = await convert(format, full, 'another: "name"');
        expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
      } finally {
        process.umask(before);
      }
    },
  );

  it.each(madeUp)("$format has ids of its own for another disk", async ({ format }) => {
    const [one, other] = [await sampleDisk("something"), await sampleDisk("nothing")];
    // The places where the ids are: of two disks that differ in a few bytes only.
    const places: Readonly<Record<string, readonly [number, number]>> = {
      vdi: [392, 424],
      vpc: [68, 84],
      vmdk: [512, 1024],
      vhdx: [65536 + 16, 65536 + 48],
    };
    const [from, to] = places[format] as readonly [number, number];
    const ids = [one, other].map(async (raw) =>
      readFileSync(await convert(format, raw))
        .subarray(from, to)
        .toString("hex"),
    );
    expect(await ids[0]).not.toBe(await ids[1]);
  });

  it("vpc has no time, vmdk no name and vhdx no version", async () => {
    const raw = await sampleDisk();
    const vpc = readFileSync(await convert("vpc", raw));
    expect([vpc.readUInt32BE(24), vpc.readUInt32BE(vpc.length - 512 + 24)]).toEqual([0, 0]);
    expect(vpc.subarray(0, 512).equals(vpc.subarray(-512))).toBe(true);
    const vmdk = readFileSync(await convert("vmdk", raw, "secret.vmdk"))
      .subarray(0, 65536)
      .toString("latin1");
    expect(vmdk).toContain(' SPARSE "disk.vmdk"\n');
    expect(vmdk).not.toMatch(/secret|oci-nix|CID=0{8}/);
    const vhdx = readFileSync(await convert("vhdx", raw));
    expect(vhdx.subarray(8, 520).toString("utf16le").replace(/\0+$/, "")).toBe("oci-nix");
    expect(vhdx.subarray(MIB, 2 * MIB).every((byte) => byte === 0)).toBe(true);
  });

  it("qcow2 is compressed by zstd where that is asked for", async () => {
    const raw = await sampleDisk();
    const to = join(directory(), "zstd.qcow2");
    await convertImage(raw, to, "qcow2-compressed", diskTools(), { compression: "zstd" });
    const info = JSON.parse(await runOk(tool("qemu-img"), ["info", "--output=json", to]));
    expect(info["format-specific"].data["compression-type"]).toBe("zstd");
    await runOk(tool("qemu-img"), ["compare", "-f", "raw", raw, to]);
  });

  it("is not there, and leaves what was there, when the conversion fails", async () => {
    const where = directory();
    const to = join(where, "image");
    writeFileSync(to, "before");
    await expect(convertImage(join(where, "missing"), to, "vdi", diskTools())).rejects.toThrow(
      /qemu-img convert .* failed \(exit 1\)/,
    );
    expect(readFileSync(to, "utf8")).toBe("before");
    expect(readdirSync(where)).toEqual(["image"]);
    await expect(convertImage(to, join(where, "no/such"), "vdi", diskTools())).rejects.toMatchObject({
      code: "not-found",
    });
  });

  it("is not there when the conversion is interrupted", async () => {
    const where = directory();
    const raw = emptyDisk(64 * 1024 * MIB, join(where, "raw"));
    const controller = new AbortController();
    const tools = diskTools(controller.signal);
    const running = convertImage(raw, join(where, "image"), "vpc", tools);
    expect(readdirSync(where)).toHaveLength(2);
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: "interrupted" });
    expect(readdirSync(where)).toEqual(["raw"]);
  });
});
