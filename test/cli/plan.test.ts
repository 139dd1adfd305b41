import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";

let directory: string;
let store: SampleStore;

const path = (name: string, release = 1) => `/nix/store/${String(release).padStart(32, "0")}-${name}`;

/** A closure graph: name → NAR size and the names it refers to; names in `changed` are of another release. */
function graphFile(
  file: string,
  objects: Readonly<Record<string, readonly [number | undefined, ...string[]]>>,
  changed: readonly string[] = [],
): string {
  const pathOf = (name: string) => path(name, changed.includes(name) ? 2 : 1);
  const graph = Object.entries(objects).map(([name, [narSize, ...references]]) => ({
    path: pathOf(name),
    ...(narSize === undefined ? {} : { narSize }),
    references: references.map(pathOf),
  }));
  writeFileSync(join(directory, file), JSON.stringify(graph));
  return join(directory, file);
}

const APP = { libc: [1000], ssl: [300, "libc"], app: [10, "ssl"], web: [20, "app", "libc"] } as const;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-plan-"));
  store = copySampleStore(directory);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const plan = (...args: readonly string[]) => runCli(["plan", ...args], { cwd: directory });
const textOf = (result: CommandResult) => String(expectOk(result, "plan").stdout);
const jsonOf = (result: CommandResult) => JSON.parse(textOf(result));

describe("oci-nix plan", () => {
  it("shows a line for each layer, under a heading, and sums them up", async () => {
    const lines = textOf(await plan(graphFile("app.json", APP), "--max-layers", "3")).split("\n");
    expect(lines[0]).toMatch(/^layer +bytes +changes +per release +holds +why$/);
    expect(lines[1]).toContain(path("libc"));
    expect(lines[3]).toMatch(/^ {4}3 +30 B .* 2 store paths +cheapest together$/);
    // Columns are as wide as what stands in them.
    expect(new Set(lines.slice(0, 4).map((line) => /holds|\/nix|2 store/.exec(line)?.index)).size).toBe(1);
    expect(lines[5]).toMatch(/^3 layers of 4 store paths, 1\.33 kB; a release is expected to push /);
  });

  it("gives programs all figures, with the keys there always were", async () => {
    const found = jsonOf(await plan(graphFile("app.json", APP), "--max-layers", "3", "--json"));
    expect(found).toMatchObject({ strategy: expect.any(String), maxLayers: 3 });
    expect(found.layers[2]).toMatchObject({ storePaths: [path("app"), path("web")], narSize: 30 });
    for (const { chanceOfChange, expectedBytes, reason } of found.layers) {
      expect(chanceOfChange).toBeGreaterThan(0);
      expect(chanceOfChange).toBeLessThanOrEqual(1);
      expect(expectedBytes).toBeGreaterThan(0);
      expect(reason).not.toBe("");
    }
    expect(Object.keys(found)).toEqual(["strategy", "maxLayers", "layers"]);
  });

  it("leaves sizes out that the graph does not tell", async () => {
    const file = graphFile("sizeless.json", { libc: [undefined], app: [10, "libc"] });
    expect(textOf(await plan(file))).toMatch(/^ {4}1 +\? /m);
    const { layers } = jsonOf(await plan(file, "--json"));
    expect(layers[0]).not.toHaveProperty("narSize");
    const refused = await plan(file, "--budget", "1MB");
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("does not tell all sizes")]);
  });

  it("compares with a previous image: what an update keeps, uploads and drops", async () => {
    const build = ["build", store.closureFile, "--store-root", store.storeRoot, "--to", `oci:${directory}/before:1`];
    expectOk(await runCli(build), "build");
    const args = [store.closureFile, "--store-root", store.storeRoot, "--previous", `oci:${directory}/before:1`];
    const same = jsonOf(await plan(...args, "--json"));
    expect(new Set(same.layers.map(({ fate }: { readonly fate: string }) => fate))).toEqual(new Set(["kept"]));
    expect(same.update).toMatchObject({
      source: expect.stringContaining("before:1"),
      kept: { layers: same.layers.length },
      uploaded: { layers: 0, bytes: 0 },
      dropped: { layers: 0, bytes: 0 },
      idealBytes: 0,
    });
    const gone = same.layers[0].storePaths[0];
    const less = await plan(...args, "--exclude", gone);
    expect(textOf(less)).toMatch(/^ {2}drops +1 layer, [\d.]+ k?B as stored there$/m);
    expect(textOf(less)).toMatch(/^layer .* update +holds/);
  });
});

