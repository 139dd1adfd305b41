import { type ByteString, displayBytes, encodeUtf8 } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { BootEntry, BootFile } from "./boot-entry.js";

/**
 * GRUB's configuration for one entry. It speaks on the first serial port, too; under UEFI the firmware does where it wants to.
 * Files with a `path` are read from the root file system: that with the UUID, where there are several that on the same disk.
 * @param root the root file system's UUID, and GRUB's name of its partition on its disk, as `gpt2`
 * @throws OciNixError `unsupported` for a command line that GRUB would change
 */
export function grubConfig(
  entry: BootEntry,
  options: { readonly root: { readonly uuid: string; readonly partition: string }; readonly timeoutSeconds: number },
): Buffer {
  const { root, timeoutSeconds } = options;
  const words = commandLineWords(entry.commandLine).map(quoted);
  const lines = [
    "set default=0",
    `set timeout=${timeoutSeconds}`,
    'if [ "$grub_platform" = pc ]; then',
    "  if serial --unit=0 --speed=115200; then",
    "    terminal_input --append serial",
    "    terminal_output --append serial",
    "  fi",
    "fi",
    // Copies of one disk have the same UUIDs: what is on the disk that was started from comes first.
    `regexp --set=1:disk '^([^,]+)' "$root"`,
    `search --no-floppy --fs-uuid --set=system --hint="$disk,${root.partition}" ${root.uuid}`,
    `menuentry ${quoted(encodeUtf8(entry.title))} --id ${quoted(entry.id)} {`,
    `  ${["linux", placeOf(entry.kernel), ...words].join(" ")}`,
    ...(entry.initrd === undefined ? [] : [`  initrd ${placeOf(entry.initrd)}`]),
    "}",
  ];
  return Buffer.from(`${lines.join("\n")}\n`, "latin1");
}

/** Files that are not in the root file system are beside the configuration. */
function placeOf({ path, bootPath }: BootFile): ByteString {
  return path === undefined ? quoted(bootPath) : `($system)${quoted(path)}`;
}

function quoted(word: ByteString): ByteString {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * The parameters without their double quotes, which the kernel uses for spaces in them: GRUB puts its own around.
 * @throws OciNixError `unsupported`
 */
function commandLineWords(line: ByteString): readonly ByteString[] {
  // GRUB puts a backslash before each of these, which no kernel takes away; a quote that has no end would be given one.
  const changed = /['\\]/.exec(line)?.[0] ?? (line.split('"').length % 2 === 0 ? '"' : undefined);
  if (changed !== undefined) {
    throw new OciNixError("unsupported", `GRUB cannot hand ${changed} to a kernel: ${displayBytes(line)}`, {
      hint: "take it out of the command line, or another boot loader",
    });
  }
  return [...line.matchAll(/(?:[^ "]|"[^"]*")+/g)].map(([word]) => word.replaceAll('"', ""));
}
