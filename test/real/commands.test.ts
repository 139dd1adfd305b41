import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CliOptions, installForEverybody, runCli, startCli } from "../support/cli.js";
import { type CommandResult, expectOk, runCommand, runOk } from "../support/command.js";
import { type Docker, ENGINE_TOOLS, RUN_OPTIONS, startDocker } from "../support/daemons.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";
import { makeTreeStore } from "../support/trees.js";

const LIMIT_MS = 120_000;
const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const [A, B, C] = [path("a", "a"), path("b", "b"), path("c", "c")];
const NOBODY = 65534;

describe.skipIf(requireTools("bwrap", "fakeroot", "busybox", "python3", "tar", "ps", "root"))("commands", () => {
  let installed: { readonly directory: string; readonly program: string };
  let store: ReturnType<typeof makeTreeStore>;
  /** For specs and archives; {@link temporary} is TMPDIR of what runs. */
  let directory: string;
  let temporary: string;

  beforeAll(() => {
    installed = installForEverybody();
    store = makeTreeStore({
      [A]: { a: "is a\n" },
      [B]: { "bin/": "", "bin/tool": ["#!/bin/sh\n", 0o555], "etc/": "", "etc/own": `from ${A}\n` },
      [C]: { c: "is c\n" },
    });
    // C is there, but no graph knows it.
    writeFileSync(
      store.closure.graph,
      JSON.stringify([
        { path: A, references: [] },
        { path: B, references: [A] },
      ]),
    );
    chmodSync(store.closure.storeRoot, 0o755);
    directory = mkdtempSync(join(tmpdir(), "oci-nix-commands-test-"));
    chmodSync(directory, 0o755);
    temporary = join(directory, "tmp");
    mkdirSync(temporary);
    chmodSync(temporary, 0o1777);
  });

  afterAll(() => {
    store?.remove();
    for (const each of [installed?.directory, directory]) {
      if (each !== undefined) rmSync(each, { recursive: true, force: true });
    }
  });

  beforeEach(() => expect(readdirSync(temporary)).toEqual([]));

  const file = (spec: object): string => {
    const name = join(directory, "spec.json");
    writeFileSync(name, JSON.stringify({ name: "x", closure: { ...store.closure, roots: [A] }, ...spec }));
    return name;
  };
  const asUser = (user: "root" | "nobody", options: CliOptions = {}): CliOptions => ({
    ...options,
    program: installed.program,
    env: { TMPDIR: temporary, ...options.env },
    ...(user === "root" ? {} : { uid: NOBODY, gid: NOBODY }),
  });
  const archive = () => join(directory, "x.tar");
  const stream = (spec: object, user: "root" | "nobody" = "root", options: CliOptions = {}): Promise<CommandResult> =>
    runCli(["stream", file(spec)], asUser(user, { stdoutFile: archive(), ...options }));
  /** What `tar` says of the last layer: `-rw-r--r-- 0/0 3 etc/x`. */
  const listed = async (): Promise<readonly string[]> => {
    const last = join(directory, "layer.tar");
    await runOk("tar", ["-xOf", archive(), await lastLayer()], { stdoutFile: last });
    const lines = (await runOk("tar", ["--numeric-owner", "-tvf", last])).trim().split("\n");
    return lines.map((line) => line.replace(/ +/g, " ").replace(" 1970-01-01 00:00", ""));
  };
  const lastLayer = async () =>
    (await runOk("tar", ["-tf", archive()])).split("\n").findLast((name) => name.startsWith("layer-")) as string;
  const text = async (name: string): Promise<string> => {
    const last = join(directory, "layer.tar");
    await runOk("tar", ["-xOf", archive(), await lastLayer()], { stdoutFile: last });
    return await runOk("tar", ["-xOf", last, name]);
  };

  describe.each(["root", "nobody"] as const)("of %s", (user) => {
    it("see nothing of who runs them, neither files nor environment", { timeout: LIMIT_MS }, async () => {
      const canary = `canary-${process.pid}-${user}`;
      const home = mkdtempSync(join(tmpdir(), "oci-nix-home-"));
      chmodSync(home, 0o755);
      const places = [join(home, "secret"), join(directory, "secret"), join(homedir(), ".oci-nix-canary")];
      for (const place of places) writeFileSync(place, canary);
      try {
        const script = [
          `for f in ${places.join(" ")} ~/secret; do cat "$f" >>seen 2>>missing || true; done`,
          "env >>seen; cat /proc/*/environ >>seen 2>/dev/null || true; cat /proc/*/cmdline /proc/mounts >>seen || true",
          "cat /etc/passwd >>users; ls /tmp /home /root /var /run /mnt >>seen 2>/dev/null || true; id -u >>users",
        ].join("\n");
        const spec = { extraCommands: script, fakeRootCommands: script };
        const env = { HOME: home, CANARY: canary };
        expect(await stream(spec, user, { env })).toMatchObject({ status: 0 });
        expect(readFileSync(archive(), "latin1")).not.toContain(canary);
        const names = [...(await text("seen")).matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name);
        const usual = ["HOME", "LC_ALL", "PATH", "PWD", "SHLVL", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ", "_"];
        const underFakeroot = ["FAKED_MODE", "FAKEROOTDONTTRYCHOWN", "FAKEROOTKEY", "LD_PRELOAD"];
        expect([...new Set(names)].sort()).toEqual([...usual, ...underFakeroot].sort());
        expect((await text("missing")).match(/No such file/g)).toHaveLength(2 * (places.length + 1));
        expect(await text("users")).toMatch(/^root:.*\nbuild:.*\nnobody:.*\n1000\nroot:.*\nbuild:.*\nnobody:.*\n0\n$/);
      } finally {
        for (const place of places) rmSync(place, { force: true });
        rmSync(home, { recursive: true, force: true });
      }
    });

    it("cannot write anywhere else, and reach no network", { timeout: LIMIT_MS }, async () => {
      let asked = 0;
      const server: Server = createServer((_, response) => {
        asked++;
        response.end();
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const { port } = server.address() as AddressInfo;
      const script = [
        `for d in / /build /build/support /usr /etc /nix /nix/store ${A} /usr/bin; do`,
        '  if touch "$d/oci-nix-was-here" 2>/dev/null; then echo "$d" >>written; fi',
        "done",
        `if chmod u+w ${A}/a 2>/dev/null; then echo chmod >>written; fi`,
        `if (exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; then echo network >>written; fi`,
        "mount -t tmpfs none /usr 2>/dev/null && echo mount >>written",
        "touch own /tmp/own; tail -n +3 /proc/net/dev >interfaces",
      ].join("\n");
      try {
        expect(await stream({ extraCommands: script, fakeRootCommands: script }, user)).toMatchObject({ status: 0 });
      } finally {
        server.close();
      }
      expect(asked).toBe(0);
      expect((await listed()).map((line) => line.split(" ").at(-1))).toEqual(["interfaces", "own"]);
      expect(await text("interfaces")).toMatch(/^\s*lo:.*\n$/);
      for (const place of ["/usr", "/etc", "/", join(store.closure.storeRoot, A), "/nix/store"]) {
        expect(existsSync(join(place, "oci-nix-was-here"))).toBe(false);
      }
    });

    it("keep owners, modes and devices", { timeout: LIMIT_MS }, async () => {
      const spec = {
        copyToRoot: [B],
        perms: [
          { path: B, regex: "etc/own$", mode: "0640", uid: 5, gid: 6 },
          { path: B, regex: "/etc$", mode: "0511" },
        ],
        files: [
          { target: "/srv/given", text: "given\n", uid: 33, gid: 34, mode: "0400" },
          { target: "/srv/moved", text: "moved\n", uid: 35, gid: 36 },
        ],
        extraCommands: [
          "test $(stat -c %a srv/given) = 400; sed -i s/given/changed/ srv/given; mv srv/moved srv/elsewhere",
          "! touch etc/new 2>/dev/null; echo more >bin/more; chmod 4755 bin/more; mkdir -m 000 closed; mkdir -m 1777 tmp; mkfifo fifo; ln bin/more hard",
          "mkdir half; echo x >half/x; chmod 0311 half; ln -s /nowhere link",
        ].join("\n"),
        fakeRootCommands: [
          "test $(stat -c %u:%g srv/given) = 33:34; test $(stat -c %u:%g:%a etc/own) = 5:6:640",
          "chown 12345:12345 bin/more; mknod null c 1 3; mknod disk b 259 70000; chown -h 7:8 link; echo y >>etc/own",
          "mkdir -p var/lib; touch var/lib/f; chown -R 1:2 var; install -o 9 -g 9 -m 0750 -d var/nine; touch mine",
        ].join("\n"),
      };
      expect(await stream(spec, user)).toMatchObject({ status: 0 });
      expect(await listed()).toEqual([
        "drwxr-xr-x 0/0 0 bin/",
        "-rwsr-xr-x 12345/12345 5 bin/more",
        "-r-xr-xr-x 0/0 10 bin/tool",
        "d--------- 0/0 0 closed/",
        "brw-r--r-- 0/0 259,70000 disk",
        "dr-x--x--x 0/0 0 etc/",
        `-rw-r----- 5/6 ${`from ${A}\n`.length + 2} etc/own`,
        "prw-r--r-- 0/0 0 fifo",
        "d-wx--x--x 0/0 0 half/",
        "-rw-r--r-- 0/0 2 half/x",
        "-rwsr-xr-x 12345/12345 5 hard",
        "lrwxrwxrwx 7/8 0 link -> /nowhere",
        "-rw-r--r-- 0/0 0 mine",
        "crw-r--r-- 0/0 1,3 null",
        "drwxr-xr-x 0/0 0 srv/",
        "-rw-r--r-- 0/0 6 srv/elsewhere",
        "-r-------- 33/34 8 srv/given",
        "drwxrwxrwt 0/0 0 tmp/",
        "drwxr-xr-x 1/2 0 var/",
        "drwxr-xr-x 1/2 0 var/lib/",
        "-rw-r--r-- 1/2 0 var/lib/f",
        "drwxr-x--- 9/9 0 var/nine/",
      ]);
    });
  });

  it("cannot change the machine as its root could, nor see who started them or reach the keys of the session", {
    timeout: LIMIT_MS,
  }, async () => {
    const calls = `python3 -c '
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": (248, 249, 250, 101), "aarch64": (217, 218, 219, 117)}[os.uname().machine]
print([(libc.syscall(number, 0, -3, 0), ctypes.get_errno()) for number in numbers])'`;
    const script = `
      if (cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness) 2>/dev/null; then exit 9; fi
      if (: >>/proc/sysrq-trigger) 2>/dev/null; then exit 8; fi
      tr '\\0' ' ' </proc/1/environ >environ; ls /proc/1/cmdline >/dev/null; grep -c "${temporary}" /proc/1/cmdline >paths || true
      ${calls} >calls`;
    const result = await stream({ extraCommands: script }, "root");
    expectOk(result, "stream");
    expect(await text("environ")).toBe("");
    expect((await text("paths")).trim()).toBe("0");
    expect((await text("calls")).trim()).toBe("[(-1, 1), (-1, 1), (-1, 1), (-1, 1)]");
  });

  it.each([
    ["a link to a file of this machine", "ln -sf /etc/shadow /build/support/results/record; touch a"],
    ["a link that never ends", "ln -sf /dev/zero /build/support/results/record"],
    ["a directory", "rm -f /build/support/results/record; mkdir /build/support/results/record; touch a; chown 5 a"],
    ["a pipe", "rm /build/support/results/probe; mkfifo /build/support/results/probe; exit 1"],
  ])("cannot have us read %s in the place of fakeroot's record", { timeout: LIMIT_MS }, async (_, script) => {
    const { status, stderr } = await stream({ fakeRootCommands: script }, "root");
    expect(stderr).toContain("the commands put something else in the place of what fakeroot wrote");
    expect(status).toBe(1);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("keep modes that a static program gives, whose changes of owners fail", { timeout: LIMIT_MS }, async () => {
    const busybox = tool("busybox");
    const files = [
      { target: "/given", text: "given\n", uid: 33, mode: "0640" },
      { target: "/dir", directory: true, mode: "0555" },
    ];
    const script = `${busybox} chmod 0751 given; ${busybox} chmod 0711 dir; touch new; ${busybox} chmod 0600 new`;
    expect(await stream({ files, fakeRootCommands: script })).toMatchObject({ status: 0 });
    expect(await listed()).toEqual(["drwx--x--x 0/0 0 dir/", "-rwxr-x--x 33/0 6 given", "-rw------- 0/0 0 new"]);
    const { status, stderr } = await stream({ files, fakeRootCommands: `${busybox} chown 7:8 given` });
    expect(stderr).toMatch(/fakeRootCommands failed \(exit 1\): chown: given: .*\n.*dynamically linked programs only/);
    expect(status).toBe(1);
  });

  it("give the same image whoever runs them, and however often", { timeout: LIMIT_MS }, async () => {
    const script =
      "for i in $(seq 50); do mkdir -p d$i; echo $i >d$i/f; done; find . >/tmp/all; sort /tmp/all >all; date >when; date -r when +%Z >>all";
    const spec = {
      copyToRoot: [B],
      extraCommands: script.replace("date >when", "touch when"),
      fakeRootCommands: "chown 3:4 d7",
    };
    const digests: string[] = [];
    for (const user of ["root", "nobody", "root"] as const) {
      const env = { TZ: "Asia/Tokyo", LC_ALL: "de_DE.UTF-8", SECRET: user };
      const wrapper = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
      expect(await stream(spec, user, user === "nobody" ? { env, wrapper } : {})).toMatchObject({ status: 0 });
      digests.push((await runOk("sha256sum", [archive()])).slice(0, 64));
    }
    expect(new Set(digests).size).toBe(1);
  });

  it("ship the store paths that only their result refers to, and plan does so, too", {
    timeout: LIMIT_MS,
  }, async () => {
    const parts = `x=${B.slice(11, 20)}; y=${B.slice(20)}`;
    const layers = async (spec: object) => {
      const { stdout, stderr } = await runCli(["plan", file(spec), "--json"], asUser("root"));
      expect(stderr).toBe("");
      const plan = JSON.parse(stdout.toString()) as { readonly layers: readonly { readonly storePaths: string[] }[] };
      return plan.layers.map(({ storePaths }) => storePaths).filter((paths) => paths.length > 0);
    };
    expect(await layers({ extraCommands: "echo nothing >x" })).toEqual([[A]]);
    for (const made of ["echo in=$x$y/bin >text", "ln -s /nix/store/$x$y/bin link", "touch $x$y", "mkdir $x$y"]) {
      const spec = { extraCommands: `${parts}; ${made}` };
      expect((await layers(spec)).flat().sort(), made).toEqual([A, B]);
      expect(await stream(spec)).toMatchObject({ status: 0 });
      expect(readFileSync(archive(), "latin1")).toContain(`${B.slice(1)}/bin/tool\0`);
    }
    // Of what is copied to the root, what is in it counts.
    const copied = { closure: { ...store.closure, roots: [] }, copyToRoot: [B] };
    expect(await layers({ ...copied, extraCommands: "true" })).toEqual([[A]]);
    expect(await layers({ ...copied, extraCommands: "rm -f etc/own; true" }).catch(() => "")).toEqual([]);
    const unknown = await stream({ extraCommands: `echo ${C} >c` });
    expect(unknown.stderr).toContain(`/c of the commands refers to ${C}, of which the closure graph knows nothing`);
    expect(unknown.status).toBe(1);
  });

  it("find what files of the spec refer to without any commands", { timeout: LIMIT_MS }, async () => {
    writeFileSync(join(directory, "unit"), `ExecStart=${B}/bin/tool\n`);
    expect(await stream({ files: [{ target: "/etc/unit", path: "unit" }] })).toMatchObject({ status: 0 });
    expect(readFileSync(archive(), "latin1")).toContain(`${B.slice(1)}/bin/tool\0`);
  });

  it.each([
    ["extraCommands", "echo so far; false || echo on >&2; exit 7", "failed (exit 7): so far / on"],
    ["extraCommands", "echo first; false; echo never", "failed (exit 1): first\n"],
    ["extraCommands", "false | true", "failed (exit 1): it said nothing"],
    ["fakeRootCommands", "no-such-program", "no-such-program: command not found"],
    ["extraCommands", "mkdir -p nix/store; echo x >nix/store/x", "made /nix/store/x, in the store"],
    ["extraCommands", "mkdir a; touch a/.wh.b", "made /a/.wh.b: in a layer, .wh. before a name deletes it"],
    ["extraCommands", "mkdir -m 000 shut; kill -9 $$", "failed (exit 137, signal 9)"],
    [
      "extraCommands",
      `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")'`,
      "the commands made /s, a socket",
    ],
  ])("fail with their last words: %s %s", { timeout: LIMIT_MS }, async (name, script, message) => {
    for (const user of ["root", "nobody"] as const) {
      const target = join(temporary, "never.tar");
      const args = ["build", file({ [name]: script }), "--to", `docker-archive:${target}`];
      const { status, stderr } = await runCli(args, asUser(user));
      expect(stderr.replace(/\/build\/support\//g, "")).toContain(message.trim());
      expect(status).toBe(1);
      expect(readdirSync(temporary)).toEqual([]);
    }
  });

  it("say which packages have the programs that are missing", { timeout: LIMIT_MS }, async () => {
    const bin = join(directory, "bin");
    mkdirSync(bin);
    const script = { fakeRootCommands: "true" };
    const env = { PATH: bin };
    expect((await stream({ extraCommands: "true" }, "root", { env })).stderr).toMatch(
      /bwrap is not on the PATH\n.*Debian package bubblewrap, or bubblewrap of nixpkgs/,
    );
    symlinkSync(tool("bwrap"), join(bin, "bwrap"));
    expect((await stream({ extraCommands: "true" }, "root", { env })).status).toBe(0);
    const { status, stderr } = await stream(script, "root", { env });
    expect(stderr).toMatch(/fakeroot is not on the PATH\n.*Debian package fakeroot, or fakeroot of nixpkgs/);
    expect(status).toBe(1);
  });

  it.each(["root", "nobody"] as const)("never run without a sandbox, for %s", { timeout: LIMIT_MS }, async (user) => {
    const wrapper = [tool("bwrap"), "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"];
    const { status, stderr } = await stream({ extraCommands: "true" }, user, { wrapper });
    expect(stderr).toMatch(/no sandbox can be made for the commands: bwrap: .*\n.*they need user namespaces/);
    expect(status).toBe(1);
  });

  it("refuse a root in which /dev is no directory", { timeout: LIMIT_MS }, async () => {
    const files = [{ target: "/dev", link: "/elsewhere" }];
    const { status, stderr } = await stream({ files, fakeRootCommands: "true", enableFakechroot: true });
    expect(stderr).toContain("with enableFakechroot, /dev has to be a directory, and is none");
    expect(status).toBe(1);
  });

  it("end with the signal that ends us, and leave nothing", { timeout: LIMIT_MS }, async () => {
    const seconds = `5${process.pid}1`;
    const running = startCli(
      ["stream", file({ extraCommands: `sleep ${seconds} & sleep ${seconds}` })],
      asUser("root"),
    );
    while ((await sleepers(seconds)) < 2) await sleep(50);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ status: 130 });
    expect(await sleepers(seconds)).toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("do not go on in the background", { timeout: LIMIT_MS }, async () => {
    const seconds = `5${process.pid}2`;
    const script = `setsid sleep ${seconds} >/dev/null 2>&1 & sleep ${seconds} & echo done >done`;
    expect(await stream({ extraCommands: script, fakeRootCommands: script })).toMatchObject({ status: 0 });
    expect(await listed()).toEqual(["-rw-r--r-- 0/0 5 done"]);
    expect(await sleepers(seconds)).toBe(0);
  });

  it("say what they say with --verbose, and how they were run", { timeout: LIMIT_MS }, async () => {
    const spec = file({ extraCommands: "echo hello", fakeRootCommands: "printf unfinished" });
    const { stderr } = await runCli(["stream", spec, "-v"], asUser("root", { stdoutFile: archive() }));
    expect(stderr).toMatch(
      /^extraCommands: in bubblewrap's sandbox\nhello\nfakeRootCommands: .*, under fakeroot\nunfinished\n/m,
    );
    expect((await stream({ extraCommands: "echo hello" })).stderr).not.toContain("hello");
  });

  it("take the programs of commandPath, and nothing else", { timeout: LIMIT_MS }, async () => {
    const spec = { closure: { ...store.closure, roots: [A] }, extraCommands: "echo x >x" };
    const missing = await stream({ ...spec, commandPath: [`${B}/bin`] });
    expect(missing.stderr).toContain(`neither bash nor sh is in ${B}/bin`);
    const own = join(store.closure.storeRoot, C, "c");
    chmodSync(join(store.closure.storeRoot, C), 0o755);
    rmSync(own);
    copyFileSync(tool("busybox"), join(store.closure.storeRoot, C, "sh"));
    const { status } = await stream({ ...spec, commandPath: [C], extraCommands: `test "$PATH" = ${C}; echo x >x` });
    expect(status).toBe(0);
  });
});

async function sleepers(seconds: string): Promise<number> {
  const { stdout } = await runCommand("ps", ["-eo", "args"]);
  return stdout
    .toString()
    .split("\n")
    .filter((line) => line === `sleep ${seconds}`).length;
}

describe.skipIf(requireTools(...REAL_STORE_TOOLS, "bwrap", "fakeroot", ...ENGINE_TOOLS.docker))(
  "commands with the root of the image as their own",
  () => {
    let docker: Docker;
    let store: RealStore;
    let directory: string;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "oci-nix-fakechroot-"));
      store = await realStore("small");
      docker = await startDocker();
    }, 600_000);

    afterAll(async () => {
      await docker?.stop();
      rmSync(directory, { recursive: true, force: true });
    }, LIMIT_MS);

    it("make absolute paths, whose owners and modes containers have", { timeout: LIMIT_MS }, async () => {
      const { storeRoot, packages } = store;
      const contents = [
        "coreutils",
        "bash",
        "libc6",
        "libtinfo6",
        "libselinux1",
        "libpcre2-8-0",
        "libacl1",
        "libattr1",
      ];
      const spec = {
        ...{ name: "fakechroot", tag: "1", closure: { storeRoot }, maxLayers: 4 },
        contents: contents.map((name) => packages[name]),
        extraCommands: "mkdir -p opt; echo by extraCommands >opt/extra",
        fakeRootCommands: [
          "mkdir -p /opt/app /tmp; cp /opt/extra /opt/app/file; chown -R 12345:12345 /opt/app",
          "chmod 1777 /tmp; chmod 2755 /opt/app; cp /bin/bash /opt/bash; chmod 4755 /opt/bash; mknod /opt/null c 1 3",
          `! (echo x >${packages.bash}/x) 2>/dev/null; test -c /dev/null; test -d /proc/self`,
          `echo ${packages.tzdata} >/opt/zone; pwd >/opt/where`,
        ].join("\n"),
        enableFakechroot: true,
      };
      const file = join(directory, "spec.json");
      writeFileSync(file, JSON.stringify(spec));
      const running = startCli(["stream", file, "--quiet"]);
      await docker.ok(["load"], { stdin: running.stdout });
      expect(await running.ended).toMatchObject({ status: 0, stderr: "" });
      const run = (...words: readonly string[]) => docker.ok([...RUN_OPTIONS, "fakechroot:1", ...words]);
      const paths = ["/opt/extra", "/opt/app", "/opt/app/file", "/opt/bash", "/tmp", "/opt/null", "/bin/bash"];
      expect((await run("stat", "-c", "%n %a %u:%g %F %t,%T", ...paths)).trim().split("\n")).toEqual([
        "/opt/extra 644 0:0 regular file 0,0",
        "/opt/app 2755 12345:12345 directory 0,0",
        "/opt/app/file 644 12345:12345 regular file 0,0",
        "/opt/bash 4755 0:0 regular file 0,0",
        "/tmp 1777 0:0 directory 0,0",
        "/opt/null 644 0:0 character special file 1,3",
        "/bin/bash 777 0:0 symbolic link 0,0",
      ]);
      expect(await run("cat", "/opt/where", "/opt/app/file")).toBe("/\nby extraCommands\n");
      // Only what the commands made refers to it.
      expect(await run("ls", `${packages.tzdata}/usr/share`)).toContain("zoneinfo");
    });
  },
);
