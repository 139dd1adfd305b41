import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestLayers, type ImagePlan, planImage } from "../../../dist/index.js";
import { openSqlitePrivate } from "../../../src/core/sqlite.js";
import { normaliseNarHash } from "../../../src/nix/hash.js";
import { nixDatabaseFile } from "../../../src/nix/local-database.js";
import { copySampleStore } from "../../support/sample-store.js";

let directory: string;
let storeRoot: string;
let objects: readonly { readonly path: string; readonly narHash: string }[];
let plan: ImagePlan;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-verify-"));
  const store = copySampleStore(directory);
  storeRoot = store.storeRoot;
  objects = JSON.parse(readFileSync(store.closureFile, "utf8"));
  const planned = await planImage({ closure: { graph: store.closureFile, storeRoot }, maxLayers: 2 });
  const digests = await digestLayers(planned, { threads: 0 });
  // As in an image file of nix2container, which knows no NAR hashes.
  const layers = planned.layers.map((layer, i) => ({ ...layer, recorded: digests[i], objects: undefined }));
  plan = { ...planned, layers: layers as ImagePlan["layers"] };
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function recordInDatabase(): void {
  const file = nixDatabaseFile("/nix/store", storeRoot);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "");
  const database = openSqlitePrivate(file);
  database.exec(`
    create table ValidPaths (id integer primary key, path text unique not null, hash text not null, narSize integer);
    create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
  `);
  for (const { path, narHash } of objects) {
    database.exec(
      `insert into ValidPaths (path, hash, narSize) values ('${path}', '${normaliseNarHash(narHash, path)}', 1)`,
    );
  }
  database.close();
}

/** Changes the first byte of a file of the store; gives its store path, and the other paths of its layer. */
function damage(): { readonly damaged: string; readonly others: readonly string[]; readonly number: number } {
  const damaged = objects.find(({ path }) => path.endsWith("-greeting-translations-1.0"))?.path as string;
  const file = join(storeRoot, damaged, "share/greeting/de/message");
  chmodSync(file, 0o644);
  const bytes = readFileSync(file);
  bytes[0] = (bytes[0] as number) ^ 1;
  writeFileSync(file, bytes);
  chmodSync(file, 0o444);
  const index = plan.layers.findIndex((layer) => layer.kind === "store" && pathsOf(layer.plan).includes(damaged));
  const layer = plan.layers[index] as Extract<ImagePlan["layers"][number], { kind: "store" }>;
  return { damaged, others: pathsOf(layer.plan).filter((path) => path !== damaged), number: index + 1 };
}

function pathsOf(layer: { readonly contents: readonly { readonly storePath: string }[] }): readonly string[] {
  return layer.contents.map(({ storePath }) => storePath);
}

async function failure(threads: number): Promise<{ readonly code: string; readonly message: string }> {
  return await digestLayers(plan, { threads }).then(
    () => expect.fail("it was verified"),
    (error) => error,
  );
}

describe.each([0, 2])("a layer that is recorded, with %i threads", (threads) => {
  it("is verified where nothing changed", async () => {
    expect(await digestLayers(plan, { threads })).toEqual(
      plan.layers.map((layer) => (layer as { readonly recorded?: unknown }).recorded),
    );
  });

  it("fails where a file changed, naming all store paths it may be in", async () => {
    const { damaged, others, number } = damage();
    const { code, message } = await failure(threads);
    expect(code).toBe("verification");
    expect(message).toMatch(new RegExp(`^layer ${number} is sha256:[0-9a-f]{64} \\(\\d+ bytes\\), but sha256:`));
    for (const path of [damaged, ...others]) expect(message).toContain(path);
  });

  it("fails naming only the store path that is not what the Nix database says", async () => {
    recordInDatabase();
    const { damaged, others } = damage();
    const { message } = await failure(threads);
    expect(message).toContain(`${damaged} changed: the NAR hash is not the Nix database's`);
    expect(others.length).toBeGreaterThan(0);
    for (const path of others) expect(message).not.toContain(path);
  });

  it("says so where the database finds nothing wrong: another build was recorded", async () => {
    recordInDatabase();
    const [first, ...rest] = plan.layers as [ImagePlan["layers"][number], ...ImagePlan["layers"]];
    const diffId = `sha256:${"0".repeat(64)}`;
    plan = { ...plan, layers: [{ ...first, recorded: { diffId, size: 1024 } } as typeof first, ...rest] };
    expect((await failure(threads)).message).toMatch(/, though all have their NAR hashes$/);
  });
});
