// The fault campaign in its long form: npm run test:faults -- --rounds 20 --seed 7 --commands stream,push
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now()) },
    commands: { type: "string" },
    only: { type: "string" },
    minutes: { type: "string" },
    parallel: { type: "string" },
  },
});
const env = { ...process.env };
for (const [name, value] of Object.entries(values)) {
  if (value !== undefined) env[`FAULT_${name.toUpperCase()}`] = value;
}
// The round is the end of a case's name.
const round = /\/(\d+)$/.exec(values.only ?? "")?.[1];
if (round !== undefined && Number(round) > Number(values.rounds)) env.FAULT_ROUNDS = round;
process.stdout.write(`seed ${values.seed}\n`);
// A build that is killed, again and again, belongs to the whole only.
const isWhole = [values.commands, values.only, values.minutes].every((value) => value === undefined);
const files = ["test/fault/campaign.test.ts", ...(isWhole ? ["test/fault/kill-build.test.ts"] : [])];
const args = ["vitest", "run", "--reporter", "dot", ...files];
process.exitCode = spawnSync("npx", args, { stdio: "inherit", env }).status ?? 1;
