import { buildDiskImage, type DiskSummary, type Json, OciNixError, readDiskSpec, toJson } from "../../index.js";
import { type FlagValues, type Invocation, text } from "../command.js";
import { formatBytes, printError, showSteps, visible } from "../ui.js";

/** Makes a disk image. */
export default async function disk({ inputs, flags, signal }: Invocation): Promise<void> {
  const [input, ...others] = inputs;
  if (input === undefined || others.length > 0) {
    throw new OciNixError("usage", `one spec file must be named, not ${inputs.length}`, {
      hint: "oci-nix disk disk.json --to nixos.img; - is a spec on standard input",
    });
  }
  const to = text(flags, "to");
  if (to === undefined) {
    throw new OciNixError("usage", "nothing says where the disk image goes", { hint: "--to FILE, or --to DIRECTORY" });
  }
  const file = input === "-" ? "/dev/stdin" : input;
  const spec = await readDiskSpec(file, changesOf(flags));
  const steps = showSteps(flags);
  const start = performance.now();
  try {
    const onLine = (line: string) => {
      if (flags.verbose === true && flags.json !== true) printError(visible(line));
    };
    const summary = await buildDiskImage(spec, { to, inputs: [file], signal, observer: { ...steps, onLine } });
    steps.stop();
    printDisk(summary, (performance.now() - start) / 1000, flags);
  } finally {
    steps.stop();
  }
}

/** Fields of the spec that flags change. */
function changesOf(flags: FlagValues): ReadonlyMap<string, Json> {
  const changes = new Map<string, Json>();
  const fields = { format: "format", table: "partitionTableType", label: "label", "from-image": "fromImage" };
  for (const [flag, field] of Object.entries(fields)) {
    const value = text(flags, flag);
    if (value !== undefined) changes.set(field, value);
  }
  const size = text(flags, "size");
  if (size !== undefined && size !== "auto" && !/^\d{1,15}$/.test(size)) {
    throw new OciNixError("usage", `--size takes a number of MiB, or auto, not ${JSON.stringify(size)}`, {
      hint: "--size 5120 is a disk of 5 GiB",
    });
  }
  if (size !== undefined) changes.set("diskSize", size === "auto" ? size : toJson(Number(size)));
  if (flags.minimise === true) changes.set("minimise", true);
  return changes;
}

function printDisk(summary: DiskSummary, seconds: number, flags: FlagValues): void {
  if (flags.json === true) {
    printError(JSON.stringify({ ...summary, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  if (flags.quiet === true) return;
  const { file, companions, format, partitionTableType, size, fileSize = 0, partitions, root, madeWith } = summary;
  const mib = (bytes: number) => `${bytes / 2 ** 20} MiB`;
  printError(
    `${file === undefined ? "no image, as postVM removed it" : visible(file)}: ${format}, a disk of ${mib(size)}, table ${partitionTableType}, ${root.entries} entries, ${formatBytes(fileSize)} in ${seconds.toFixed(1)} s`,
  );
  for (const { number, role, start, size, uuid } of partitions) {
    printError(`  partition ${number}: ${role}, ${mib(size)} at ${mib(start)}, ${uuid}`);
  }
  printError(`  root file system: ext4, ${root.label}, ${root.uuid}`);
  if (summary.accelerator !== undefined)
    printError(`  boot loader installed in a virtual machine (${summary.accelerator})`);
  for (const each of companions) printError(`  with ${visible(each)}`);
  const tools = Object.entries(madeWith).map(([name, version]) => `${name} ${version}`);
  printError(`  made with ${tools.join(", ")}: other versions may give other bytes`);
}
