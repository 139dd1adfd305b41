import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CliOptions, runCli, startCli } from "../support/cli.js";
import { type CommandResult, expectOk, runOk } from "../support/command.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 120_000;
const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";

describe.skipIf(requireTools("mke2fs", "qemu-img"))("postVM", () => {
  let directory: string;
  let where: string;
  let store: SampleStore;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-post-"));
    store = copySampleStore(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  beforeEach(() => {
    where = join(directory, "where");
    rmSync(where, { recursive: true, force: true });
    mkdirSync(where);
  });

  function args(postVM: string, rest: object = {}): readonly string[] {
    const closure = { graph: store.closureFile, storeRoot: store.storeRoot, roots: [GREETING] };
    const spec = join(directory, "disk.json");
    const small = { partitionTableType: "none", additionalSpace: "1M", minimise: true };
    writeFileSync(spec, JSON.stringify({ closure, ...small, postVM, ...rest }));
    return ["disk", spec, "--to", where, "--json"];
  }
  const make = async (postVM: string, rest: object = {}, options: CliOptions = {}): Promise<CommandResult> =>
    await runCli(args(postVM, rest), { timeoutMs: LIMIT_MS, ...options });
  const summary = (result: CommandResult) => JSON.parse(expectOk(result, "oci-nix disk").stderr) as object;

  it("finds the image in its format under its name, may change it, and leaves files beside it", {
    timeout: LIMIT_MS,
  }, async () => {
    const script = `qemu-img info "$diskImage" >"$out/info"
basename "$diskImage" >"$out/name"
mkdir "$out/nix-support"; echo file >"$out/nix-support/products"
echo in a temporary directory >somewhere
qemu-img resize -q "$diskImage" 1G`;
    expect(summary(await make(script, { format: "qcow2", baseName: "disk" }))).toMatchObject({
      file: join(where, "disk.qcow2"),
      companions: ["info", "name", "nix-support"].map((name) => join(where, name)),
    });
    expect(readdirSync(where).sort()).toEqual(["disk.qcow2", "info", "name", "nix-support"]);
    expect(readFileSync(join(where, "info"), "utf8")).toContain("file format: qcow2");
    expect(readFileSync(join(where, "name"), "utf8")).toBe("disk.qcow2\n");
    expect(await runOk(tool("qemu-img"), ["info", join(where, "disk.qcow2")])).toContain("virtual size: 1 GiB");
  });

  it("sees nothing of the caller's environment", { timeout: LIMIT_MS }, async () => {
    const env = { HOME: "/home/canary", CANARY: "canary", LC_ALL: "xx_canary", TZ: "canary", BASH_ENV: "/canary" };
    const wrapper = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
    summary(await make('env >"$out/environment"; umask >"$out/umask"; cat >"$out/input"', {}, { env, wrapper }));
    const environment = readFileSync(join(where, "environment"), "utf8");
    expect(environment).not.toContain("canary");
    expect(environment).toMatch(/^HOME=\/homeless-shelter$/m);
    expect(environment).toMatch(/^PATH=\/\S+$/m);
    expect(readFileSync(join(where, "umask"), "utf8")).toMatch(/^0*22\n$/);
    expect(readFileSync(join(where, "input"), "utf8")).toBe("");
  });

  it("may put something else in the image's place", { timeout: LIMIT_MS }, async () => {
    const made = summary(await make('qemu-img convert -f raw -O vpc "$diskImage" "$out/disk.vhd"; rm "$diskImage"'));
    expect(made).toMatchObject({ companions: [join(where, "disk.vhd")] });
    expect(made).not.toHaveProperty("file");
    expect(readdirSync(where)).toEqual(["disk.vhd"]);
  });

  it.each([
    ["it fails", "echo why >&2; false; echo not here", /postVM failed \(exit 1\).*why/s],
    ["it uses what is not set", 'echo "$nothing"', /postVM failed \(exit \d+\).*nothing/s],
    ["it leaves nothing", 'rm "$diskImage"', /postVM removed the image, and left nothing in its place/],
  ])("is an error, and there is no file, where %s", { timeout: LIMIT_MS }, async (_, script, message) => {
    const { status, stderr } = await make(`echo x >"$out/other"; rm "$out/other"; ${script}`);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(message) });
    expect(stderr).not.toMatch(/internal error|not here$/);
    expect(readdirSync(where)).toEqual([]);
  });

  it("replaces no file but the image", { timeout: LIMIT_MS }, async () => {
    for (const name of ["nixos.img", "b"]) writeFileSync(join(where, name), "as it was");
    const { status, stderr } = await make('echo x >"$out/a"; echo x >"$out/b"');
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(/\/b is there already/) });
    expect(readdirSync(where).sort()).toEqual(["b", "nixos.img"]);
    for (const name of ["nixos.img", "b"]) expect(readFileSync(join(where, name), "utf8")).toBe("as it was");
  });

  it("is ended with the program that runs it, and nothing is left", { timeout: LIMIT_MS }, async () => {
    const running = startCli([...args(`touch "$diskImage.begun"; sleep 1000`)]);
    running.stdout.resume();
    const begun = () =>
      readdirSync(where, { recursive: true, encoding: "utf8" }).some((name) => name.endsWith("nixos.img.begun"));
    while (!begun()) await sleep(20);
    running.child.kill("SIGTERM");
    expect((await running.ended).status).toBe(143);
    expect(readdirSync(where)).toEqual([]);
  });
});
