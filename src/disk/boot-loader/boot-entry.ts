import { type ByteString, displayBytes } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import { openForReading, readRange } from "../../core/file-range.js";

/** A kernel or an initrd: in the root file system, in a file of this machine, or both. */
export interface BootFile {
  /** Where it is in the root file system, if it is there. Absolute; symbolic links on the way are followed at boot. */
  readonly path?: ByteString | undefined;
  /** A file of this machine with its bytes. For loaders that read nothing but FAT. */
  readonly source?: string | undefined;
  /** Where it goes on the file system of `/boot` when it has to be copied there. Absolute, unique among the files there. */
  readonly bootPath: ByteString;
}

/** What a boot loader starts. */
export interface BootEntry {
  /** The name of its file among boot entries, without `.conf`. */
  readonly id: string;
  readonly title: string;
  readonly version?: string | undefined;
  readonly sortKey?: string | undefined;
  readonly kernel: BootFile;
  readonly initrd?: BootFile | undefined;
  /** The kernel's parameters, as the kernel reads them. */
  readonly commandLine: ByteString;
  /** The text of the system's os-release, for unified kernel images; without it one is made of the title. */
  readonly osRelease?: ByteString | undefined;
}

/** Bytes for a file system that the boot loader reads, or a file of this machine to be copied there. */
export type BootLoaderFile = {
  /** Absolute, in its file system. */
  readonly path: ByteString;
} & ({ readonly contents: Uint8Array } | { readonly source: string });

const ID = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they end lines of configuration files
const CONTROL = /[\x00-\x1f\x7f]/;
/** The x86 kernel takes no longer one (COMMAND_LINE_SIZE, with the null at the end). */
const LONGEST_COMMAND_LINE = 2047;

/** @throws OciNixError `invalid-input` for what no configuration file can say; `not-found`, `unreadable`, `invalid-input` for a kernel that is none, or an initrd that cannot be read */
export function checkEntry(entry: BootEntry): void {
  if (!ID.test(entry.id)) {
    throw new OciNixError(
      "invalid-input",
      `the boot entry's name ${JSON.stringify(entry.id)} cannot be that of a file`,
      {
        hint: "it has letters, digits, and any of . _ + -",
      },
    );
  }
  const lines = {
    title: entry.title,
    version: entry.version,
    "sort key": entry.sortKey,
    "command line": entry.commandLine,
    "kernel's path": entry.kernel.path,
    "initrd's path": entry.initrd?.path,
  };
  for (const [what, line] of Object.entries(lines)) {
    if (line !== undefined && CONTROL.test(line)) {
      throw new OciNixError(
        "invalid-input",
        `the boot entry's ${what} has a control character: ${displayBytes(line)}`,
        {
          hint: "boot loaders read it from one line of a file",
        },
      );
    }
  }
  if (entry.commandLine.length > LONGEST_COMMAND_LINE) {
    throw new OciNixError(
      "limit",
      `the kernel's command line has ${entry.commandLine.length} bytes, ${LONGEST_COMMAND_LINE} are possible`,
    );
  }
  if (entry.kernel.source !== undefined) checkKernel(entry.kernel.source);
  if (entry.initrd?.source !== undefined) openForReading(entry.initrd.source).close();
}

/** @throws OciNixError `not-found` naming who wants to copy a file whose bytes nobody gave */
export function sourceOf(file: BootFile, what: "kernel" | "initrd", loader: string): string {
  if (file.source !== undefined) return file.source;
  throw new OciNixError(
    "not-found",
    `${loader} needs the bytes of the ${what} ${displayBytes(file.path ?? file.bootPath)}`,
    {
      hint: "name a file of this machine that has them, or take GRUB, which reads ext4",
    },
  );
}

/** Where a bzImage says that it is one, by the x86 boot protocol. */
const SIGNATURE_AT = 0x202;
const SIGNATURE = "HdrS";

function checkKernel(name: string): void {
  const file = openForReading(name);
  try {
    const end = SIGNATURE_AT + SIGNATURE.length;
    if (
      file.size >= end &&
      readRange(file.fd, { offset: 0, size: end }, name).toString("latin1", SIGNATURE_AT) === SIGNATURE
    )
      return;
  } finally {
    file.close();
  }
  throw new OciNixError("invalid-input", `${name} is no x86 Linux kernel that boot loaders start (bzImage)`, {
    hint: "Debian calls it /boot/vmlinuz-VERSION, nixpkgs bzImage",
  });
}

/** A file of a boot loader's. @throws OciNixError `not-found`, `unreadable` */
export function readWhole(name: string): Buffer {
  const { fd, size, close } = openForReading(name);
  try {
    return readRange(fd, { offset: 0, size }, name);
  } finally {
    close();
  }
}
