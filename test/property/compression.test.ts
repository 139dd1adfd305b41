import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Filter } from "../../src/core/compression/filter.js";
import { type CompressionName, createCompressor, createDecompressor } from "../../src/core/compression.js";

/** Runs of one byte, of noise, and of what came before; up to a few blocks and jobs long. */
const contents = fc
  .array(
    fc.record({
      kind: fc.constantFrom("same", "noise", "again"),
      length: fc.oneof(fc.nat(300), fc.nat(1_500_000)),
      seed: fc.nat(),
    }),
    { maxLength: 6 },
  )
  .map((runs) => {
    const pieces: Buffer[] = [];
    for (const { kind, length, seed } of runs) {
      const piece = Buffer.alloc(length, seed % 256);
      if (kind === "noise") {
        let state = seed;
        for (let i = 0; i < length; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          piece[i] = 32 + (state >>> 27);
        }
      }
      pieces.push(kind === "again" ? (pieces.at(-1) ?? piece) : piece);
    }
    return Buffer.concat(pieces);
  });

const sizes = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(1024 * 1024, 2 * 1024 * 1024, 65_536)),
  { minLength: 1, maxLength: 4 },
);

const codec = fc.oneof(
  fc.record({ name: fc.constant("gzip" as const), level: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ name: fc.constant("zstd" as const), level: fc.integer({ min: 1, max: 6 }) }),
);

/** Feeds all of `bytes` in pieces of these sizes, in turn, from one buffer that is spoiled after every write. */
async function feed(filter: Filter, bytes: Buffer, pieces: readonly number[]): Promise<void> {
  const block = Buffer.alloc(Math.max(...pieces));
  // Few bytes at a time would take long without showing more.
  const least = Math.ceil(bytes.length / 2000);
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = Math.max(pieces[turn % pieces.length] as number, Math.min(least, block.length));
    const count = bytes.copy(block, 0, at, at + Math.min(size, block.length));
    await filter.write(block.subarray(0, count));
    block.fill(0xaa);
    at += count;
  }
  await filter.end();
  filter.close();
}

function collect(run: (write: (bytes: Uint8Array) => void | Promise<void>) => Promise<void>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let writes = 0;
  return run((bytes) => {
    pieces.push(Buffer.from(bytes));
    return writes++ % 2 === 0 ? undefined : new Promise((resolve) => setImmediate(resolve));
  }).then(() => Buffer.concat(pieces));
}

describe("packed bytes", () => {
  it("depend on the input alone, and give it back", async () => {
    const seen = new Set<CompressionName>();
    await fc.assert(
      fc.asyncProperty(
        codec,
        contents,
        sizes,
        sizes,
        fc.integer({ min: 1, max: 4 }),
        async (compression, bytes, pieces, others, threads) => {
          seen.add(compression.name);
          const whole = await collect((write) =>
            feed(createCompressor(compression, { write }), bytes, [bytes.length || 1]),
          );
          // One that is given up in the middle leaves nothing behind for the next.
          const abandoned = createCompressor(compression, { write: () => undefined }, { threads });
          await abandoned.write(bytes.subarray(bytes.length >> 1));
          abandoned.close();
          const packed = await collect((write) =>
            feed(createCompressor(compression, { write }, { threads }), bytes, pieces),
          );
          expect(packed.equals(whole)).toBe(true);
          const unpacked = await collect((write) =>
            feed(createDecompressor(compression.name, { write }, "bytes"), packed, others),
          );
          expect(unpacked.equals(bytes)).toBe(true);
        },
      ),
      { numRuns: 30 },
    );
    expect(seen).toEqual(new Set(["gzip", "zstd"]));
  }, 120_000);
});
