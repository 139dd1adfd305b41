import { realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type ByteString, displayBytes, encodeUtf8, fsPath } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import { DEFAULT_STORE_DIR } from "../nix/store-path.js";
import { parseTransport } from "../transport/transport.js";
import { sourcesOf } from "./contents.js";
import type { DiskSpec } from "./disk-spec.js";

/**
 * Before anything is made: that a disk image takes the place of nothing that it is made of, by whatever name, and is in no directory that is read, as
 * the next image would have this one in it.
 * @param path in a directory that is there
 * @param others files that are read besides those that the spec names
 * @throws OciNixError `usage`
 */
export function checkOutputApart(path: string, spec: DiskSpec, others: readonly string[] = []): void {
  const read = new Map<string, ByteString>();
  for (const input of [...others.map(encodeUtf8), ...inputsOf(spec)]) {
    const id = identityOf(input);
    if (id !== undefined) read.set(id, input);
  }
  const fail = (what: string): never => {
    throw new OciNixError("usage", `${path} ${what}`, { hint: "write to another file, and move it there afterwards" });
  };
  if (read.has(identityOf(encodeUtf8(path)) ?? "")) fail("is read, and would be replaced by the disk image");
  let directory = realpathSync(dirname(path));
  for (;;) {
    const input = read.get(identityOf(encodeUtf8(directory)) ?? "");
    if (input !== undefined) fail(`would be in ${displayBytes(input)}, which is read`);
    if (directory === dirname(directory)) return;
    directory = dirname(directory);
  }
}

/** Files and directories of this machine that a spec names, but for store paths: nobody writes to those. */
function inputsOf({ closure, contents = [], configFile, bootLoader, fromImage, vm }: DiskSpec): readonly ByteString[] {
  const { graph, storeRoot = "/", storeDir = DEFAULT_STORE_DIR } = closure ?? {};
  const named = [
    ...[graph, bootLoader?.kernel, bootLoader?.initrd, vm?.kernel, vm?.modules, vm?.busybox],
    ...[bootLoader?.grubBiosDirectory, bootLoader?.grubEfiDirectory, bootLoader?.systemdBootDirectory],
    fromImage === undefined ? undefined : fileOfImage(fromImage),
  ].filter((file) => file !== undefined);
  const copied = [...contents.map(({ source }) => source), ...(configFile === undefined ? [] : [configFile])];
  return [...named.map(encodeUtf8), ...copied.flatMap((source) => sourcesOf(source, storeRoot, storeDir))];
}

function fileOfImage(place: string): string | undefined {
  const name = parseTransport(place);
  return "file" in name ? name.file : "directory" in name ? name.directory : undefined;
}

/** Equal for all names of one file; undefined where it is not there, or not to be looked at. */
function identityOf(path: ByteString): string | undefined {
  try {
    const { dev, ino } = statSync(fsPath(path), { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    // Whoever reads it says what is wrong with it.
    return undefined;
  }
}
