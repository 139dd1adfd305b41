import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ByteSink } from "../../../src/core/byte-sink.js";
import type { Filter } from "../../../src/core/compression/filter.js";
import {
  type Compression,
  codecOf,
  createCompressor,
  createDecompressor,
  parseCompression,
  sniffCompression,
} from "../../../src/core/compression.js";
import { OciNixError } from "../../../src/core/errors.js";
import { requireTools, tool } from "../../support/tools.js";

type Packed = Compression & { readonly name: "gzip" | "zstd" };

const GZIP: Packed = { name: "gzip", level: 6 };
const ZSTD: Packed = { name: "zstd", level: 3 };
const BOTH = [GZIP, ZSTD];
const MIB = 1024 * 1024;

/** Bytes that can be packed a little: words of few letters. */
function text(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = at > 100 && state >>> 28 < 12 ? (bytes[at - 97] as number) : 97 + ((state >>> 16) % 16);
  }
  return bytes;
}

/** Keeps copies, as a sink must: the buffer is used again. */
function collector(): ByteSink & { readonly bytes: () => Buffer; readonly pieces: readonly Buffer[] } {
  const pieces: Buffer[] = [];
  return {
    write: (bytes) => void pieces.push(Buffer.from(bytes)),
    bytes: () => Buffer.concat(pieces),
    pieces,
  };
}

async function run(filter: Filter, pieces: Iterable<Uint8Array>): Promise<void> {
  try {
    for (const piece of pieces) await filter.write(piece);
    await filter.end();
  } finally {
    filter.close();
  }
}

async function pack(compression: Packed, ...pieces: readonly Uint8Array[]): Promise<Buffer> {
  const sink = collector();
  await run(createCompressor(compression, sink), pieces);
  return sink.bytes();
}

async function unpack(name: "gzip" | "zstd", ...pieces: readonly Uint8Array[]): Promise<Buffer> {
  const sink = collector();
  await run(createDecompressor(name, sink, "a layer"), pieces);
  return sink.bytes();
}

/** What a promise is rejected with. */
async function failure(promise: Promise<unknown>): Promise<OciNixError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OciNixError);
  return error as OciNixError;
}

describe("a name of a compression", () => {
  it("has the codec's usual level where it says none", () => {
    expect(parseCompression("none", "--compression")).toEqual({ name: "none", level: undefined });
    expect(parseCompression("gzip", "--compression")).toEqual({ name: "gzip", level: 6 });
    expect(parseCompression("zstd", "--compression")).toEqual({ name: "zstd", level: 3 });
    expect(parseCompression("gzip:9", "--compression")).toEqual({ name: "gzip", level: 9 });
    expect(parseCompression("zstd:19", "--compression")).toEqual({ name: "zstd", level: 19 });
  });

  it.each(["gzip:0", "gzip:10", "gzip:", "gzip:06", "gzip:-1", "gzip:1.5", "zstd:0", "zstd:20", "zstd:fast", "none:1"])(
    "is refused as %s, and the levels are named",
    (name) => {
      expect(() => parseCompression(name, "--compression")).toThrow(
        expect.objectContaining({
          code: "usage",
          message: expect.stringContaining(`--compression: "${name}"`),
          hint: "--compression takes none, gzip[:1-9] or zstd[:1-19]",
        }),
      );
    },
  );

  it("is refused with the reason where zstd knows the level and we do not", () => {
    expect(() => parseCompression("zstd:22", "--compression")).toThrow(/memory/);
    expect(() => parseCompression("zstd:23", "--compression")).not.toThrow(/memory/);
  });

  it("is refused with the nearest one", () => {
    expect(() => parseCompression("gizp:6", "--compression")).toThrow(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining("did you mean gzip?") }),
    );
    expect(() => parseCompression("lz4", "--compression")).toThrow(
      expect.objectContaining({ hint: expect.not.stringContaining("did you mean") }),
    );
    expect(() => parseCompression("", "--compression")).toThrow(expect.objectContaining({ code: "usage" }));
  });
});

describe("the name of a codec", () => {
  it("tells level and library", () => {
    expect(codecOf({ name: "none", level: undefined })).toBe(undefined);
    expect(codecOf(GZIP)).toContain("gzip:6 ");
    expect(codecOf(GZIP)).toContain(` zlib-${process.versions.zlib} `);
    expect(codecOf(ZSTD)).toMatch(/^zstd:3 libzstd-\d+\.\d+\.\d+ /);
  });

  it("is another one for every level", () => {
    const names = [
      ...Array.from({ length: 9 }, (_, i) => codecOf({ name: "gzip", level: i + 1 })),
      ...Array.from({ length: 19 }, (_, i) => codecOf({ name: "zstd", level: i + 1 })),
    ];
    expect(new Set(names).size).toBe(28);
    const samples = names.slice(0, 9).map((name) => /sample-[0-9a-f]{12}$/.exec(name as string)?.[0]);
    // The sample is worth its name only if it is packed otherwise where packing differs.
    expect(new Set(samples).size).toBeGreaterThan(5);
  });
});

