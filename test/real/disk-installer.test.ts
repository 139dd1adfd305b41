import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { toJson } from "../../src/core/json.js";
import { buildDiskImage } from "../../src/disk/build-disk.js";
import { checkDiskSpec } from "../../src/disk/check-disk-spec.js";
import { DiskTools } from "../../src/disk/tools.js";
import { checkBoot } from "../../src/disk/vm/boot-check.js";
import { findUefiFirmware } from "../../src/disk/vm/firmware.js";
import { makeTalkingInitramfs } from "../support/boot-disks.js";
import { INSTALLERS, installedSpec } from "../support/boot-installers.js";
import { type CliOptions, installForEverybody, runCli, startCli } from "../support/cli.js";
import { type CommandResult, expectOk, runCommand, runOk } from "../support/command.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 600_000;
const NOBODY = 65534;
/** A word that is in no package. */
const CANARY = "leaked-canary";
const PROGRAMS = [
  "sfdisk",
  "mke2fs",
  "debugfs",
  "mkfs.vfat",
  "mmd",
  "mcopy",
  "qemu-img",
  "qemu-system-x86_64",
  "busybox",
];

/** Whether the guest is given the caller's environment, as it never is. */
const bypass = vi.hoisted(() => ({ isOn: false }));
vi.mock("../../src/disk/vm/init.js", async (importOriginal) => {
  const original = await importOriginal<typeof import("../../src/disk/vm/init.js")>();
  const callers = () => `HOME=${process.env.HOME} NIX_PATH=${process.env.NIX_PATH}`;
  return {
    ...original,
    initScript: (...args: Parameters<typeof original.initScript>) => {
      const script = original.initScript(...args);
      return bypass.isOn ? script.replace("'HOME=/root'", callers()) : script;
    },
  };
});

interface Summary {
  readonly file: string;
  readonly companions: readonly string[];
  readonly partitions: readonly { readonly role: string; readonly start: number; readonly size: number }[];
  readonly accelerator: string;
}

