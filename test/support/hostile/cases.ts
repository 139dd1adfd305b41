import { spawn } from "node:child_process";
import { closeSync, cpSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { hexSha256, packTar } from "../confs.js";
import { type HttpServer, startHttpServer } from "../http-server.js";
import { LayoutFixture, OCI } from "../layouts.js";
import { Database } from "./seeds.js";

/** A line of testdata/hostile/cases.json. */
export interface HostileCase {
  /** In testdata/hostile. */
  readonly file: string;
  readonly what: string;
  /** The command line; see testdata/hostile/README.md for what stands in braces. */
  readonly run: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The code of the error; absent where there is none. */
  readonly code?: string;
  /** By default that of the code, or 0. */
  readonly status?: number;
  /** A piece of the error's message, or of what is printed. */
  readonly says: string;
}

/** How a case ended. */
export interface CaseRun {
  readonly status: number;
  /** Of objects that are there in every program, what they have that they should not. */
  readonly polluted: readonly string[];
  /** Of the process so far. */
  readonly peakMb: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Files that are in its output directory. */
  readonly made: readonly string[];
}

/**
 * Runs the command lines of all cases in one process.
 * @param directory an empty one
 * @returns how each ended that did; fewer than there are cases where one ended the process, or `ms` were over
 */
export async function runCases(
  cases: readonly HostileCase[],
  source: string,
  directory: string,
  ms: number,
): Promise<{ readonly runs: readonly CaseRun[]; readonly signal: string | null }> {
  const registry = await startHttpServer(() => ({ status: 401, headers: { "www-authenticate": "Basic realm=r" } }));
  const made: HostileMaker = { directory, registry };
  const lines = await Promise.all(cases.map((one, n) => prepared(one, join(source, one.file), n, made)));
  const list = join(directory, "lines.json");
  writeFileSync(list, JSON.stringify(lines));
  for (const name of ["temporary", "home"]) mkdirSync(join(directory, name));
  const [out, err] = ["stdout", "stderr"].map((name) => openSync(join(directory, name), "w")) as [number, number];
  const child = spawn(process.execPath, [join(import.meta.dirname, "run-cases.mjs"), list], {
    stdio: ["ignore", out, err],
    cwd: join(directory, "home"),
    env: {
      PATH: process.env.PATH,
      HOME: join(directory, "home"),
      TMPDIR: join(directory, "temporary"),
      XDG_CACHE_HOME: join(directory, "cache"),
    },
  });
  const watchdog = setTimeout(() => child.kill("SIGKILL"), ms);
  const signal = await new Promise<string | null>((resolve) => child.on("exit", (_, by) => resolve(by)));
  clearTimeout(watchdog);
  closeSync(out);
  closeSync(err);
  await registry.stop();
  const [stdout, stderr] = ["stdout", "stderr"].map((name) => parts(readFileSync(join(directory, name), "utf8")));
  const runs = (stderr ?? []).map(({ text, end }, n) => ({
    ...(JSON.parse(end) as Pick<CaseRun, "status" | "polluted" | "peakMb">),
    stdout: stdout?.[n]?.text ?? "",
    stderr: text,
    made: filesIn(join(directory, `out-${n}`)),
  }));
  return { runs, signal };
}

/** All names in a directory, those of a layout without an image left out. */
function filesIn(directory: string): readonly string[] {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return names.filter((name) => !statSync(join(directory, name)).isDirectory() && basename(name) !== "oci-layout");
}

function parts(text: string): readonly { readonly text: string; readonly end: string }[] {
  return [...text.matchAll(/([\s\S]*?)\0(\{"status":.*\})\n/g)].map(([, before = "", end = ""]) => ({
    text: before,
    end,
  }));
}

/** A closure graph that nothing is wrong with. */
const GRAPH = join(import.meta.dirname, "../../../testdata/closures/registration.txt");

interface HostileMaker {
  readonly directory: string;
  readonly registry: HttpServer;
}

async function prepared(
  { run, env = {} }: HostileCase,
  file: string,
  n: number,
  { directory, registry }: HostileMaker,
): Promise<{ readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> }> {
  const place = join(directory, `case-${n}`);
  mkdirSync(place);
  mkdirSync(join(directory, `out-${n}`));
  const own = join(place, basename(file));
  cpSync(file, own);
  cpSync(GRAPH, join(place, "graph"));
  const bytes = readFileSync(file);
  const makers: Readonly<Record<string, () => string | Promise<string>>> = {
    "{}": () => own,
    "{out}": () => join(directory, `out-${n}`),
    "{graph}": () => GRAPH,
    "{registry}": () => registry.host,
    "{store}": () => storeOf(bytes, join(place, "root")),
    "{drv}": () => {
      const root = join(place, "root");
      mkdirSync(join(root, "nix/store"), { recursive: true });
      cpSync(file, join(root, "nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a.drv"));
      return `/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a.drv --store-root ${root}`;
    },
    "{layer}": async () => {
      const archive = join(place, "image.tar");
      writeFileSync(archive, await archiveOf(bytes, file.endsWith(".gz")));
      return `docker-archive:${archive}`;
    },
    "{index}": () => {
      const layout = new LayoutFixture().write(join(place, "layout"));
      writeFileSync(join(layout, "index.json"), bytes);
      return `oci:${layout}`;
    },
    "{manifest}": () => layoutOf((layout) => layout.put(bytes, `${OCI}.manifest.v1+json`), place),
    "{config}": () =>
      layoutOf((layout) => {
        const config = layout.put(bytes, `${OCI}.config.v1+json`);
        const mediaType = `${OCI}.manifest.v1+json`;
        return layout.put({ schemaVersion: 2, mediaType, config, layers: [] }, mediaType);
      }, place),
  };
  const filled = async (word: string): Promise<string> => {
    let text = word;
    for (const [name, make] of Object.entries(makers)) {
      if (text.includes(name)) text = text.replaceAll(name, await make());
    }
    return text;
  };
  const words = await Promise.all([...run.split(" "), "--json"].map(filled));
  const args = words.flatMap((word) => word.split(" "));
  const values = await Promise.all(Object.entries(env).map(async ([name, value]) => [name, await filled(value)]));
  return { args, env: Object.fromEntries(values) };
}

function layoutOf(add: (layout: LayoutFixture) => ReturnType<LayoutFixture["put"]>, place: string): string {
  const layout = new LayoutFixture();
  layout.add(add(layout), "app:1");
  return `oci:${layout.write(join(place, "layout"))}`;
}

/** A docker-archive of one layer. */
function archiveOf(stored: Buffer, isPacked: boolean): Promise<Buffer> {
  const diffId = `sha256:${hexSha256(isPacked ? unpacked(stored) : stored)}`;
  const config = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [diffId] } };
  return packTar([
    ["layer", stored],
    ["config.json", JSON.stringify(config)],
    ["manifest.json", JSON.stringify([{ Config: "config.json", RepoTags: ["app:1"], Layers: ["layer"] }])],
  ]);
}

/** Where it cannot be unpacked, it does not matter what it is. */
function unpacked(stored: Buffer): Buffer {
  try {
    return gunzipSync(stored);
  } catch {
    return stored;
  }
}

/** A store whose database is made by SQL. */
function storeOf(sql: Buffer, root: string): string {
  const file = join(root, "nix/var/nix/db/db.sqlite");
  mkdirSync(dirname(file), { recursive: true });
  const database = new Database(":memory:");
  database.exec(sql.toString("utf8"));
  writeFileSync(file, database.serialize());
  database.close();
  return root;
}
