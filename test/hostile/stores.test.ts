import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { HostilePlace, type HostileRun } from "../support/hostile/run.js";

/** Whether everything is run, or what tells most. */
const LONG = process.env.OCI_NIX_HOSTILE_CASES !== undefined;

const place = new HostilePlace();
afterAll(() => place.close());
const PATH = "/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a";
const HASH = `sha256:${"ab".repeat(32)}`;
let count = 0;

/** A store of one path, and a closure graph that says so. */
interface HostileStore {
  readonly path: string;
  readonly flags: readonly string[];
  /** Of a disk that holds it. */
  readonly spec: string;
}

function store(make: (path: string) => void): HostileStore {
  const root = place.path(`root-${count++}`);
  const path = join(root, PATH);
  mkdirSync(path, { recursive: true });
  make(path);
  const closure = join(root, "closure.json");
  writeFileSync(closure, JSON.stringify([{ path: PATH, references: [], narHash: HASH, narSize: 1000 }]));
  const spec = join(root, "disk.json");
  writeFileSync(spec, JSON.stringify({ closure: { graph: closure, storeRoot: root } }));
  return { path, spec, flags: ["--closure", closure, "--store-root", root, "--quiet"] };
}

/** Every command that reads stores, to files where it makes some. */
function commands({ flags, spec }: HostileStore): readonly (readonly string[])[] {
  return [
    ["stream", ...flags],
    ["build", "--to", `oci:${place.path("out/layout")}`, "--no-cache", ...flags],
    ["disk", spec, "--to", place.path("out/disk.raw"), "--quiet"],
  ];
}

async function ran(args: readonly string[]): Promise<HostileRun> {
  mkdirSync(place.path("out"), { recursive: true });
  const run = await place.run(args);
  if (run.status !== 0) {
    const left = readdirSync(place.path("out"), { recursive: true, encoding: "utf8" });
    // A layout without an image, from the time before anything went wrong.
    expect(left.filter((name) => !/^layout(\/oci-layout|\/blobs(\/sha256)?)?$/.test(name))).toEqual([]);
  }
  rmSync(place.path("out"), { recursive: true });
  return run;
}

async function refused(made: HostileStore, words: RegExp, most = LONG ? 3 : 1): Promise<void> {
  for (const args of commands(made).slice(0, most)) {
    const { status, stderr } = await ran(args);
    expect(`${args[0]} ${status} ${stderr}`).toMatch(new RegExp(`^\\w+ 1 error: .*${words.source}`));
  }
}

describe("a hostile store tree", { timeout: 120_000 }, () => {
  it("with what no store object is, is refused, and nobody is waited for", async () => {
    await refused(
      store((path) => execFileSync("mkfifo", [join(path, "f")])),
      /is a FIFO/,
      3,
    );
    await refused(
      store((path) => execFileSync("mknod", [join(path, "zero"), "c", "1", "5"])),
      /is a device/,
    );
    const listen = "require('net').createServer().listen('s', () => process.kill(process.pid, 'SIGKILL'))";
    const withSocket = store((path) => {
      try {
        execFileSync(process.execPath, ["-e", listen], { cwd: path, stdio: "ignore" });
      } catch {
        // It is killed, so that the socket stays.
      }
    });
    expect(existsSync(join(withSocket.path, "s"))).toBe(true);
    await refused(withSocket, /is a socket/);
  });

  it("that is deeper than paths are long is refused", async () => {
    const deep = "import os\nfor i in range(10000):\n os.mkdir('d')\n os.chdir('d')";
    const made = store((path) => execFileSync("python3", ["-c", deep], { cwd: path }));
    try {
      await refused(made, /the path is too long/);
    } finally {
      // Node's own way needs paths.
      execFileSync("rm", ["-rf", made.path]);
    }
  });

  it("of long names, loops of links and what seems to be terabytes is listed", async () => {
    const made = store((path) => {
      writeFileSync(join(path, "n".repeat(255)), "text");
      symlinkSync("loop", join(path, "loop"));
      symlinkSync("..", join(path, "up"));
      const nested = join(path, ...Array.from({ length: 15 }, () => "d".repeat(200)));
      mkdirSync(nested, { recursive: true });
      writeFileSync(join(nested, "f"), "text");
    });
    for (const args of commands(made).slice(0, 2)) expect(await ran(args)).toMatchObject({ status: 0, stderr: "" });
    writeFileSync(join(made.path, "sparse"), "");
    truncateSync(join(made.path, "sparse"), 2 ** 43);
    expect(await ran(["plan", ...made.flags, "--json"])).toMatchObject({ status: 0, stderr: "" });
  });
});
