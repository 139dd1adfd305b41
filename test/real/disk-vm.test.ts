import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OciNixError } from "../../src/core/errors.js";
import { DiskTools } from "../../src/disk/tools.js";
import { type Job, runJob } from "../../src/disk/vm/run-job.js";
import { runOk, startCommand } from "../support/command.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 120_000;
const TOOLS = ["qemu-system-x86_64", "busybox", "mke2fs", "e2fsck", "debugfs", "setpriv"];

describe.skipIf(requireTools(...TOOLS))("jobs in a virtual machine", { timeout: LIMIT_MS }, () => {
  let directory: string;
  let disk: string;
  let tools: DiskTools;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "disk-vm-"));
    for (const name of ["bin", "etc"]) mkdirSync(join(directory, "root", name), { recursive: true });
    copyFileSync(tool("busybox"), join(directory, "root/bin/sh"));
    const image = join(directory, "fresh, root.img");
    await runOk(tool("mke2fs"), ["-q", "-t", "ext4", "-d", join(directory, "root"), image, "12M"]);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  beforeEach(() => {
    tools = new DiskTools();
    disk = join(directory, "disk, of=job.img");
    copyFileSync(join(directory, "fresh, root.img"), disk);
  });
  afterEach(() => tools.close());

  const job = (script: string, rest: Partial<Job> = {}) =>
    runJob(
      {
        disks: [{ file: disk, access: "write" }],
        mounts: [{ device: "/dev/vda", at: "/", type: "ext4", access: "write" }],
        script,
        memoryMiB: 128,
        deadlineMs: 90_000,
        accelerators: ["tcg"],
        ...rest,
      },
      tools,
    );
  const failure = async (running: Promise<unknown>): Promise<OciNixError> => {
    const error = await running.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(OciNixError);
    return error as OciNixError;
  };

  /** Processes of QEMU that have our disk open. */
  const machines = () =>
    readdirSync("/proc").filter((name) => {
      try {
        if (!/^\d+$/.test(name)) return false;
        const words = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return words[0] === tool("qemu-system-x86_64") && words.some((word) => word.includes(directory));
      } catch {
        return false;
      }
    });
  const started = async () => {
    while (machines().length === 0) await sleep(20);
    return Number(machines()[0]);
  };

  it("run as root on a disk, which is clean and changed afterwards and has no trace of mounts", async () => {
    const lines: string[] = [];
    const script = "echo hello from $(id -u) >/etc/made; cat /etc/made; sh -c 'mount; sleep 1000 &'; cat /proc/1/comm";
    const result = await job(`${script}; touch /tmp/gone`, { onLine: (line) => lines.push(line) });
    expect(result).toMatchObject({ status: 0, accelerator: "tcg", log: expect.stringContaining("\nhello from 0\n") });
    expect(lines).toContain("[vm] up");
    await runOk(tool("e2fsck"), ["-fn", disk]);
    const files = await runOk(tool("debugfs"), ["-R", "ls -p /", disk]);
    expect([...files.matchAll(/^\/\d+\/\d+\/\d+\/\d+\/([^/]+)\//gm)].map(([, name]) => name)).toEqual([
      ".",
      "..",
      "lost+found",
      "bin",
      "etc",
    ]);
    expect(await runOk(tool("debugfs"), ["-R", "cat /etc/made", disk])).toBe("hello from 0\n");
    expect([...tools.versions.keys()]).toEqual(["qemu-system-x86_64"]);
  });

  it("see nothing of the caller's environment, and neither does QEMU", async () => {
    const before = { ...process.env };
    Object.assign(process.env, { HOME: "/home/canary", CANARY: "canary", LC_ALL: "xx_canary", TZ: "canary" });
    try {
      const running = job(
        "#!/bin/sh\n/bin/sh -c 'for f in /proc/[0-9]*/environ /proc/cmdline; do cat $f; echo; done'; env; exit 7\n",
      );
      const environment = readFileSync(`/proc/${await started()}/environ`, "latin1");
      const { status, log } = await running;
      expect(status).toBe(7);
      expect(log).toMatch(/^HOME=\/root$/m);
      expect(log).not.toContain("canary");
      expect(environment).toContain("HOME=/homeless-shelter");
      expect(environment).not.toContain("canary");
      expect(readFileSync(disk).includes("canary")).toBe(false);
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
      Object.assign(process.env, before);
    }
  });

  it("tell a full disk, a panic and an early end apart", async () => {
    const full = await failure(job("dd if=/dev/zero of=/full bs=64k"));
    expect(full).toMatchObject({ code: "limit", message: expect.stringMatching(/its disk is full.*exit 1/) });
    expect(full.hint).toBe("make the disk larger");
    const panic = await failure(job("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"));
    expect(panic).toMatchObject({ code: "invalid-input", message: expect.stringMatching(/its kernel panicked/) });
    const off = await failure(job("sh -c 'reboot -f'"));
    expect(off.message).toMatch(/it turned itself off, before the script had ended/);
  });

  it("are ended past their deadline, and leave no process", async () => {
    const error = await failure(job("echo begun; sleep 1000", { deadlineMs: 25_000 }));
    expect(error).toMatchObject({
      code: "limit",
      message: expect.stringMatching(
        /did not end within 25 s, and had been silent for \d+ s; its last lines:\n(?:.*\n)*begun$/,
      ),
    });
    expect(machines()).toEqual([]);
  });

  it("say that somebody killed QEMU", async () => {
    const running = failure(job("sleep 1000"));
    process.kill(await started(), "SIGKILL");
    expect((await running).message).toMatch(/QEMU was killed \(SIGKILL\)/);
  });

  it("are ended by a signal", async () => {
    const abort = new AbortController();
    const running = failure(job("sleep 1000", { signal: abort.signal }));
    await started();
    abort.abort();
    expect((await running).code).toBe("interrupted");
    expect(machines()).toEqual([]);
  });

  it("say what cannot be mounted, and what QEMU does not open", async () => {
    const mounts = [{ device: "/dev/vda1", at: "/", type: "ext4", access: "write" }] as const;
    expect((await failure(job("true", { mounts }))).message).toMatch(/there is no \/dev\/vda1, before/);
    rmSync(disk);
    expect(await failure(job("true"))).toMatchObject({
      code: "invalid-input",
      message: expect.stringMatching(/qemu-system-x86_64 failed \(exit 1\).*No such file/),
    });
  });

  it("fall back to emulation where KVM is there and does not work", async () => {
    const { status, accelerator } = await job("exit 3", { accelerators: ["kvm", "tcg"] });
    expect(status).toBe(3);
    expect(["kvm", "tcg"]).toContain(accelerator);
  });

  it("do not outlive the process that runs them", async () => {
    const heartbeat = { line: "none", withinMs: 1000 };
    const start = ["-S", "-name", directory];
    const guest = { memoryMiB: 64, disks: [], start, deadlineMs: 60_000, heartbeat, accelerators: ["tcg"] };
    const script = `
      import { DiskTools } from "./dist/disk/tools.js";
      import { runGuest } from "./dist/disk/vm/qemu.js";
      runGuest(${JSON.stringify(guest)}, new DiskTools());`;
    const running = startCommand(process.execPath, ["--input-type=module", "-e", script]);
    await started();
    running.child.kill("SIGKILL");
    const { signal } = await running.ended;
    expect(signal).toBe("SIGKILL");
    for (let count = 0; count < 100 && machines().length > 0; count++) await sleep(20);
    expect(machines()).toEqual([]);
  });
});
