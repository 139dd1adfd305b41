import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// The built package: worker threads are loaded from files that Node itself can run.
import {
  type ByteSink,
  checkSpec,
  digestLayers,
  type ImagePlan,
  nullSink,
  OciNixError,
  planImage,
  streamPlannedImage,
  toJson,
} from "../../dist/index.js";

const STORE_PATHS = 12;
const names = Array.from({ length: STORE_PATHS }, (_, i) => `${String(i).padStart(32, "0")}-part-${i}`);
let root: string;
let graph: string;

/** A repeatable sequence of numbers below `limit`. */
function sequence(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % limit;
  };
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "oci-nix-threads-"));
  const next = sequence(7);
  for (const name of names) {
    const top = join(root, "nix/store", name);
    mkdirSync(join(top, "share"), { recursive: true });
    for (let i = 0; i < 60; i++) writeFileSync(join(top, "share", `f${i}`), Buffer.alloc(next(20_000), i));
    // Longer than several segments, and than all slots together.
    if (name.endsWith("-3")) writeFileSync(join(top, "large"), Buffer.alloc(3_000_001, 3));
    if (name.endsWith("-7")) writeFileSync(join(top, "larger"), Buffer.alloc(20_000_000, 7));
    symlinkSync("share/f1", join(top, "link"));
  }
  graph = join(root, "closure.json");
  writeFileSync(
    graph,
    JSON.stringify(names.map((name) => ({ path: `/nix/store/${name}`, narSize: 1000, references: [] }))),
  );
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

async function plan(maxLayers: number): Promise<ImagePlan> {
  return await planImage(checkSpec(toJson({ name: "t", maxLayers, closure: { graph, storeRoot: root } }), "test"));
}

async function digest(maxLayers: number, threads: number, delay?: () => number): Promise<string> {
  const hash = createHash("sha256");
  const sink: ByteSink = {
    write(bytes) {
      hash.update(bytes);
      const milliseconds = delay?.() ?? 0;
      return milliseconds === 0 ? undefined : sleep(milliseconds);
    },
  };
  const summary = await streamPlannedImage(await plan(maxLayers), sink, { threads });
  return `${summary.imageId} ${summary.entries} ${hash.digest("hex")}`;
}

describe("an image streamed by several threads", () => {
  it.each([1, 5, 12])("has the bytes of one thread, whatever their number, in %i layers", async (maxLayers) => {
    const expected = await digest(maxLayers, 0);
    for (const threads of [1, 2, 8]) expect(await digest(maxLayers, threads)).toBe(expected);
  });

  it.each([1, 5, 12])("has the digests that digestLayers gives, in %i layers", async (maxLayers) => {
    // 12 equal layers are hashed apart, one alone in turn.
    const { layers } = await streamPlannedImage(await plan(maxLayers), nullSink, { threads: 0 });
    const expected = layers.map(({ diffId, size }) => ({ diffId, size }));
    for (const threads of [0, 1, 2, 8]) {
      expect(await digestLayers(await plan(maxLayers), { threads })).toEqual(expected);
    }
  });

  it("has the same bytes however its reader stalls", async () => {
    const expected = await digest(4, 0);
    for (const seed of [1, 2, 3]) {
      const next = sequence(seed);
      expect(await digest(4, 3, () => (next(150) === 0 ? next(30) : 0))).toBe(expected);
    }
  });

  it.each([0, 2])("fails with the path where a file is cut off meanwhile (%i threads)", async (threads) => {
    const file = join(root, "nix/store", names[11] as string, "share/f5");
    const planned = await plan(1);
    let cut = false;
    const sink: ByteSink = {
      write() {
        if (!cut) truncateSync(file, 1);
        cut = true;
      },
    };
    writeFileSync(file, Buffer.alloc(500_000, 5));
    try {
      await expect(streamPlannedImage(planned, sink, { threads })).rejects.toThrow(
        expect.objectContaining({ code: "changed", message: expect.stringContaining(file) as string }) as OciNixError,
      );
    } finally {
      writeFileSync(file, Buffer.alloc(1000, 5));
    }
  });

  it.each([0, 2])("fails with the path where a store path vanishes after planning (%i threads)", async (threads) => {
    const path = join(root, "nix/store", names[2] as string);
    const planned = await plan(3);
    renameSync(path, `${path}.away`);
    try {
      await expect(streamPlannedImage(planned, nullSink, { threads })).rejects.toThrow(names[2] as string);
    } finally {
      renameSync(`${path}.away`, path);
    }
  });

  it.each([0, 2])("ends with the signal's reason when it is aborted (%i threads)", async (threads) => {
    const controller = new AbortController();
    let written = 0;
    const sink: ByteSink = {
      write(bytes) {
        written += bytes.length;
        if (written > 5_000_000) controller.abort(new OciNixError("interrupted", "enough"));
      },
    };
    const streamed = streamPlannedImage(await plan(2), sink, { threads, signal: controller.signal });
    await expect(streamed).rejects.toThrow("enough");
  });

  it("passes on what its sink throws, and ends its threads", async () => {
    const sink: ByteSink = {
      write() {
        throw new OciNixError("output", "full");
      },
    };
    await expect(streamPlannedImage(await plan(2), sink, { threads: 2 })).rejects.toThrow("full");
  });
});
