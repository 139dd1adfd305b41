import { resolve } from "node:path";
import type { DiskLayout, Partition } from "./layout.js";
import type { DiskTools } from "./tools.js";

const SECTOR = 512;

/**
 * Writes a layout's partition table into the file of a disk, which has the layout's size already. What is in the partitions stays. Without a table it
 * does nothing.
 * @throws OciNixError as {@link DiskTools.run}
 */
export async function writeTable(file: string, layout: DiskLayout, tools: DiskTools): Promise<void> {
  if (layout.label === undefined) return;
  // The kernel is not told: it is no disk of this machine.
  const args = ["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", resolve(file)];
  await tools.run("sfdisk", args, { stdin: script(layout) });
}

/** Everything that sfdisk would choose by itself is said. */
function script({ label, diskId, partitions }: DiskLayout): string {
  const head = [`label: ${label}`, `label-id: ${diskId}`, "unit: sectors", `sector-size: ${SECTOR}`];
  // As parted and sgdisk have it; sfdisk begins at 2048.
  if (label === "gpt") head.push("first-lba: 34");
  return `${[...head, "", ...partitions.map((each) => line(each, label === "gpt"))].join("\n")}\n`;
}

function line({ number, start, size, type, uuid, name, bootable }: Partition, isGpt: boolean): string {
  const fields = [`start=${start / SECTOR}`, `size=${size / SECTOR}`, `type=${type}`];
  if (isGpt) fields.push(`uuid=${uuid}`, `name="${name}"`);
  if (bootable) fields.push("bootable");
  return `${number} : ${fields.join(", ")}`;
}
