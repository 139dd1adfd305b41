import { OciNixError } from "../core/errors.js";
import type { Json } from "../core/json.js";
import type { BootLoaderKind } from "./boot-loader/boot-loader.js";
import { checkDiskFields, type DiskSpec } from "./disk-spec.js";
import { TABLE_NAMES, type TableName } from "./layout.js";

/**
 * Checks the spec of a disk image.
 * @param source what errors call it
 * @throws OciNixError `invalid-input` for an unknown key (naming the nearest known one), a wrong value or two that contradict each other
 */
export function checkDiskSpec(json: Json, source: string): DiskSpec {
  const { $schema: _, ...spec } = checkDiskFields(json, source);
  checkDiskConflicts(spec, source);
  return spec;
}

/** Tables whose disks start by a BIOS, or by UEFI. */
const BOOTS: Readonly<Record<TableName, readonly BootLoaderKind[]>> = {
  none: ["none"],
  legacy: ["none", "grub"],
  "legacy+gpt": ["none", "grub"],
  "legacy+boot": ["none", "grub"],
  efi: ["none", "grub", "systemd-boot", "uki"],
  efixbootldr: ["none", "grub", "systemd-boot", "uki"],
  hybrid: ["none", "grub", "systemd-boot", "uki"],
};

/** Tables with an EFI system partition. */
const UEFI_TABLES = TABLE_NAMES.filter((table) => BOOTS[table].includes("systemd-boot"));

/** @throws OciNixError `invalid-input` where one field asks for what another one rules out, or what it needs is missing */
export function checkDiskConflicts(spec: DiskSpec, source: string): void {
  const { closure, fromImage, toplevel, bootLoader, onlyNixStore = false, additionalPaths, channel } = spec;
  const fail = (message: string, hint: string): never => {
    throw new OciNixError("invalid-input", `${source}: ${message}`, { hint });
  };
  const storeFields = { closure, toplevel, additionalPaths, channel };
  const stored = Object.entries(storeFields).find(([, value]) => value !== undefined)?.[0];
  if (fromImage !== undefined && stored !== undefined) {
    fail(
      `fromImage and ${stored} contradict each other`,
      "drop one: the root file system is an image's, or is made of store paths",
    );
  }
  const isStored = closure?.roots !== undefined || closure?.graph !== undefined || toplevel !== undefined;
  if (fromImage === undefined && !isStored && additionalPaths === undefined) {
    fail("nothing says what is on the disk", 'give "closure": {"roots": ["/nix/store/…"]}, toplevel or fromImage');
  }
  if (spec.platform !== undefined && fromImage === undefined) fail("platform needs fromImage", "drop it");
  if (spec.nixDatabase === true && (fromImage !== undefined || onlyNixStore)) {
    fail(
      `there is no Nix database with ${onlyNixStore ? "onlyNixStore" : "fromImage"}`,
      "drop nixDatabase: it registers what a closure brings",
    );
  }
  if (spec.copyChannel === true && channel === undefined) {
    fail("copyChannel needs channel", "name the store path that holds the channel below nixos");
  }
  if (onlyNixStore) {
    const excluded = {
      fromImage,
      contents: spec.contents?.length === 0 ? undefined : spec.contents,
      configFile: spec.configFile,
      bootLoader: bootLoader?.kind === "none" ? undefined : bootLoader,
      installBootLoader: spec.installBootLoader === true ? true : undefined,
      copyChannel: spec.copyChannel === true ? true : undefined,
    };
    const other = Object.entries(excluded).find(([, value]) => value !== undefined)?.[0];
    if (other !== undefined)
      fail(`onlyNixStore and ${other} contradict each other`, "drop one: such a disk has nothing but the store");
  }
  if (spec.minimise === true && typeof spec.diskSize === "number") {
    fail("minimise and diskSize contradict each other", 'drop one, or let diskSize be "auto"');
  }
  if (spec.compression !== undefined && spec.format !== "qcow2-compressed") {
    fail(`compression needs the format qcow2-compressed`, "drop it, or say so");
  }
  const { partitionTableType = "legacy" } = spec;
  const { kind = "none" } = bootLoader ?? {};
  if (!BOOTS[partitionTableType].includes(kind)) {
    const tables = TABLE_NAMES.filter((table) => BOOTS[table].includes(kind)).join(", ");
    fail(
      `the partition table ${partitionTableType} has no place for the boot loader ${kind}`,
      `it goes with ${tables}`,
    );
  }
  const unused =
    kind === "none" ? (["kernel", "initrd", "cmdline"] as const).find((key) => bootLoader?.[key]) : undefined;
  if (unused !== undefined) {
    fail(`bootLoader.${unused} and the kind none contradict each other`, "drop it, or take a boot loader");
  }
  if (kind !== "none" && bootLoader?.kernel === undefined && toplevel === undefined) {
    fail("the boot loader needs a kernel", "give bootLoader.kernel, or toplevel, which has one");
  }
  if (spec.installBootLoader === true) {
    if (toplevel === undefined) {
      fail("installBootLoader needs toplevel", "name a NixOS system, whose installer is run, or take a bootLoader");
    }
    if (kind !== "none") {
      fail("installBootLoader and bootLoader contradict each other", "drop one: either of them makes the disk start");
    }
    if (partitionTableType === "none") {
      fail("the partition table none has no place for a boot loader to be installed", "take another table");
    }
  }
  if (spec.touchEFIVars === true) {
    if (spec.installBootLoader !== true) fail("touchEFIVars needs installBootLoader", "drop it: nothing changes them");
    if (!UEFI_TABLES.includes(partitionTableType)) {
      fail(
        `touchEFIVars and the partition table ${partitionTableType} contradict each other`,
        `it goes with ${UEFI_TABLES.join(", ")}`,
      );
    }
  }
}
