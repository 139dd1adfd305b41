import { existsSync } from "node:fs";
import { join } from "node:path";
import { encodeUtf8 } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { type BootEntry, type BootFile, type BootLoaderFile, readWhole, sourceOf } from "./boot-entry.js";
import { installedDirectory } from "./installed.js";

/** systemd-boot, and the stub of unified kernel images, that the bootctl on the PATH has come with. */
export function systemdBootDirectory(): string {
  return installedDirectory("bootctl", "lib/systemd/boot/efi");
}

/** The name of a file of systemd-boot's. @throws OciNixError `not-found` */
export function systemdBootFile(directory: string, name: string): string {
  const file = join(directory, name);
  if (existsSync(file)) return file;
  throw new OciNixError("not-found", `systemd-boot is not in ${directory}: there is no ${name}`, {
    hint: "install the Debian package systemd-boot-efi, or give bootLoader.systemdBootDirectory: lib/systemd/boot/efi of systemd of nixpkgs",
  });
}

/** What a program of systemd's for UEFI says of itself, systemd's version with the distribution's own. */
export function systemdVersion(program: Uint8Array): string | undefined {
  return /#### LoaderInfo: systemd-\w+ ([^\s#]+) ####/.exec(Buffer.from(program).toString("latin1"))?.[1];
}

/**
 * systemd-boot and its settings for the ESP; an entry, kernel and initrd for the file system of `/boot`, which is the ESP or an extended boot
 * loader partition.
 * @throws OciNixError `not-found`
 */
export function systemdBootFiles(
  entry: BootEntry,
  options: { readonly directory: string; readonly timeoutSeconds: number },
  tools: DiskTools,
): { readonly esp: readonly BootLoaderFile[]; readonly boot: readonly BootLoaderFile[] } {
  const loader = systemdBootFile(options.directory, "systemd-bootx64.efi");
  tools.note("systemd-boot", systemdVersion(readWhole(loader)));
  const copied = (file: BootFile, what: "kernel" | "initrd") => ({
    path: file.bootPath,
    source: sourceOf(file, what, "systemd-boot"),
  });
  return {
    esp: [
      { path: "/EFI/BOOT/BOOTX64.EFI", source: loader },
      // Here `bootctl update` looks for it.
      { path: "/EFI/systemd/systemd-bootx64.efi", source: loader },
      { path: "/loader/loader.conf", contents: lines(`timeout ${options.timeoutSeconds}`, `default ${entry.id}.conf`) },
    ],
    boot: [
      { path: `/loader/entries/${entry.id}.conf`, contents: bootEntryText(entry) },
      // Entries are of the Boot Loader Specification's first type.
      { path: "/loader/entries.srel", contents: lines("type1") },
      copied(entry.kernel, "kernel"),
      ...(entry.initrd === undefined ? [] : [copied(entry.initrd, "initrd")]),
    ],
  };
}

function bootEntryText({ title, version, sortKey, kernel, initrd, commandLine }: BootEntry): Buffer {
  return lines(
    `title ${encodeUtf8(title)}`,
    ...(sortKey === undefined ? [] : [`sort-key ${encodeUtf8(sortKey)}`]),
    ...(version === undefined ? [] : [`version ${encodeUtf8(version)}`]),
    `linux ${kernel.bootPath}`,
    ...(initrd === undefined ? [] : [`initrd ${initrd.bootPath}`]),
    ...(commandLine === "" ? [] : [`options ${commandLine}`]),
  );
}

const lines = (...each: readonly string[]): Buffer => Buffer.from(`${each.join("\n")}\n`, "latin1");
