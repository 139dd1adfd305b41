import { encodeUtf8 } from "../core/byte-string.js";
import { OciNixError } from "../core/errors.js";
import type { BootEntry } from "./boot-loader/boot-entry.js";
import { rootParameter } from "./boot-loader/boot-loader.js";
import { bootEntryOf, bootEntryOfFiles } from "./boot-loader/entries.js";
import type { DiskSpec } from "./disk-spec.js";
import type { DiskLayout } from "./layout.js";

/**
 * What a spec's boot loader starts: its kernel, or that of its NixOS system. A command line that does not say what the root file system is, is told so;
 * NixOS knows by itself.
 * @throws OciNixError as `bootEntryOf`; `invalid-input` where there is no kernel
 */
export function bootEntryFor(spec: DiskSpec, layout: DiskLayout, rootUuid: string): BootEntry {
  const { toplevel, closure, bootLoader = { kind: "none" } } = spec;
  const { kernel, initrd, cmdline } = bootLoader;
  if (kernel === undefined) {
    if (toplevel === undefined) throw new OciNixError("invalid-input", "the boot loader needs a kernel");
    const entry = bootEntryOf(encodeUtf8(toplevel), { storeRoot: closure?.storeRoot });
    return cmdline === undefined ? entry : { ...entry, commandLine: encodeUtf8(cmdline) };
  }
  const system = toplevel === undefined ? "" : ` init=${toplevel}/init`;
  const given = cmdline ?? `rw${system}`;
  const root = rootParameter(layout, { rootUuid, hasInitrd: initrd !== undefined });
  const commandLine = /(^| )root=/.test(given) ? given : `${root} ${given}`.trim();
  return bootEntryOfFiles({ kernel, initrd, commandLine });
}
