import { readFileSync } from "node:fs";
import { DEEP, type Shape, withStorePaths } from "../corpus.mjs";
import type { GraphObject } from "../store.mjs";
import { type Bench, Case, type Limit, listing, QUIETLY, type Summary } from "./series.mjs";

const STORE_PATHS = [1_000, 5_000, 10_000];

const STRATEGIES = ["closure-cost", "popularity", "dockertools-auto", "nix2container"];

/** Each refers to the one before it, or the last to all others; ladders have as many ways from end to end as Fibonacci's numbers. */
const SHAPES: Readonly<Record<string, Shape>> = {
  deep: DEEP,
  chain: (i) => [i - 1],
  ladder: (i) => [i - 1, i - 2],
  wide: (i, count) => (i === count - 1 ? Array.from({ length: count - 1 }, (_, j) => j) : []),
};

/** Directories and files of each. */
const ENTRIES = 5;

/** Planning closures of several shapes, making one of them, and a Nix database. */
export async function measureStorePaths(bench: Bench): Promise<readonly Limit[]> {
  const limits: Limit[] = [];
  for (const [name, shape] of Object.entries(SHAPES)) {
    const limit = new Case(`store paths (${name})`, bench);
    for (const size of bench.isShort ? STORE_PATHS.slice(0, 1) : STORE_PATHS) {
      const use = async (corpus: { readonly storeRoot: string; readonly graph?: string }) => {
        limit.begin(size, corpus);
        for (const strategy of STRATEGIES) await plan(limit, strategy, size);
        if (name === "deep") await make(limit, size);
        if (name === "chain") await database(limit, size, corpus.graph ?? "");
      };
      await withStorePaths(size, use, shape);
    }
    limits.push(limit.end());
  }
  return limits;
}

async function plan(limit: Case, strategy: string, size: number): Promise<void> {
  const script = `oci-nix plan spec.json --strategy ${strategy} --json`;
  await limit.measure(`plan, ${strategy}`, `${script} >plan.json`);
  const { layers } = limit.json<{ layers: readonly { storePaths: readonly string[] }[] }>("plan.json");
  const planned = new Set(layers.flatMap(({ storePaths }) => storePaths));
  limit.equal("the store paths planned", String(planned.size), String(size));
  await limit.expect("what differs in another run", `${script} | cmp - plan.json`, "");
}

async function make(limit: Case, size: number): Promise<void> {
  await limit.measure("stream", `oci-nix stream spec.json ${QUIETLY} 2>stream.json | cat >/dev/null`);
  await limit.measure("build", `oci-nix build spec.json --to oci:a:1 --compression none ${QUIETLY} 2>a.json`);
  const [streamed, built] = [limit.json<Summary>("stream.json"), limit.json<Summary>("a.json")];
  limit.equal("what build makes", built.imageId, streamed.imageId);
  const entries = size * ENTRIES + built.layers.length * 2;
  await limit.expect("what tar lists", `{ ${listing("a")}; } | wc -l`, entries);
}

async function database(limit: Case, size: number, graph: string): Promise<void> {
  const objects = JSON.parse(readFileSync(graph, "utf8")) as readonly GraphObject[];
  const hash = (i: number) => `sha256:${String(i).padStart(52, "0")}`;
  limit.write(
    "hashed.json",
    objects.map((object, i) => ({ ...object, narHash: hash(i) })),
  );
  await limit.measure("nix-db", "oci-nix nix-db hashed.json --to root --json >db.json");
  const file = "root/nix/var/nix/db/db.sqlite";
  await limit.expect("what SQLite says", `sqlite3 ${file} 'pragma integrity_check; pragma foreign_key_check'`, "ok");
  const settings =
    'NIX_REMOTE="local?root=$PWD/root" NIX_STATE_DIR=$PWD/state NIX_CONF_DIR=/nonexistent ' +
    "NIX_CONFIG=$'build-users-group =\\nsubstituters ='";
  const last = objects.at(-1)?.path ?? "";
  await limit.expect("what Nix reaches", `${settings} nix-store -q --requisites ${last} | wc -l`, size);
}