describe("the first bytes", () => {
  it("tell how the rest is packed", async () => {
    expect(sniffCompression(await pack(GZIP, text(10)))).toBe("gzip");
    expect(sniffCompression(await pack(ZSTD, text(10)))).toBe("zstd");
    expect(sniffCompression(Buffer.from("502a4d180000", "hex"))).toBe("zstd");
    expect(sniffCompression(Buffer.from("nix/store"))).toBe("none");
    expect(sniffCompression(new Uint8Array(0))).toBe("none");
    expect(sniffCompression(Uint8Array.of(0x1f))).toBe("none");
  });

  it.skipIf(requireTools("bzip2", "xz"))("tell what bzip2 and xz have packed", () => {
    for (const name of ["bzip2", "xz"] as const) {
      expect(sniffCompression(execFileSync(tool(name), ["-c"], { input: text(1000) }))).toBe(name);
    }
  });
});

describe.each(BOTH)("$name", (compression) => {
  const { name } = compression;

  it.each([0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 9 * MIB + 5])("gives %i bytes back", async (length) => {
    const bytes = text(length);
    const packed = await pack(compression, bytes);
    expect((await unpack(name, packed)).equals(bytes)).toBe(true);
    if (name === "gzip") expect(gunzipSync(packed).equals(bytes)).toBe(true);
  });

  it.skipIf(requireTools("gzip", "pigz", "zstd"))("is read by the tools of others", async () => {
    const bytes = text(5 * MIB);
    const packed = await pack(compression, bytes);
    for (const program of name === "gzip" ? ["gzip", "pigz"] : ["zstd"]) {
      const unpacked = execFileSync(tool(program), ["-dc"], { input: packed, maxBuffer: 8 * MIB });
      expect(unpacked.equals(bytes), program).toBe(true);
    }
  });

  it.skipIf(requireTools("gzip", "pigz", "zstd"))("reads what the tools of others write", async () => {
    const bytes = text(3 * MIB);
    for (const program of name === "gzip" ? ["gzip", "pigz"] : ["zstd"]) {
      const packed = execFileSync(tool(program), ["-c"], { input: bytes, maxBuffer: 8 * MIB });
      expect((await unpack(name, packed)).equals(bytes), program).toBe(true);
    }
  });

  it("reads members that follow each other, whatever the sizes of the pieces", async () => {
    const [a, b] = [text(200_000, 1), text(100_000, 2)];
    const packed = Buffer.concat([await pack(compression, a), await pack(compression), await pack(compression, b)]);
    for (const size of [1013, packed.length]) {
      const pieces = Array.from({ length: Math.ceil(packed.length / size) }, (_, i) =>
        packed.subarray(i * size, (i + 1) * size),
      );
      expect((await unpack(name, ...pieces)).equals(Buffer.concat([a, b]))).toBe(true);
    }
  });

  it("takes in no more than a few blocks while its sink waits", async () => {
    const stuck = createCompressor(compression, { write: () => new Promise(() => undefined) });
    const block = text(MIB);
    let taken = 0;
    for (; taken < 200; taken++) {
      const waiting = stuck.write(block);
      if (waiting === undefined) continue;
      const isStuck = await Promise.race([waiting.then(() => false), sleep(2000).then(() => true)]);
      if (isStuck) break;
    }
    stuck.close();
    expect(taken).toBeLessThan(32);
  });

  it("hands on nothing after it is closed, and lets go who waits", async () => {
    const bytes = text(6 * MIB);
    let release: () => void = () => undefined;
    let writes = 0;
    const filter = createCompressor(compression, {
      write: () => {
        writes++;
        return new Promise<void>((resolve) => {
          release = resolve;
        });
      },
    });
    const all = (async () => {
      for (let at = 0; at < 60 * MIB; at += bytes.length) await filter.write(bytes);
      await filter.end();
    })();
    while (writes === 0) await sleep(1);
    filter.close();
    release();
    await all;
    await sleep(100);
    expect(writes).toBe(1);
    // What the next one gives is not touched by what this one left behind.
    expect((await unpack(name, await pack(compression, bytes))).equals(bytes)).toBe(true);
  });

  it("fails with its sink's error", async () => {
    const full = new OciNixError("output", "the disk is full");
    const sinks: ByteSink[] = [
      {
        write: () => {
          throw full;
        },
      },
      { write: () => Promise.reject(full) },
    ];
    const packed = await pack(compression, text(4 * MIB));
    for (const sink of sinks) {
      expect(await failure(run(createCompressor(compression, sink), [text(20 * MIB)]))).toBe(full);
      expect(await failure(run(createDecompressor(name, sink, "a layer"), [packed]))).toBe(full);
    }
  });

  it("stops when it is told to", async () => {
    const controller = new AbortController();
    const filter = createCompressor(compression, collector(), { signal: controller.signal });
    const block = text(MIB);
    const all = (async () => {
      for (;;) await filter.write(block);
    })();
    setTimeout(() => controller.abort(), 50);
    expect((await failure(all)).code).toBe("interrupted");
    filter.close();
  });

  it("says which input is cut off", async () => {
    const packed = await pack(compression, text(300_000));
    for (const length of [0, 1, 3, 9, 12, packed.length >> 1, packed.length - 5, packed.length - 1]) {
      const error = await failure(unpack(name, packed.subarray(0, length)));
      expect(error.code, `${length} of ${packed.length} bytes`).toBe("invalid-input");
      expect(error.message).toContain(`a layer: damaged or cut off ${name} data`);
    }
  });

  it("says which input is damaged", async () => {
    const packed = await pack(compression, text(300_000));
    for (const at of [0, 2, 20, packed.length >> 1, packed.length - 2]) {
      const damaged = Buffer.from(packed);
      damaged[at] = (damaged[at] as number) ^ 0x55;
      const error = await failure(unpack(name, damaged));
      expect(error.code, `byte ${at} of ${packed.length}`).toBe("invalid-input");
    }
  });

  it("takes nothing else after its last member", async () => {
    const packed = await pack(compression, text(1000));
    for (const rest of ["x", "something else, and more of it"]) {
      expect((await failure(unpack(name, Buffer.concat([packed, Buffer.from(rest)])))).code).toBe("invalid-input");
      expect((await failure(unpack(name, packed, Buffer.from(rest)))).code).toBe("invalid-input");
    }
  });

  it("gives a bomb out piece by piece, and waits for its sink between", async () => {
    const zeros = Buffer.alloc(MIB);
    const packed = await pack(compression, ...Array.from({ length: 64 }, () => zeros));
    expect(packed.length).toBeLessThan(MIB / 4);
    let [total, largest, busy, overlaps] = [0, 0, 0, 0];
    const sink: ByteSink = {
      write: async (bytes) => {
        if (busy++ > 0) overlaps++;
        total += bytes.length;
        largest = Math.max(largest, bytes.length);
        await new Promise((resolve) => setImmediate(resolve));
        busy--;
      },
    };
    await run(createDecompressor(name, sink, "a bomb"), [packed]);
    expect({ total, overlaps, busy }).toEqual({ total: 64 * MIB, overlaps: 0, busy: 0 });
    expect(largest).toBeLessThanOrEqual(256 * 1024);
  });

  it("can be closed in the middle of unpacking", async () => {
    const packed = await pack(compression, text(8 * MIB));
    let writes = 0;
    let release: () => void = () => undefined;
    const filter = createDecompressor(
      name,
      {
        write: () => {
          writes++;
          return new Promise<void>((resolve) => {
            release = resolve;
          });
        },
      },
      "a layer",
    );
    const all = (async () => {
      await filter.write(packed);
      await filter.end();
    })();
    while (writes === 0) await sleep(1);
    filter.close();
    release();
    await all;
    await sleep(50);
    expect(writes).toBe(1);
  });
});

