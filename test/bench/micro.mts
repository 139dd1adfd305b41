import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { interleave, spreadOf } from "./measure.mjs";
import { makeBinDirectory } from "./project.mjs";
import { table } from "./tables.mjs";

export interface Micro {
  readonly hash: readonly { readonly how: string; readonly blockSize: number; readonly bytesPerSecond: number }[];
  readonly pipe: readonly { readonly blockSize: number; readonly wall: number; readonly bytesPerSecond: number }[];
  readonly markdown: string;
}

const KIB = 1024;
const HASH_BLOCKS = [4, 16, 64, 256, 1024].map((kib) => kib * KIB);
const PIPE_BLOCKS = [4, 8, 16, 32, 64, 256, 1024].map((kib) => kib * KIB);
const HASHED = 1 << 29;
const PIPED = 2 ** 31;

/** What hashing and writing to a pipe cost by themselves, for each size of block. */
export async function measureMicro(options: {
  readonly runs: number;
  readonly directory: string;
  readonly log: (line: string) => void;
}): Promise<Micro> {
  const hash = await measureHash(options.runs);
  const pipe = await measurePipe(options);
  const gigabytes = (value: number) => (value / 1e9).toFixed(2);
  const size = (value: number) => `${value / KIB} KiB`;
  const hows = [...new Set(hash.map(({ how }) => how))];
  const hashRows = HASH_BLOCKS.map((blockSize) => [
    size(blockSize),
    ...hows.map((how) => {
      const found = hash.find((one) => one.how === how && one.blockSize === blockSize);
      return found === undefined ? "" : gigabytes(found.bytesPerSecond);
    }),
  ]);
  const pipeRows = pipe.map(({ blockSize, wall, bytesPerSecond }) => [
    size(blockSize),
    wall.toFixed(2),
    gigabytes(bytesPerSecond),
  ]);
  return {
    hash,
    pipe,
    markdown: [
      "### SHA-256 by block size, GB/s",
      "",
      table(["block", ...hows], hashRows),
      "",
      `### fs.writeSync to a pipe that cat reads, ${PIPED / 1e9} GB`,
      "",
      table(["block", "s", "GB/s"], pipeRows),
      "",
    ].join("\n"),
  };
}

type HashFunction = (
  algorithm: string,
  source: Buffer,
  sourceOffset: number,
  sourceSize: number,
  target: Buffer,
  targetOffset: number,
  done: (error: Error | undefined) => void,
) => void;

async function measureHash(runs: number): Promise<Micro["hash"]> {
  const results: { how: string; blockSize: number; bytesPerSecond: number }[] = [];
  // Each in memory of its own, as several are at work at once.
  const buffers = [1, 2, 3, 4].map((fill) => Buffer.alloc(1024 * KIB, fill));
  const record = async (how: string, blockSize: number, hashAll: () => void | Promise<void>) => {
    const walls: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const start = performance.now();
      await hashAll();
      if (run > 0) walls.push((performance.now() - start) / 1000);
    }
    results.push({ how, blockSize, bytesPerSecond: HASHED / spreadOf(walls).median });
  };
  for (const blockSize of HASH_BLOCKS) {
    const block = (buffers[0] as Buffer).subarray(0, blockSize);
    await record("createHash, one stream", blockSize, () => {
      const hash = createHash("sha256");
      for (let done = 0; done < HASHED; done += blockSize) hash.update(block);
      hash.digest();
    });
    await record("createHash, new for each block", blockSize, () => {
      for (let done = 0; done < HASHED; done += blockSize) createHash("sha256").update(block).digest();
    });
  }
  // A package's directory: measured where somebody has it.
  const directory = process.env.BENCH_CRYPTO_ASYNC;
  if (!directory) return results;
  const { hash } = createRequire(import.meta.url)(directory) as { readonly hash: HashFunction };
  for (const blockSize of HASH_BLOCKS) {
    for (const inFlight of [1, 2, 4]) {
      await record(`crypto-async, ${inFlight} in flight`, blockSize, async () => {
        let left = HASHED / blockSize;
        const worker = async (source: Buffer) => {
          const target = Buffer.alloc(32);
          while (left-- > 0) {
            await new Promise<void>((resolve, reject) =>
              hash("sha256", source, 0, blockSize, target, 0, (error) => (error ? reject(error) : resolve())),
            );
          }
        };
        await Promise.all(buffers.slice(0, inFlight).map(worker));
      });
    }
  }
  return results;
}

const WRITER = `
const fs = require("node:fs");
const [size, total] = process.argv.slice(1).map(Number);
const block = Buffer.alloc(size, 1);
for (let done = 0; done < total; ) done += fs.writeSync(1, block);
`;

async function measurePipe(options: {
  readonly runs: number;
  readonly directory: string;
  readonly log: (line: string) => void;
}): Promise<Micro["pipe"]> {
  const bin = makeBinDirectory(join(options.directory, "micro"));
  const environment = {
    cwd: options.directory,
    env: { PATH: `${bin}:${process.env.PATH}`, WRITER },
  };
  const scripts = new Map(
    PIPE_BLOCKS.map((size) => [`${size}`, `node -e "$WRITER" ${size} ${PIPED} | cat >/dev/null`]),
  );
  const measured = await interleave(scripts, options.runs, environment, (line) => options.log(`pipe: ${line}`));
  return [...measured].map(([size, { wall }]) => ({
    blockSize: Number(size),
    wall: wall.median,
    bytesPerSecond: PIPED / wall.median,
  }));
}