describe.skipIf(requireTools(...PROGRAMS, ...REAL_STORE_TOOLS, "root"))(
  "a boot loader that its system installs",
  () => {
    let directory: string;
    let store: RealStore;
    let initrd: string;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-installer-"));
      chmodSync(directory, 0o755);
      store = await realStore("system");
      initrd = await makeTalkingInitramfs(directory, "started");
    }, LIMIT_MS);
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    function fresh(name: string): string {
      const where = join(directory, name);
      rmSync(where, { recursive: true, force: true });
      mkdirSync(where);
      return where;
    }

    function specFile(where: string, script: string, rest: object = {}): string {
      const file = join(where, "disk.json");
      writeFileSync(file, JSON.stringify(installedSpec(store, where, { script, initrd, ...rest })));
      return file;
    }

    async function makeDisk(where: string, script: string, rest: object, options: CliOptions = {}): Promise<Summary> {
      const args = ["disk", specFile(where, script, rest), "--to", where, "--json"];
      const { stderr } = expectOk(await runCli(args, { timeoutMs: LIMIT_MS, ...options }), "oci-nix disk");
      return JSON.parse(stderr) as Summary;
    }

    const verify = async (file: string, ...firmwares: readonly string[]): Promise<string> => {
      const boots = firmwares.flatMap((each) => ["--boot", each]);
      const args = ["disk", "verify", file, ...boots, "--line", "started: "];
      return String(expectOk(await runCli(args, { timeoutMs: LIMIT_MS }), "oci-nix disk verify").stdout);
    };

    /** What debugfs says of the root file system of a raw disk. */
    const debugfs = async ({ file, partitions }: Summary, request: string): Promise<string> => {
      const { start = 0 } = partitions.find(({ role }) => role === "root") ?? {};
      return await runOk(tool("debugfs"), ["-R", request, `${file}?offset=${start}`]);
    };

    const entriesOf = async (disk: Summary, path: string): Promise<readonly string[]> =>
      [...(await debugfs(disk, `ls -p ${path}`)).matchAll(/^\/\d+\/\d+\/\d+\/\d+\/([^/]+)\//gm)].map(
        ([, name]) => name as string,
      );

    /** The second time for another user, with everything set against it. */
    async function again(where: string, script: string, rest: object): Promise<Summary> {
      const installed = installForEverybody();
      try {
        chmodSync(where, 0o777);
        const home = fresh("hostile");
        chmodSync(home, 0o777);
        return await makeDisk(where, script, rest, {
          program: installed.program,
          uid: NOBODY,
          gid: NOBODY,
          wrapper: ["sh", "-c", 'umask 077; exec "$@"', "sh"],
          env: {
            ...{ HOME: home, TMPDIR: home, TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" },
            ...{ SOURCE_DATE_EPOCH: "1234567890", NIX_PATH: "canary", GRUB_DEVICE: "canary", MTOOLSRC: "/canary" },
          },
        });
      } finally {
        rmSync(installed.directory, { recursive: true, force: true });
      }
    }

    it("starts by a BIOS from the root file system, with what was in /boot, and is the same bytes for anybody", {
      timeout: LIMIT_MS,
    }, async () => {
      const script = `${INSTALLERS["grub for BIOS"]}echo after >>/boot/notes; echo secret >/boot/secret; chmod 600 /boot/secret
ln -s vmlinuz /boot/current; mkdir -m 700 /boot/kept; echo x >/etc/not-for-booting\n`;
      const contents = ["notes", "as-it-was"].map((name) => {
        writeFileSync(join(directory, name), "before\n", { mode: 0o644 });
        return { source: join(directory, name), target: `/boot/${name}`, mode: "0644" };
      });
      const disk = await makeDisk(fresh("one"), script, { contents });
      await verify(disk.file, "bios");
      expect(["kvm", "tcg"]).toContain(disk.accelerator);
      expect(await debugfs(disk, "cat /boot/notes")).toBe("before\nafter\n");
      expect(await debugfs(disk, "cat /boot/as-it-was")).toBe("before\n");
      expect(await debugfs(disk, "stat /boot/secret")).toMatch(/Mode: +0600 /);
      expect(await debugfs(disk, "stat /boot/kept")).toMatch(/Type: directory +Mode: +0700 /);
      expect(await debugfs(disk, "stat /boot/current")).toMatch(/Fast link dest: "vmlinuz"/);
      expect(await entriesOf(disk, "/")).toEqual(expect.not.arrayContaining(["bin", "lib64"]));
      expect(await entriesOf(disk, "/etc")).toEqual(
        expect.not.arrayContaining(["machine-id", "mtab", "not-for-booting"]),
      );
      const other = await again(fresh("two"), script, { contents });
      await runOk("cmp", [disk.file, other.file]);
    });

    it("starts by a BIOS and by UEFI, in another format, and is the same bytes for anybody", {
      timeout: LIMIT_MS,
    }, async () => {
      const rest = { partitionTableType: "hybrid", format: "vdi" };
      const disk = await makeDisk(fresh("one"), INSTALLERS["grub for both"], rest);
      await verify(disk.file, "bios", "uefi");
      const other = await again(fresh("two"), INSTALLERS["grub for both"], rest);
      await runOk("cmp", [disk.file, other.file]);
    });

    it.each([
      ["legacy+boot", "grub for BIOS", "bios"],
      ["efixbootldr", "systemd-boot", "uefi"],
    ] as const)("starts: %s, %s", { timeout: LIMIT_MS }, async (partitionTableType, installer, firmware) => {
      const bootSize = partitionTableType === "efixbootldr" ? "164M" : "128M";
      const rest = { partitionTableType, bootSize, minimise: true, additionalSpace: "0" };
      const disk = await makeDisk(fresh("table"), INSTALLERS[installer], rest);
      await verify(disk.file, firmware);
    });

    it("may change the variables of UEFI, which lie beside the image and start it", { timeout: LIMIT_MS }, async () => {
      const where = fresh("efi");
      const disk = await makeDisk(where, INSTALLERS["systemd-boot"], { partitionTableType: "efi", touchEFIVars: true });
      const variables = join(where, "efi-vars.fd");
      expect(disk.companions).toEqual([variables]);
      expect(readFileSync(variables).includes(Buffer.from("Linux Boot Manager", "utf16le"))).toBe(true);
      // By what they say, as there is nothing at the place where firmware looks by itself.
      const { start = 0 } = disk.partitions.find(({ role }) => role === "esp") ?? {};
      const files = await runOk(tool("mdir"), ["-i", `${disk.file}@@${start}`, "-/", "-b", "::/"]);
      expect(files).toContain("::/EFI/BOOT/BOOTX64.EFI");
      expect(files).not.toContain("random-seed");
      await runOk(tool("mdel"), ["-i", `${disk.file}@@${start}`, "::/EFI/BOOT/BOOTX64.EFI"]);
      const tools = new DiskTools();
      try {
        const { code } = findUefiFirmware();
        const check = { firmware: "uefi", line: "started: ", deadlineMs: 240_000, uefi: { code, variables } } as const;
        expect(await checkBoot(disk.file, check, tools)).toMatchObject({ booted: true });
      } finally {
        tools.close();
      }
      const { status, stderr } = await runCli(["disk", join(where, "disk.json"), "--to", where]);
      expect({ status, stderr }).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/efi-vars\.fd is there already/),
      });
    });

    describe("runs nix-env", () => {
      const SCRIPT = `echo root:x:0:0::/root:/bin/sh >/etc/passwd
echo nixbld:x:30000: >/etc/group
nix-env --profile /nix/var/nix/profiles/system --list-generations
mkdir -p /boot
env >/boot/saved-environment
busybox find / -xdev -name .nix-defexpr >/boot/homes
`;
      /** Where the canary is: in the image as a whole, or in what was found on the disk that the installer saw. */
      async function traces(): Promise<{ readonly isInImage: boolean; readonly homes: string }> {
        const where = fresh("leak");
        const file = specFile(where, SCRIPT);
        const spec = checkDiskSpec(toJson(JSON.parse(readFileSync(file, "utf8"))), "spec");
        const before = { ...process.env };
        Object.assign(process.env, { HOME: `/home/${CANARY}`, NIX_PATH: CANARY, USER: CANARY, LC_ALL: CANARY });
        try {
          const summary = (await buildDiskImage(spec, { to: where })) as Summary;
          const homes = await debugfs(summary, "cat /boot/homes");
          expect(await debugfs(summary, "cat /boot/saved-environment")).toContain("HOME=");
          const { status } = await runCommand("grep", ["-q", "-a", CANARY, summary.file]);
          return { isInImage: status === 0, homes };
        } finally {
          for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
          Object.assign(process.env, before);
        }
      }

      it("and leaves no trace of the caller's home", { timeout: LIMIT_MS }, async () => {
        expect(await traces()).toEqual({ isInImage: false, homes: "/root/.nix-defexpr\n" });
      });

      it("and would leave one, if the caller's environment reached it", { timeout: LIMIT_MS }, async () => {
        bypass.isOn = true;
        try {
          expect(await traces()).toEqual({ isInImage: true, homes: `/home/${CANARY}/.nix-defexpr\n` });
        } finally {
          bypass.isOn = false;
        }
      });
    });

    describe("is an error, and leaves nothing,", () => {
      let where: string;
      const failing = (result: CommandResult, before: readonly string[]): string => {
        expect(result.status).toBe(1);
        expect(result.stderr).not.toMatch(/internal error|\n\s+at /);
        expect(readdirSync(where)).toEqual(before);
        return result.stderr;
      };
      const fail = async (script: string, rest: object = {}): Promise<string> => {
        where = fresh("bad");
        const file = specFile(where, script, rest);
        const before = readdirSync(where);
        return failing(await runCli(["disk", file, "--to", where], { timeoutMs: LIMIT_MS }), before);
      };

      it("where it fails: with its last words", { timeout: LIMIT_MS }, async () => {
        expect(await fail("echo there is no such device >&2; exit 3")).toMatch(
          /the boot loader's installer of \S+ failed \(exit 3\).*there is no such device/s,
        );
      });

      it("where it has no room: says which partition is to be larger", { timeout: LIMIT_MS }, async () => {
        const rest = { partitionTableType: "legacy+boot", bootSize: "10M" };
        expect(await fail("cp /etc/test-kernel /boot/vmlinuz", rest)).toMatch(/its disk is full.*bootSize/s);
      });

      it("where what it made has no room on the disk", { timeout: LIMIT_MS }, async () => {
        const script = "mkdir -p /boot; dd if=/dev/zero of=/boot/large bs=1M count=120";
        const least = /set diskSize to (\d+)/.exec(await fail(script, { diskSize: 8 }))?.[1];
        expect(await fail(script, { diskSize: Number(least) })).toMatch(/too small by 12\d MiB/);
      });

      it("where QEMU is killed", { timeout: LIMIT_MS }, async () => {
        where = fresh("killed");
        const file = specFile(where, "sleep 1000");
        const before = readdirSync(where);
        const running = startCli(["disk", file, "--to", where], { timeoutMs: LIMIT_MS });
        running.stdout.resume();
        let isOver = false;
        const ended = running.ended.finally(() => {
          isOver = true;
        });
        // One that has not begun under KVM is followed by another, without.
        for (; !isOver; await sleep(100)) for (const pid of machines(where)) kill(pid);
        const result = await ended;
        expect(failing(result, before)).toMatch(/QEMU was killed \(SIGKILL\)/);
      });
    });

    function kill(pid: number): void {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }

    /** The processes of QEMU that have a disk in a directory. */
    function machines(where: string): readonly number[] {
      return readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .filter((pid) => {
          const words = readQuietly(join("/proc", pid, "cmdline")).split("\0");
          return words[0] === tool("qemu-system-x86_64") && words.some((word) => word.includes(`${where}/`));
        })
        .map(Number);
    }

    function readQuietly(file: string): string {
      try {
        return readFileSync(file, "utf8");
      } catch {
        return "";
      }
    }
  },
);
