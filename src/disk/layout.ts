import { OciNixError } from "../core/errors.js";
import type { Region } from "./region.js";

export type PartitionRole = "root" | "esp" | "bios-grub" | "boot" | "xbootldr";

/** One partition; `start` and `size` in bytes, whole MiB. */
export interface Partition {
  /** From 1, as the kernel counts them. */
  readonly number: number;
  readonly role: PartitionRole;
  readonly start: number;
  readonly size: number;
  /** A GUID, or two hexadecimal digits in an MBR. */
  readonly type: string;
  /** What `root=PARTUUID=` calls it. */
  readonly uuid: string;
  /** Empty in an MBR, which has no names. */
  readonly name: string;
  readonly bootable: boolean;
}

/** What lies where on a disk. Without a table the root file system is all of it. */
export interface DiskLayout {
  readonly label: "dos" | "gpt" | undefined;
  /** Bytes, whole MiB. */
  readonly size: number;
  /** A GUID, or `0x` and eight hexadecimal digits in an MBR. */
  readonly diskId: string | undefined;
  /** By number; that need not be their order on the disk. */
  readonly partitions: readonly Partition[];
}

const MIB = 1024 * 1024;
const ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649";
const XBOOTLDR = "BC13C2FF-59E6-4262-A352-B275FD6F7172";
const LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const MBR_FAT32_LBA = "0c";
const MBR_LINUX = "83";

/** make-disk-image says 97FD5997-D90B-4AA3-8D16-C1723AEA73C, a digit short; this is what sgdisk makes of it. */
const DISK_GUID = "97FD5997-F390-0B4A-A3F8-D106C1723AEA";
const FIRST_GUID = "1C06F03B-704E-4657-B9CD-681A087A2FDC";
const SECOND_GUID = "970C694F-AFD0-4B99-B750-CDB7A329AB6F";
const ROOT_GUID = "F222513B-DED1-49FA-B591-20CE86A2FE7F";

/** Where a partition ends: an offset in MiB, where the boot partition ends, or where the disk does. */
type End = number | "bootEnd" | "disk";

interface Part {
  readonly role: PartitionRole;
  /** MiB */
  readonly start: number | "bootEnd";
  readonly end: End;
  readonly type: string;
  readonly name?: string;
  readonly bootable?: true;
}

const biosGrub: Part = { role: "bios-grub", start: 1, end: 2, type: BIOS_BOOT, name: "no-fs" };
const esp = (end: End): Part => ({ role: "esp", start: 8, end, type: ESP, name: "ESP" });
const gptRoot = (start: number | "bootEnd", name = "primary"): Part => ({
  role: "root",
  start,
  end: "disk",
  type: LINUX,
  name,
});
const mbrRoot = (start: number | "bootEnd"): Part => ({ role: "root", start, end: "disk", type: MBR_LINUX });

/**
 * The partitions that make-disk-image makes, in its order. They differ from its own in this:
 * - hybrid's bios_grub is not in the sectors 34 to 2048, but where legacy+gpt has it, aligned;
 * - rootGPUID is the root partition's in legacy+gpt, too, not that of a third one that is not there;
 * - the boot partition ends at bootSize in units of 1024 (`256M` was decimal to parted, and a later version adds one MiB).
 */
const TABLES = {
  none: { label: undefined, parts: [] },
  legacy: { label: "dos", parts: [mbrRoot(1)] },
  "legacy+gpt": { label: "gpt", parts: [biosGrub, gptRoot(2)] },
  "legacy+boot": {
    label: "dos",
    parts: [{ role: "boot", start: 1, end: "bootEnd", type: MBR_FAT32_LBA, bootable: true }, mbrRoot("bootEnd")],
  },
  efi: { label: "gpt", parts: [esp("bootEnd"), gptRoot("bootEnd")] },
  efixbootldr: {
    label: "gpt",
    parts: [
      esp(100),
      { role: "xbootldr", start: 100, end: "bootEnd", type: XBOOTLDR, name: "BOOT" },
      gptRoot("bootEnd", "ROOT"),
    ],
  },
  hybrid: { label: "gpt", parts: [esp("bootEnd"), biosGrub, gptRoot("bootEnd")] },
} as const satisfies Readonly<Record<string, { label: DiskLayout["label"]; parts: readonly Part[] }>>;

export type TableName = keyof typeof TABLES;

export const TABLE_NAMES = Object.keys(TABLES) as readonly TableName[];

/** Smaller FAT file systems are not made. */
const LEAST_FAT = 4 * MIB;
/** More of 4 KiB clusters take a table that programs do not read into memory. */
const LARGEST_FAT = 32 * 1024 * MIB;
/** Where make-disk-image's boot partition ends. */
const BOOT_END = 256 * MIB;

export interface LayoutOptions {
  readonly table: TableName;
  /** What the root file system needs; it gets at least that. Bytes. */
  readonly rootBytes: number;
  /** The disk's size in bytes, whole MiB; without it as large as it has to be. */
  readonly diskBytes?: number | undefined;
  /** The offset at which the boot partition ends, in bytes, rounded up to a whole MiB; 256 MiB by default. Tables without one ignore it. */
  readonly bootEnd?: number | undefined;
  /** The root partition's GUID. An MBR's disk id is its first eight digits. */
  readonly rootGuid?: string | undefined;
  readonly diskGuid?: string | undefined;
}

/**
 * Says what lies where on a disk; writes nothing.
 * @throws OciNixError `invalid-input` for a disk that is too small, with what is missing, or sizes and GUIDs that are none; `unsupported` for a disk
 *   that is too large for its table
 */
