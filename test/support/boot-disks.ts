import { copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BootLoaderFile } from "../../src/disk/boot-loader/boot-entry.js";
import type { BootLoaderParts } from "../../src/disk/boot-loader/boot-loader.js";
import { runCommand, runOk } from "./command.js";
import { tool } from "./tools.js";

const MIB = 1024 * 1024;

/** Debian's kernel for virtual machines. */
export function debianKernel(): string {
  const name = readdirSync("/boot").find((each) => /^vmlinuz-.*-cloud-amd64$/.test(each));
  if (name === undefined) throw new Error("linux-image-cloud-amd64 is not installed; run ./scripts/setup --tests");
  return `/boot/${name}`;
}

/** An initramfs whose init says a line and the kernel's command line, and powers off. */
export async function makeTalkingInitramfs(directory: string, line: string): Promise<string> {
  const tree = join(directory, "initramfs");
  mkdirSync(join(tree, "proc"), { recursive: true });
  copyFileSync(tool("busybox"), join(tree, "busybox"));
  const commands = [
    "/busybox mount -t proc proc /proc",
    `echo "${line}: $(/busybox cat /proc/cmdline)"`,
    "/busybox poweroff -f",
  ];
  writeFileSync(join(tree, "init"), `#!/busybox sh\n${commands.join("\n")}\n`, { mode: 0o755 });
  const file = join(directory, "initramfs.img");
  const names = ["proc", "busybox", "init"].map((each) => `${each}\n`).join("");
  await runOk(tool("busybox"), ["cpio", "-o", "-H", "newc", "-F", file], { cwd: tree, stdin: names });
  return file;
}

