import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, encodeUtf8 } from "../../core/byte-string.js";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { openForReading, readRange } from "../../core/file-range.js";
import type { DiskTools } from "../tools.js";
import { type BootEntry, type BootLoaderFile, readWhole, sourceOf } from "./boot-entry.js";
import { addPeSections, type ExtendedPe } from "./pe-sections.js";
import { systemdBootFile, systemdVersion } from "./systemd-boot.js";

/**
 * A unified kernel image, as the one program that UEFI starts. The same input gives the same bytes.
 * @param options.directory with systemd's stub
 * @returns a file among the temporary ones of `tools`
 * @throws OciNixError `not-found`, `unreadable`, `changed`, `output`, and as `addPeSections`
 */
export function ukiFile(entry: BootEntry, options: { readonly directory: string }, tools: DiskTools): BootLoaderFile {
  const stub = systemdBootFile(options.directory, "linuxx64.efi.stub");
  const { initrd, kernel } = entry;
  const parts: Part[] = [];
  try {
    parts.push(inMemory(".osrel", entry.osRelease ?? encodeUtf8(osReleaseOf(entry))));
    parts.push(inMemory(".cmdline", entry.commandLine));
    if (initrd !== undefined) parts.push(inFile(".initrd", sourceOf(initrd, "initrd", "a unified kernel image")));
    // At the end, as a kernel may take memory after its image.
    parts.push(inFile(".linux", sourceOf(kernel, "kernel", "a unified kernel image")));
    const target = join(tools.directory, `${entry.id}.efi`);
    const program = readWhole(stub);
    tools.note("systemd-stub", systemdVersion(program));
    write(target, parts, addPeSections(program, parts, stub));
    return { path: "/EFI/BOOT/BOOTX64.EFI", source: target };
  } finally {
    for (const part of parts) part.close();
  }
}

interface Part {
  readonly name: string;
  readonly size: number;
  read(range: { readonly offset: number; readonly size: number }): Uint8Array;
  close(): void;
}

function inMemory(name: string, text: ByteString): Part {
  const bytes = Buffer.from(text, "latin1");
  return {
    name,
    size: bytes.length,
    read: ({ offset, size }) => bytes.subarray(offset, offset + size),
    close: () => {},
  };
}

function inFile(name: string, from: string): Part {
  const { fd, size, close } = openForReading(from);
  return { name, size, read: (range) => readRange(fd, range, from), close };
}

const AT_ONCE = 1024 * 1024;

function write(target: string, parts: readonly Part[], { head, offsets, fileSize }: ExtendedPe): void {
  let fd: number | undefined;
  try {
    fd = openSync(target, "w", 0o644);
    writeAll(fd, head, 0);
    for (const [index, part] of parts.entries()) {
      const start = offsets[index] as number;
      for (let offset = 0; offset < part.size; offset += AT_ONCE) {
        writeAll(fd, part.read({ offset, size: Math.min(AT_ONCE, part.size - offset) }), start + offset);
      }
    }
    ftruncateSync(fd, fileSize);
  } catch (error) {
    if (error instanceof OciNixError) throw error;
    throw new OciNixError("output", `cannot write ${target}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory with more space",
      cause: error,
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

/** Boot loaders show these names, and take the file for no kernel image where it has none. */
function osReleaseOf({ title, version, sortKey }: BootEntry): string {
  const quoted = (text: string) => `"${text.replace(/["\\$`]/g, "\\$&")}"`;
  const named = { ID: sortKey ?? "linux", NAME: title, PRETTY_NAME: title, VERSION_ID: version };
  return Object.entries(named)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${quoted(value)}\n`]))
    .join("");
}
