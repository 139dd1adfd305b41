import type { Outcome } from "./campaign.js";
import { FAULTS } from "./faults.js";
import { SUBJECT_NAMES } from "./subjects.js";

/** Faults survived / tried by kind and command, in Markdown, and how the commands ended. */
export function formatTable(outcomes: readonly Outcome[]): string {
  const columns = SUBJECT_NAMES.filter((name) => outcomes.some(({ command }) => command === name));
  const rows = FAULTS.map(({ kind }) => kind).filter((name) => outcomes.some(({ kind }) => kind === name));
  const cell = (chosen: readonly Outcome[]) => {
    const survived = chosen.filter(({ complaint }) => complaint === undefined).length;
    return chosen.length === 0 ? "" : `${survived}/${chosen.length}`;
  };
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const row = (title: string, chosen: readonly Outcome[]) =>
    line([title, ...columns.map((name) => cell(chosen.filter(({ command }) => command === name))), cell(chosen)]);
  const ends = (["done", "error", "killed"] as const).map((end) => {
    const chosen = outcomes.filter((outcome) => outcome.end === end);
    const states = (["old", "new"] as const).map((state) => {
      return `${chosen.filter((outcome) => outcome.state === state).length} ${state}`;
    });
    return `${end}: ${chosen.length} (${states.join(", ")})`;
  });
  return [
    line(["survived/tried", ...columns, "all"]),
    line(["---", ...columns.map(() => "---:"), "---:"]),
    ...rows.map((name) =>
      row(
        name,
        outcomes.filter(({ kind }) => kind === name),
      ),
    ),
    row("all", outcomes),
    "",
    ends.join("; "),
  ].join("\n");
}