describe("oci-nix plan --previous", () => {
  it("says in its JSON that there is no previous image yet", async () => {
    const file = graphFile("app.json", APP);
    const found = jsonOf(await plan(file, "--previous", "oci:not-yet:1", "--json"));
    expect([found.isFirst, found.update]).toEqual([true, undefined]);
    expect(jsonOf(await plan(file, "--json")).isFirst).toBeUndefined();
  });
});

describe("oci-nix plan --exact", () => {
  it("needs to know where the previous image is, to say which blobs are there", async () => {
    const build = ["build", store.closureFile, "--store-root", store.storeRoot, "--to", `oci:${directory}/bare:1`];
    expectOk(await runCli(build), "build");
    const args = [store.closureFile, "--store-root", store.storeRoot, "--exact", "--compression", "none"];
    const bare = await plan(...args, "--previous", join(directory, "bare"));
    expect([bare.status, bare.stderr]).toEqual([2, expect.stringContaining("--exact cannot tell which blobs")]);
    const { exact } = jsonOf(await plan(...args, "--previous", `oci:${directory}/bare:1`, "--json"));
    expect(exact).toMatchObject({ codec: "none", uploadBytes: 0, manifest: { isHeld: true } });
    const { exact: first } = jsonOf(await plan(...args, "--previous", `oci:${directory}/missing:1`, "--json"));
    expect(first.uploadBytes).toBeGreaterThan(first.configBytes);
  });
});

describe("oci-nix plan --why", () => {
  it("explains a store path that a part of its name stands for", async () => {
    const file = graphFile("app.json", APP);
    const text = textOf(await plan(file, "--why", "ssl", "--max-layers", "2"));
    expect(text).toContain(path("ssl"));
    expect(text).toMatch(/in layer 1 of 2, one of 2: cheapest together/);
    expect(text).toMatch(/^Referred to by 1, and by 2 in all\n {2}.*-app$/m);
    expect(text).toMatch(/^A shortest way to it\n {2}\S+-web\n {4}\S+-app\n {6}\S+-ssl$/m);
    expect(text).toMatch(/^Refers to 1, and to 1 in all$/m);
    expect(text).toMatch(/in layer 2 \(2 store paths\)\n.* in a layer of its own, one more$/m);
    const json = jsonOf(await plan(file, "--why", path("ssl"), "--max-layers", "2", "--json"));
    expect(json).toMatchObject({
      storePath: path("ssl"),
      dependants: 2,
      layers: [{ layer: 1 }],
      elsewhere: [{ layer: 2, moreBytes: expect.any(Number) }],
    });
  });

  it("asks for more where several could be meant, and says where none is", async () => {
    const file = graphFile("app.json", APP);
    const several = await plan(file, "--why", "000");
    expect([several.status, several.stderr]).toEqual([2, expect.stringMatching(/any of 4 store paths: .*-app, /)]);
    const none = await plan(file, "--why", "curl");
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("no store path of the closure")]);
  });
});

describe("oci-nix plan --exact", () => {
  it("packs as build does where the previous image is, and sums up what was made", async () => {
    const input = [store.closureFile, "--store-root", store.storeRoot];
    const place = `oci:${join(directory, "exact")}:1`;
    expectOk(await runCli(["build", ...input, "--to", place, "--no-cache"]), "build");
    const same = textOf(await plan(...input, "--exact", "--previous", place, "--no-cache"));
    expect(same).toMatch(/^ {2}uploads {2}0 layers, 0 B packed$/m);
    expect(same).toMatch(/^packed by none: 0 bytes of blobs to upload/m);
    const later = ["--mtime", "1980-01-01T00:00:00Z"];
    const other = textOf(await plan(...input, "--exact", "--previous", place, "--no-cache", ...later));
    expect(other).toMatch(/^ {2}keeps {4}0 layers, 0 B packed$/m);
  });
});

