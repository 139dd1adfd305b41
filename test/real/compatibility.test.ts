import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliOptions, runCli, startCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import {
  onlyColumns,
  type Row,
  readDocument,
  reasonIn,
  withoutReasons,
  writeDocument,
} from "../support/compatibility.js";
import { CLIENTS, type Client, type Medium, type Outcome, VIA_DOCKER } from "../support/compatibility-clients.js";
import { copySampleStore, type SampleStore } from "../support/sample-store.js";
import { requireTools } from "../support/tools.js";

// What docs/compatibility.md says of other programs is what is found here. UPDATE_COMPATIBILITY=1 fills the document anew.

const LIMIT_MS = 120_000;
const UPDATE = Boolean(process.env.UPDATE_COMPATIBILITY);
const COMPRESSIONS = ["none", "gzip", "zstd"] as const;
const GREETING = "Hello from a Nix store, in an image made by oci-nix.\n";
const ROOT = "/nix/store/ihlffjdbh63dzhp7sm3pvv93cmrwbi0g-greeting-environment-1.0";
const SEVERAL = "two images under three names";

interface Image {
  readonly imageId: string;
  readonly diffIds: readonly string[];
}

/** What is tried on all clients, one row of the table each. */
interface Trial {
  readonly title: string;
  readonly layers: string;
  readonly expected: readonly Image[];
  /** Undefined for what only a client with `takeWritten` has. */
  readonly medium?: Medium;
  readonly write?: (environment: Readonly<Record<string, string>>) => Promise<void>;
  /** Why we do not write it at all. */
  readonly notWritten?: string;
  /** Whether it has a row of its own in the table of names. */
  readonly isNameShown: boolean;
}

let directory: string;
let store: SampleStore;
let app: Image;
let other: Image;
const trials: Trial[] = [];
const versions: Record<string, string> = {};
const outcomes = new Map<Trial, Record<string, Outcome>>();

