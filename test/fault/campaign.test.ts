import { describe, expect, it } from "vitest";
import { ENGINE_TOOLS } from "../support/daemons.js";
import { requireTools } from "../support/tools.js";
import { type Outcome, runCampaign } from "./harness/campaign.js";
import { DAEMON_SUBJECTS, SUBJECT_NAMES } from "./harness/subjects.js";
import { formatTable } from "./harness/table.js";
import { FAULT_TOOLS } from "./harness/world.js";

/** What `npm run test:faults` says; nothing in a common test run. */
const { FAULT_SEED, FAULT_ROUNDS, FAULT_COMMANDS, FAULT_ONLY, FAULT_PARALLEL, FAULT_MINUTES } = process.env;
const isShort = FAULT_ROUNDS === undefined;
const HOURS_MS = 24 * 3600 * 1000;
const seed = FAULT_SEED ?? "2026";

/** Daemons take time. */
function commonSubjects(): readonly string[] {
  if (!isShort && requireTools(...ENGINE_TOOLS.docker) === undefined) return SUBJECT_NAMES;
  return SUBJECT_NAMES.filter((name) => !DAEMON_SUBJECTS.includes(name));
}

function describeFailure({ name, complaint }: Outcome): string {
  return `${name}: ${complaint}\n  again: npm run test:faults -- --seed '${seed}' --only '${name}'`;
}

describe.skipIf(requireTools(...FAULT_TOOLS))("commands under faults", () => {
  it("leave the old state or the new one, say why, and go on as if nothing had been", {
    timeout: HOURS_MS,
  }, async () => {
    const outcomes = await runCampaign({
      seed,
      rounds: Number(FAULT_ROUNDS ?? 1),
      commandsOfKind: isShort ? 1 : undefined,
      commands: FAULT_COMMANDS?.split(",") ?? commonSubjects(),
      only: FAULT_ONLY,
      limitMs: FAULT_MINUTES === undefined ? undefined : Number(FAULT_MINUTES) * 60_000,
      parallel: Number(FAULT_PARALLEL ?? 2),
      onCase: (outcome) => {
        if (outcome.complaint !== undefined) process.stdout.write(`${describeFailure(outcome)}\n`);
      },
    });
    process.stdout.write(`\n${formatTable(outcomes)}\n`);
    expect(outcomes.length).toBeGreaterThan(0);
    expect(outcomes.filter(({ complaint }) => complaint !== undefined).map(describeFailure)).toEqual([]);
  });
});