export function planLayout(options: LayoutOptions): DiskLayout {
  const { table } = options;
  const { label, parts }: { readonly label: DiskLayout["label"]; readonly parts: readonly Part[] } = TABLES[table];
  const rootGuid = checkGuid(options.rootGuid ?? ROOT_GUID, "rootGPUID");
  const diskGuid = checkGuid(options.diskGuid ?? DISK_GUID, "the disk's GUID");
  const bootEnd = checkBootEnd(options.bootEnd ?? BOOT_END, table, parts);
  const rootStart = toBytes(parts.find(({ role }) => role === "root")?.start ?? 0, bootEnd);
  // The second GPT has the last 33 sectors; with a whole MiB the root partition ends aligned, too.
  const behind = label === "gpt" ? MIB : 0;
  const size = checkSize(options, { rootStart, behind });
  if (label === "dos") checkMbrSize(size, table);
  const mbrId = rootGuid.slice(0, 8).toLowerCase();
  if (label === "dos" && mbrId === "00000000") {
    throw new OciNixError(
      "invalid-input",
      `the first eight digits of rootGPUID ${rootGuid} are the id of the disk in ${table}, and 0 is none`,
    );
  }
  const guids = [FIRST_GUID, SECOND_GUID];
  const partitions = parts.map((part, index): Partition => {
    const start = toBytes(part.start, bootEnd);
    const end = part.end === "disk" ? size - behind : toBytes(part.end, bootEnd);
    const guid = part.role === "root" ? rootGuid : (guids[index] as string);
    return {
      number: index + 1,
      role: part.role,
      start,
      size: end - start,
      type: part.type,
      uuid: label === "gpt" ? guid : `${mbrId}-0${index + 1}`,
      name: part.name ?? "",
      bootable: part.bootable ?? false,
    };
  });
  checkDistinct([diskGuid, ...partitions.map(({ uuid }) => uuid)]);
  const diskId = { gpt: diskGuid, dos: `0x${mbrId}`, none: undefined }[label ?? "none"];
  return { label, size, diskId, partitions };
}

/** The part of a disk's file that has the root file system. */
export function rootRegion(file: string, layout: DiskLayout): Region {
  const root = layout.partitions.find(({ role }) => role === "root") ?? { start: 0, size: layout.size };
  return partitionRegion(file, root);
}

/** The part of a disk's file that a partition is. */
export function partitionRegion(file: string, { start, size }: Pick<Partition, "start" | "size">): Region {
  return { file, offset: start, size };
}

function toBytes(offset: number | "bootEnd", bootEnd: number): number {
  return offset === "bootEnd" ? bootEnd : offset * MIB;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / MIB) * MIB;
}

function checkGuid(guid: string, what: string): string {
  if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(guid)) return guid.toUpperCase();
  throw new OciNixError("invalid-input", `${what} ${JSON.stringify(guid)} is no GUID`, {
    hint: `32 hexadecimal digits: ${ROOT_GUID}`,
  });
}

function checkDistinct(guids: readonly string[]): void {
  const twice = guids.find((guid, index) => guids.indexOf(guid) !== index);
  if (twice === undefined) return;
  throw new OciNixError("invalid-input", `the GUID ${twice} is that of two things on the disk`, {
    hint: "rootGPUID has to be another",
  });
}

function checkBootEnd(bootEnd: number, table: TableName, parts: readonly Part[]): number {
  const boot = parts.find(({ end }) => end === "bootEnd");
  if (boot === undefined) return 0;
  const end = roundUp(bootEnd);
  const size = end - toBytes(boot.start, 0);
  if (size >= LEAST_FAT && size <= LARGEST_FAT) return end;
  const limit = size > LARGEST_FAT ? `has at most ${LARGEST_FAT / MIB} MiB` : `has at least ${LEAST_FAT / MIB} MiB`;
  const message = `bootSize is ${bootEnd / MIB} MiB, but the boot partition begins at ${boot.start} MiB and ${limit}`;
  throw new OciNixError("invalid-input", message, {
    hint: `in ${table} bootSize is the offset at which that partition ends: 256M`,
  });
}

function checkSize(
  { table, rootBytes, diskBytes }: LayoutOptions,
  { rootStart, behind }: { readonly rootStart: number; readonly behind: number },
): number {
  const needed = rootStart + roundUp(rootBytes) + behind;
  if (!Number.isSafeInteger(needed) || rootBytes <= 0) {
    throw new OciNixError("invalid-input", `a root file system of ${rootBytes} bytes cannot be`);
  }
  if (diskBytes === undefined) return needed;
  if (!Number.isSafeInteger(diskBytes) || diskBytes % MIB !== 0) {
    throw new OciNixError("invalid-input", `a disk of ${diskBytes} bytes is none of whole MiB`);
  }
  if (diskBytes >= needed) return diskBytes;
  const mib = (bytes: number) => `${bytes / MIB} MiB`;
  const others =
    rootStart + behind === 0 ? "" : `, and the table ${table} with its other partitions ${mib(rootStart + behind)}`;
  throw new OciNixError(
    "invalid-input",
    `a disk of ${mib(diskBytes)} is too small by ${mib(needed - diskBytes)}: the root file system needs ${mib(roundUp(rootBytes))}${others}`,
    { hint: `set diskSize to ${needed / MIB}, or to "auto"` },
  );
}

/** A sector number has 32 bits there. */
function checkMbrSize(size: number, table: TableName): void {
  if (size <= 2 ** 32 * 512) return;
  throw new OciNixError(
    "unsupported",
    `a disk of ${size} bytes is too large for the table ${table}, which ends at 2 TiB`,
    {
      hint: "legacy+gpt boots from a BIOS, too, and has no such end",
    },
  );
}
