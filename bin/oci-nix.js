#!/usr/bin/env node
import { readFileSync } from "node:fs";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`error: oci-nix needs Node 20.19 or newer; this is ${process.versions.node}\n`);
  process.exit(1);
}
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const { main } = await import("../dist/cli/main.js");
const code = await main(process.argv.slice(2), version);
// A write that was interrupted, to a socket that nobody reads, would keep the process alive.
if (code > 128) process.exit(code);
process.exitCode = code;