const ROLES = {
  root: { gpt: "0FC63DAF-8483-4772-8E79-3D69D8477DE4", dos: "83" },
  esp: { gpt: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", dos: "ef" },
  "bios-grub": { gpt: "21686148-6449-6E6F-744E-656564454649", dos: "" },
  boot: { gpt: "", dos: "0c" },
  xbootldr: { gpt: "BC13C2FF-59E6-4262-A352-B275FD6F7172", dos: "" },
};

type Role = keyof typeof ROLES;

/** Partitions in MiB: role, start, size. */
function disk(label: "dos" | "gpt", ...parts: readonly (readonly [Role, number, number])[]) {
  const partitions = parts.map(([role, start, size], index) => ({
    number: index + 1,
    role,
    start: start * MIB,
    size: size * MIB,
    uuid: label === "gpt" ? `97FD5997-F390-0B4A-A3F8-00000000000${index + 1}` : `97fd5997-0${index + 1}`,
  }));
  return { label, partitions };
}

/** The tables' partitions, as small as a kernel lets them be. */
export const SMALL_DISKS = {
  legacy: disk("dos", ["root", 1, 40]),
  "legacy+gpt": disk("gpt", ["bios-grub", 1, 1], ["root", 2, 40]),
  "legacy+boot": disk("dos", ["boot", 1, 40], ["root", 41, 40]),
  efi: disk("gpt", ["esp", 8, 48], ["root", 56, 40]),
  efixbootldr: disk("gpt", ["esp", 8, 48], ["xbootldr", 56, 40], ["root", 96, 40]),
  hybrid: disk("gpt", ["esp", 8, 48], ["bios-grub", 1, 1], ["root", 56, 40]),
};

export const ROOT_UUID = "f222513b-ded1-49fa-b591-20ce86a2fe7f";

/** Makes a raw disk by the machine's own tools, with the boot loader in it. */
export async function makeBootDisk(
  file: string,
  { label, partitions }: ReturnType<typeof disk>,
  parts: BootLoaderParts,
  rootTree: string | undefined,
): Promise<void> {
  const env = { PATH: process.env.PATH, MTOOLS_SKIP_CHECK: "1" };
  const end = Math.max(...partitions.map(({ start, size }) => start + size));
  await runOk("truncate", ["-s", String(end + MIB), file]);
  const lines = partitions.map(({ number, role, start, size, uuid }) => {
    const fields = [`start=${start / 512}`, `size=${size / 512}`, `type=${ROLES[role][label]}`];
    return `${file}${number} : ${[...fields, ...(label === "gpt" ? [`uuid=${uuid}`] : [])].join(", ")}`;
  });
  const script = [
    `label: ${label}`,
    `label-id: ${label === "gpt" ? "97FD5997-F390-0B4A-A3F8-D106C1723AEA" : "0x97fd5997"}`,
    ...lines,
  ];
  await runOk(tool("sfdisk"), ["-q", "--no-reread", "--no-tell-kernel", file], { stdin: `${script.join("\n")}\n` });
  for (const { role, start, size } of partitions) {
    if (role === "bios-grub") continue;
    if (role !== "root") {
      await runOk(tool("mkfs.vfat"), ["-F", "32", "-s", "1", `--offset=${start / 512}`, file, String(size / 1024)]);
      await copyToFat(`${file}@@${start}`, role === "esp" ? parts.esp : parts.boot, env);
      continue;
    }
    const tree = `${file}.root`;
    mkdirSync(tree);
    if (rootTree !== undefined) cpSync(rootTree, tree, { recursive: true, verbatimSymlinks: true });
    for (const each of parts.root) put(join(tree, each.path), each);
    const options = ["-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-E", `offset=${start}`, "-d", tree];
    await runOk(tool("mke2fs"), [...options, file, `${size / 1024}K`]);
  }
  parts.embed?.(file);
}

function put(target: string, file: BootLoaderFile): void {
  mkdirSync(dirname(target), { recursive: true });
  if ("source" in file) copyFileSync(file.source, target);
  else writeFileSync(target, file.contents);
}

async function copyToFat(
  image: string,
  files: readonly BootLoaderFile[],
  env: Record<string, string | undefined>,
): Promise<void> {
  const directories = new Set<string>();
  for (const { path } of files) {
    for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) directories.add(path.slice(0, at));
  }
  for (const each of [...directories].sort()) await runOk(tool("mmd"), ["-i", image, `::${each}`], { env });
  for (const file of files) {
    const stdin = "contents" in file ? { stdin: Buffer.from(file.contents) } : {};
    await runOk(tool("mcopy"), ["-i", image, "source" in file ? file.source : "-", `::${file.path}`], {
      env,
      ...stdin,
    });
  }
}

const OVMF = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"] as const;

/**
 * Starts a disk in QEMU and gives all that its serial console said until it was switched off.
 * @param others disks that the machine has before it and after it, with nothing to start
 */
export async function startDisk(
  file: string,
  firmware: "bios" | "uefi",
  ...others: readonly string[]
): Promise<string> {
  const pflash = (unit: number, from: string, readonly: string) => {
    return ["-drive", `if=pflash,format=raw,unit=${unit},file=${from},readonly=${readonly}`];
  };
  const vars = `${file}.vars`;
  if (firmware === "uefi") copyFileSync(OVMF[1], vars);
  const uefi = firmware === "uefi" ? [...pflash(0, OVMF[0], "on"), ...pflash(1, vars, "off")] : [];
  const disks = [...others, file, ...others].flatMap((each, index) => {
    return [
      "-drive",
      `id=disk${index},if=none,file=${each},format=raw,snapshot=on`,
      "-device",
      `virtio-blk-pci,drive=disk${index}`,
    ];
  });
  const machine = ["-machine", "q35,accel=tcg", "-m", "256", "-nodefaults", "-no-user-config", "-no-reboot"];
  const { stdout, stderr } = await runCommand(
    tool("qemu-system-x86_64"),
    [...machine, "-display", "none", "-serial", "stdio", ...uefi, ...disks],
    { timeoutMs: 120_000 },
  );
  return stdout.toString("latin1") + stderr;
}
