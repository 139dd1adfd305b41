// Runs command lines one after the other in one process, as the program does: `node run-cases.mjs FILE`, FILE being a list of
// {args, env}. After each, standard output and standard error get a line of their own: a NUL, and a JSON object that says how it ended.
import { readFileSync, writeSync } from "node:fs";
import { main } from "../../../dist/cli/main.js";

const { env } = process;
for (const { args, env: own } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  Object.assign(env, own);
  const status = await main(args, "0");
  for (const name of Object.keys(own)) delete env[name];
  const polluted = [Object, Array, Function].flatMap(({ prototype }) => Object.keys(prototype));
  const peak = Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  for (const fd of [1, 2]) writeSync(fd, `\0${JSON.stringify({ status, polluted, peakMb: Math.round(peak) })}\n`);
}
