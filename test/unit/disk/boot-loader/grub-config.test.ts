import { describe, expect, it } from "vitest";
import type { BootEntry } from "../../../../src/disk/boot-loader/boot-entry.js";
import { grubConfig } from "../../../../src/disk/boot-loader/grub-config.js";
import { runCommand } from "../../../support/command.js";
import { requireTools } from "../../../support/tools.js";

const ROOT = { uuid: "f222513b-ded1-49fa-b591-20ce86a2fe7f", partition: "gpt2" };

function config(changes: Partial<BootEntry>): string {
  const entry = { id: "linux", title: "Linux", kernel: { bootPath: "/vmlinuz" }, commandLine: "", ...changes };
  return grubConfig(entry, { root: ROOT, timeoutSeconds: 3 }).toString("latin1");
}

function linuxLine(commandLine: string): string | undefined {
  return /^ {2}linux .*$/m.exec(config({ commandLine }))?.[0];
}

describe("GRUB's configuration", () => {
  it("names files of the root file system by its UUID, the disk that was started from first", () => {
    const text = config({
      kernel: { path: "/boot/vmlinuz-6.1", bootPath: "/vmlinuz" },
      initrd: { bootPath: "/initrd.img" },
    });
    expect(text).toContain(`--set=system --hint="$disk,gpt2" ${ROOT.uuid}\n`);
    expect(text).toContain("  linux ($system)'/boot/vmlinuz-6.1'\n  initrd '/initrd.img'\n");
  });

  it("hands parameters with spaces on as one word each", () => {
    expect(linuxLine('quiet dyndbg="file a.c +p; file b.c" "x y"  end')).toBe(
      "  linux '/vmlinuz' 'quiet' 'dyndbg=file a.c +p; file b.c' 'x y' 'end'",
    );
  });

  it("keeps what means something to GRUB's shell from it", () => {
    expect(linuxLine("a=$x; {b} #c")).toBe("  linux '/vmlinuz' 'a=$x;' '{b}' '#c'");
    expect(config({ title: "It's" })).toContain("menuentry 'It'\\''s' --id 'linux' {");
  });

  it.each(["it's", "a\\x2db", 'open="a b'])("refuses a command line that GRUB would change: %s", (commandLine) => {
    expect(() => linuxLine(commandLine)).toThrow(/^GRUB cannot hand/);
  });

  it.skipIf(requireTools("grub-script-check"))("is one that GRUB can read", async () => {
    const text = config({ title: "It's", commandLine: 'a=$x; {b} #c "d e"', initrd: { path: "/i", bootPath: "/i" } });
    expect(await runCommand("grub-script-check", ["-v"], { stdin: text })).toMatchObject({ status: 0 });
    expect(await runCommand("grub-script-check", [], { stdin: text.replace("}\n", "") })).toMatchObject({ status: 1 });
  });
});
