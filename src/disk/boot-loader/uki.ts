import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, encodeUtf8 } from "../../core/byte-string.js";
import { describeErrno, OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { type BootEntry, type BootLoaderFile, sourceOf } from "./boot-entry.js";
import { addPeSections } from "./pe-sections.js";
import { systemdBootFile } from "./systemd-boot.js";

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
    write(target, parts, addPeSections(readFileSync(stub), parts, stub));
    return { path: "/EFI/BOOT/BOOTX64.EFI", source: target };
  } finally {
    for (const part of parts) part.close();
  }
}

interface Part {
  readonly name: string;
  readonly size: number;
  /** Gives bytes from an offset on; fewer than wanted at the end only. */
  read(into: Buffer, from: number): number;
  close(): void;
}

function inMemory(name: string, text: ByteString): Part {
  const bytes = Buffer.from(text, "latin1");
  return { name, size: bytes.length, read: (into, from) => bytes.copy(into, 0, from), close: () => {} };
}

function inFile(name: string, file: string): Part {
  try {
    const fd = openSync(file, "r");
    return {
      name,
      size: fstatSync(fd).size,
      read(into, from) {
        const length = readSync(fd, into, 0, into.length, from);
        if (length > 0) return length;
        throw new OciNixError("changed", `${file} became shorter while it was read`);
      },
      close: () => closeSync(fd),
    };
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

function write(target: string, parts: readonly Part[], pe: ReturnType<typeof addPeSections>): void {
  const chunk = Buffer.allocUnsafe(1024 * 1024);
  const fd = openSync(target, "w", 0o644);
  try {
    writeAll(fd, pe.head, 0);
    for (const [index, part] of parts.entries()) {
      const offset = pe.offsets[index] as number;
      for (let done = 0; done < part.size; ) {
        const length = Math.min(
          part.read(chunk.subarray(0, Math.min(chunk.length, part.size - done)), done),
          part.size - done,
        );
        writeAll(fd, chunk.subarray(0, length), offset + done);
        done += length;
      }
    }
    ftruncateSync(fd, pe.fileSize);
  } finally {
    closeSync(fd);
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