describe("gzip's own", () => {
  it("header has neither name nor time, nor a system", async () => {
    expect((await pack(GZIP, text(10))).subarray(0, 10).toString("hex")).toBe("1f8b08000000000000ff");
  });

  it("padding of zeros is passed over where it is taken, and nothing may follow it", async () => {
    const bytes = text(5000);
    const packed = gzipSync(bytes);
    const zeros = Buffer.alloc(700);
    const padded = async (...pieces: readonly Buffer[]) => {
      const sink = collector();
      await run(createDecompressor("gzip", sink, "an archive", { takesPadding: true }), pieces);
      return sink.bytes();
    };
    expect((await padded(Buffer.concat([packed, zeros]))).equals(bytes)).toBe(true);
    expect((await padded(packed, zeros, zeros)).equals(bytes)).toBe(true);
    expect((await failure(padded(Buffer.concat([packed, zeros, packed])))).code).toBe("invalid-input");
    expect((await failure(padded(packed, zeros, Buffer.from("x")))).code).toBe("invalid-input");
  });

  it("padding of zeros is damage elsewhere, as it is for Go", async () => {
    const packed = gzipSync(text(5000));
    for (const size of [1, 700]) {
      for (const pieces of [[Buffer.concat([packed, Buffer.alloc(size)])], [packed, Buffer.alloc(size)]]) {
        expect(await failure(unpack("gzip", ...pieces))).toMatchObject({
          code: "invalid-input",
          message: "a layer: damaged or cut off gzip data: zeros follow the last member",
        });
      }
    }
  });
});

describe("zstd's own", () => {
  it("skippable frames are passed over", async () => {
    const bytes = text(5000);
    const skippable = Buffer.concat([Buffer.from("502a4d1803000000", "hex"), Buffer.from("abc")]);
    const packed = await pack(ZSTD, bytes);
    expect((await unpack("zstd", Buffer.concat([skippable, packed, skippable]))).equals(bytes)).toBe(true);
  });

  it("frames that ask for more memory than is reasonable are refused", async () => {
    // A window of 2 GiB: exponent 21 in the window descriptor.
    const frame = Buffer.from("28b52ffd00a8010000", "hex");
    expect((await failure(unpack("zstd", frame))).message).toMatch(/memory/);
  });
});
