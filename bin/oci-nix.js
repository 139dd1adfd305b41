#!/usr/bin/env node
import { readFileSync } from "node:fs";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`error: oci-nix needs Node 20.19 or newer; this is ${process.versions.node}\n`);
  process.exit(1);
}
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const run = async () => {
  try {
    const { main } = await import("../dist/bundle/main.js");
    return await main(process.argv.slice(2), version);
  } catch (error) {
    // The program's own modules cannot be opened.
    if (error?.code !== "EMFILE" && error?.code !== "ENFILE") throw error;
    process.stderr.write(`error: too many files are open (${error.code})\n  hint: ulimit -n 1024 allows more\n`);
    return 1;
  }
};
const code = await run();
// A write that was interrupted, to a socket that nobody reads, would keep the process alive.
if (code > 128) process.exit(code);
process.exitCode = code;