beforeAll(async () => {
  // Podman names an image after its layout's directory, and image names are in lower case.
  directory = join(tmpdir(), `compatibility-${randomBytes(8).toString("hex")}`);
  mkdirSync(directory, { mode: 0o700 });
  store = copySampleStore(directory);
  await write();
}, LIMIT_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("what clients make of our images", () => {
  for (const [name, { tools, start }] of Object.entries(CLIENTS)) {
    it.skipIf(requireTools(...tools))(
      `${name} has all of an image that it accepts`,
      async () => {
        const client = await start();
        try {
          for (const trial of trials) await tryOn(client, name, trial);
          versions[name] = client.version;
        } finally {
          await client.stop();
        }
      },
      LIMIT_MS,
    );
  }

  it("is what docs/compatibility.md says", () => {
    const clients = Object.keys(versions);
    const { table, reasons } = tableOf(clients);
    const names = nameTableOf(clients);
    if (UPDATE) {
      expect(clients, "the document is about all of them").toEqual(Object.keys(CLIENTS));
      const { [VIA_DOCKER]: _, ...once } = versions;
      writeDocument({ versions: once, table, names, reasons });
    }
    const document = readDocument();
    const message = `the document was filled with ${document.versions}; here are ${JSON.stringify(versions)}. Fill it anew with UPDATE_COMPATIBILITY=1`;
    expect(withoutReasons(table), message).toEqual(onlyColumns(document.table, clients));
    expect(names, message).toEqual(onlyColumns(document.names, clients));
  });
});

describe("oci-nix copy", () => {
  it.each(["none", "gzip"])("brings a layout's image back from a docker-archive, layers %s", async (compression) => {
    const layout = join(directory, `app-${compression}`);
    const archive = join(directory, `there-${compression}.tar`);
    const back = join(directory, `back-${compression}`);
    await ok(["copy", `oci:${layout}:1`, `docker-archive:${archive}`]);
    await ok(["copy", `docker-archive:${archive}`, `oci:${back}:1`]);
    expect(blobsOf(back)).toEqual(blobsOf(layout));
  });

  it.each(COMPRESSIONS)("brings a layout's image back from an oci-archive, layers %s", async (compression) => {
    const layout = join(directory, `app-${compression}`);
    const archive = join(directory, `there-${compression}.oci.tar`);
    const back = join(directory, `back-${compression}-oci`);
    await ok(["copy", `oci:${layout}:1`, `oci-archive:${archive}`]);
    await ok(["copy", `oci-archive:${archive}`, `oci:${back}:1`]);
    expect(blobsOf(back)).toEqual(blobsOf(layout));
  });

  it("packs zstd layers anew for a docker-archive, with the diff_ids they had", async () => {
    const archive = join(directory, "packed-anew.tar");
    const back = join(directory, "back-packed-anew");
    await ok(["copy", `oci:${join(directory, "app-zstd")}:1`, `docker-archive:${archive}`, "--compression", "gzip"]);
    await ok(["copy", `docker-archive:${archive}`, `oci:${back}:1`, "--compression", "none"]);
    expect(blobsOf(back)).toEqual(blobsOf(join(directory, "app-none")));
  });

  it.each(["build", "copy"])("refuses zstd layers in a docker-archive and leaves nothing: %s", async (command) => {
    const archive = join(directory, `refused-${command}.tar`);
    const to = `docker-archive:${archive}`;
    const args =
      command === "build"
        ? ["build", ...inputArgs("app", "1"), "--compression", "zstd", "--to", to]
        : ["copy", `oci:${join(directory, "app-zstd")}:1`, to];
    const { status, stderr } = await runCli(args);
    expect(status).not.toBe(0);
    expect(stderr).toContain("Docker's image format has no zstd layers");
    expect(existsSync(archive)).toBe(false);
  });
});

async function tryOn(client: Client, name: string, trial: Trial): Promise<void> {
  const { medium, write: written, expected, title, layers } = trial;
  const found = outcomes.get(trial) ?? {};
  outcomes.set(trial, found);
  const outcome = medium === undefined ? written && (await client.takeWritten?.(written)) : await client.take(medium);
  if (outcome === undefined) return;
  found[name] = outcome;
  if (!("images" in outcome)) return;
  const what = `${name}: ${title}, layers ${layers}`;
  for (const { imageId, diffIds, output } of outcome.images) {
    const image = expected.find((one) => one.imageId === imageId);
    expect(diffIds, `${what}: ${imageId}`).toEqual(image?.diffIds);
    expect(output ?? GREETING, what).toBe(GREETING);
  }
  const taken = new Set(outcome.images.map(({ imageId }) => imageId));
  expect([...taken].sort(), what).toEqual(expected.map(({ imageId }) => imageId).sort());
}

function tableOf(clients: readonly string[]): { readonly table: readonly Row[]; readonly reasons: readonly string[] } {
  const reasons: string[] = [];
  const because = (word: string, message: string) => {
    const reason = reasonIn(message);
    if (!reasons.includes(reason)) reasons.push(reason);
    return `${word} [${reasons.indexOf(reason) + 1}]`;
  };
  const cell = ({ notWritten }: Trial, outcome: Outcome | undefined) => {
    if (notWritten !== undefined) return because("not written", notWritten);
    if (outcome === undefined) return "–";
    return "images" in outcome ? "yes" : because("no", outcome.refused);
  };
  const table = trials.map((trial) => ({
    medium: trial.title,
    layers: trial.layers,
    cells: Object.fromEntries(clients.map((name) => [name, cell(trial, outcomes.get(trial)?.[name])])),
  }));
  return { table, reasons };
}

function nameTableOf(clients: readonly string[]): readonly Row[] {
  const cell = (outcome: Outcome | undefined) => {
    if (outcome === undefined || !("images" in outcome)) return "–";
    return outcome.images.map(({ name }) => `\`${withoutChance(name ?? "")}\``).join(", ");
  };
  const naming = clients.filter((name) => !name.startsWith("skopeo"));
  return trials
    .filter(({ isNameShown }) => isNameShown)
    .map((trial) => ({
      medium: trial.title,
      layers: trial.layers,
      cells: Object.fromEntries(naming.map((name) => [name, cell(outcomes.get(trial)?.[name])])),
    }));
}

/** Names that hold the directory's or the day's. */
function withoutChance(name: string): string {
  return name
    .replace(/^localhost\/.*compatibility-[^:]*/, "localhost/DIR")
    .replace(/^import-\d{4}-\d\d-\d\d/, "import-DATE");
}

/** Writes all media. */
async function write(): Promise<void> {
  const at = (name: string) => join(directory, name);
  const add = (
    title: string,
    layers: string,
    expected: readonly Image[],
    rest: Omit<Trial, "title" | "layers" | "expected" | "isNameShown">,
  ) => trials.push({ title, layers, expected, isNameShown: layers === "none", ...rest });
  const appArgs = inputArgs("app", "1");
  const only = [undefined];
  for (const compression of COMPRESSIONS) {
    const to = [`oci:${at(`app-${compression}`)}:1`, `oci-archive:${at(`${compression}.oci.tar`)}`];
    if (compression !== "zstd") to.push(`docker-archive:${at(`${compression}.tar`)}`);
    app = await build([...appArgs, "--compression", compression, ...to.flatMap((one) => ["--to", one])]);
  }
  for (const layers of COMPRESSIONS) {
    add("`oci:DIR:1`", layers, [app], { medium: { kind: "oci", directory: at(`app-${layers}`), refs: ["1"] } });
  }
  for (const layers of COMPRESSIONS) {
    const file = at(`${layers}.oci.tar`);
    add("`oci-archive:FILE`", layers, [app], { medium: { kind: "oci-archive", file, refs: only } });
  }
  for (const layers of ["none", "gzip"]) {
    const file = at(`${layers}.tar`);
    add("`docker-archive:FILE`", layers, [app], { medium: { kind: "docker-archive", file, refs: only } });
  }
  const { stderr } = await runCli([
    "build",
    ...appArgs,
    "--compression",
    "zstd",
    "--to",
    `docker-archive:${at("zstd.tar")}`,
  ]);
  add("`docker-archive:FILE`", "zstd", [app], { notWritten: stderr.split("\n")[0] ?? "" });
  const piped = (...args: readonly string[]): Medium => ({
    kind: "docker-archive",
    open: () => startCli([...args, "--quiet"]),
    refs: only,
  });
  for (const layers of ["none", "gzip"]) {
    const medium = piped("build", ...appArgs, "--compression", layers, "--to", "docker-archive:-");
    add("`build --to docker-archive:-`, piped", layers, [app], { medium });
  }
  const copy = ["copy", `oci:${at("app-zstd")}:1`, "docker-archive:-:app:1", "--compression", "none"];
  add("`copy oci:DIR:1 docker-archive:-:app:1`, piped", "zstd to none", [app], { medium: piped(...copy) });
  add("`stream`, piped", "none", [app], { medium: piped("stream", ...appArgs) });

  const several = `oci:${at("several")}`;
  await build([...appArgs, "--to", several]);
  for (const tag of ["2", "latest"]) {
    other = await build([...inputArgs("registry.example/other", tag), "--env", "A=1", "--to", several]);
  }
  await ok(["copy", several, `oci-archive:${at("several.oci.tar")}`, `docker-archive:${at("several.tar")}`]);
  const both = [app, other];
  const refs = ["app:1", "registry.example/other:2", "registry.example/other:latest"];
  add(`\`oci:DIR\`, ${SEVERAL}`, "none", both, { medium: { kind: "oci", directory: at("several"), refs } });
  add(`\`oci-archive:FILE\`, ${SEVERAL}`, "none", both, {
    medium: { kind: "oci-archive", file: at("several.oci.tar"), refs },
  });
  add(`\`docker-archive:FILE\`, ${SEVERAL}`, "none", both, {
    medium: { kind: "docker-archive", file: at("several.tar"), refs },
  });
  for (const layers of COMPRESSIONS) {
    add("`containers-storage:app:1`", layers, [app], {
      async write(environment) {
        const to = ["--to", "containers-storage:app:1", "--compression", layers];
        // A path that Podman could not make an image's name of.
        const temporary = mkdtempSync(at("Temporary-"));
        const env = { ...environment, TMPDIR: temporary };
        // Twice is as once.
        for (let i = 0; i < 2; i++) await ok(["build", ...appArgs, ...to], { env });
        expect(readdirSync(temporary).filter((name) => name.startsWith("oci-nix"))).toEqual([]);
      },
    });
  }
}

function inputArgs(name: string, tag: string): readonly string[] {
  return [
    ...[ROOT, "--closure", store.closureFile, "--store-root", store.storeRoot],
    ...["--name", name, "--tag", tag, "--cmd", `${ROOT}/bin/hello`],
  ];
}

async function build(args: readonly string[]): Promise<Image> {
  const { stderr } = await ok(["build", ...args, "--json"]);
  const { imageId, layers } = JSON.parse(stderr) as { imageId: string; layers: readonly { diffId: string }[] };
  return { imageId, diffIds: layers.map(({ diffId }) => diffId) };
}

async function ok(args: readonly string[], options: CliOptions = {}) {
  return expectOk(await runCli(args, options), `oci-nix ${args.join(" ")}`);
}

/** The digests of a layout's blobs, which are those that their names say. */
function blobsOf(layout: string): readonly string[] {
  const blobs = join(layout, "blobs", "sha256");
  const digests = readdirSync(blobs).map((name) => join(blobs, name));
  for (const file of digests) {
    expect(createHash("sha256").update(readFileSync(file)).digest("hex")).toBe(basename(file));
  }
  return digests.map((file) => basename(file)).sort();
}
