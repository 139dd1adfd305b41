#!/usr/bin/env node
// Packs files with our codec, hashes the packed bytes, and writes nothing: what a build to a packed layout does beside reading the store.
// For benchmarks.
//
//   compress-layers COMPRESSION DIRECTORY     prints the bytes that all files in it become

import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { createCompressor, parseCompression } from "../../dist/core/compression.js";

const [text, directory] = process.argv.slice(2);
if (text === undefined || directory === undefined) {
  process.stderr.write("usage: compress-layers COMPRESSION DIRECTORY\n");
  process.exitCode = 2;
} else {
  const { name, level } = parseCompression(text, "COMPRESSION");
  if (name === "none") throw new Error("none packs nothing");
  const block = Buffer.allocUnsafeSlow(256 * 1024);
  let packedBytes = 0;
  for (const file of readdirSync(directory).sort()) {
    const hash = createHash("sha256");
    const filter = createCompressor(
      { name, level },
      {
        write: (bytes) => {
          hash.update(bytes);
          packedBytes += bytes.length;
        },
      },
    );
    const fd = openSync(join(directory, file), "r");
    for (let count = readSync(fd, block); count > 0; count = readSync(fd, block)) {
      await filter.write(block.subarray(0, count));
    }
    closeSync(fd);
    await filter.end();
    filter.close();
    hash.digest();
  }
  process.stdout.write(`${packedBytes}\n`);
}