describe("oci-nix plan --html", () => {
  it("writes the page beside what it prints, whole or not at all", async () => {
    const file = graphFile("app.json", APP);
    expect(textOf(await plan(file, "--html", "plan.html", "--json"))).toMatch(/^\{/);
    expect(readFileSync(join(directory, "plan.html"), "utf8")).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
    const nowhere = await plan(file, "--html", "missing/plan.html");
    expect([nowhere.status, String(nowhere.stdout)]).toEqual([1, ""]);
    expect(nowhere.stderr).toContain("there is no directory");
    expect(readdirSync(directory).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("oci-nix plan --budget", () => {
  it("ends with 0 within budgets and with 3 over one, the plan being shown all the same", async () => {
    const file = graphFile("app.json", APP);
    expectOk(await plan(file, "--budget", "4layers", "--budget", "4 layers", "--budget", "1.33kB"), "plan");
    const over = await plan(file, "--budget", "3layers", "--budget", "1329", "--budget", "1GB");
    expect(over.status).toBe(3);
    expect(over.stderr).toContain("over budget: 4 layers, and 3 layers are allowed; 1.33 kB (1330 bytes) in all");
    expect(String(over.stdout)).toContain("4 layers of 4 store paths");
    const json = await plan(file, "--budget", "3layers", "--json");
    expect(json.status).toBe(3);
    expect(JSON.parse(String(json.stdout)).budgets).toEqual([{ budget: "3layers", limit: 3, found: 4, kept: false }]);
    expect(JSON.parse(json.stderr)).toMatchObject({ code: "limit" });
  });

  it.each(["layers", "x", "-1layers", "40 slayers", "1.5layers"])(
    "refuses %j before it reads anything",
    async (budget) => {
      const result = await plan("/no/such/file", `--budget=${budget}`);
      expect([result.status, result.stderr]).toEqual([
        2,
        expect.stringContaining("neither a number of layers nor a size"),
      ]);
    },
  );
});

describe("oci-nix plan --compare", () => {
  it("puts strategies side by side", async () => {
    const text = textOf(
      await plan(graphFile("app.json", APP), "--compare", "popularity,nix2container", "--max-layers", "2"),
    );
    expect(text).toMatch(/^strategy +layers +biggest +per release\npopularity +2 +1\.00 kB .*\nnix2container +2 /);
  });

  it("counts nothing without sizes", async () => {
    const unsized = graphFile("unsized.json", { libc: [undefined], app: [10, "libc"] });
    const sized = graphFile("sized.json", { libc: [5], app: [10, "libc"] });
    const result = await plan(sized, "--history", unsized, "--compare", "popularity");
    expect([result.status, result.stderr]).toEqual([1, expect.stringContaining("-libc is not known")]);
  });

  it("counts what a history of releases uploads, against the ideal", async () => {
    const before = graphFile("before.json", APP);
    const after = graphFile("after.json", APP, ["app", "web"]);
    const args = [after, "--history", before, "--compare", "popularity", "--max-layers", "2"];
    const { strategies } = jsonOf(await plan(...args, "--json"));
    // Under two layers libc is alone and all others are together.
    expect(strategies[0].fresh).toMatchObject({ uploaded: 330, ideal: 30, ratio: 11 });
    expect(strategies[0].fresh.releases).toHaveLength(2);
    expect(textOf(await plan(...args))).toMatch(/popularity +2 .* 330 B +11\.00×/);
  });

  it.each([
    [["--compare", "populerity"], /did you mean popularity/],
    [["--compare", ","], /names no strategy/],
    [["--html", "-"], /standard output is the plan's/],
    [["--history", "x.json"], /--history is for --compare/],
    [["--compare", "popularity", "--why", "libc"], /do not go together/],
    [["--compare", "popularity", "--budget", "1layer"], /do not go together/],
    [["--compression", "zstd"], /--compression is for --exact/],
  ])("refuses %j", async (flags, message) => {
    const result = await plan(graphFile("app.json", APP), ...flags);
    expect([result.status, result.stderr]).toEqual([2, expect.stringMatching(message)]);
  });
});
