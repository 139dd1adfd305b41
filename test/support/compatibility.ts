import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROJECT } from "./cli.js";

// docs/compatibility.md, whose tables are what a test run found.

/** One line of a table. */
export interface Row {
  readonly medium: string;
  readonly layers: string;
  /** By column. */
  readonly cells: Readonly<Record<string, string>>;
}

/** What a test run found. */
export interface Findings {
  /** The clients' versions, by name. */
  readonly versions: Readonly<Record<string, string>>;
  readonly table: readonly Row[];
  readonly names: readonly Row[];
  /** The clients' words for what they refuse; cells refer to them by their place, from 1, in brackets. */
  readonly reasons: readonly string[];
}

const FILE = join(PROJECT, "docs", "compatibility.md");
type Part = "versions" | "table" | "names";

/** What the document says, without the references to reasons, whose words are the client's. @throws Error without its markers */
export function readDocument(): {
  readonly versions: string;
  readonly table: readonly Row[];
  readonly names: readonly Row[];
} {
  const text = readFileSync(FILE, "utf8");
  const part = (name: Part) => {
    const found = patternOf(name).exec(text);
    if (found === null) throw new Error(`docs/compatibility.md has no markers of ${name}`);
    return (found[2] as string).trim();
  };
  return {
    versions: part("versions"),
    table: withoutReasons(parseTable(part("table"))),
    names: parseTable(part("names")),
  };
}

/** Puts what was found between the markers of the document. */
export function writeDocument({ versions, table, names, reasons }: Findings): void {
  const numbered = reasons.map((reason, i) => `${i + 1}. ${reason}`);
  const parts: Readonly<Record<Part, string>> = {
    versions: Object.entries(versions)
      .map(([client, version]) => `${client} ${version}`)
      .join(", "),
    table: `${formatTable(table)}\n\nThe end of what was said:\n\n${numbered.join("\n")}`,
    names: formatTable(names),
  };
  let text = readFileSync(FILE, "utf8");
  for (const [part, contents] of Object.entries(parts) as [Part, string][]) {
    text = text.replace(patternOf(part), (_, begin, __, end) => `${begin}\n\n${contents}\n\n${end}`);
  }
  writeFileSync(FILE, text);
}

/** The rows as they are where some columns were not looked at. */
export function onlyColumns(rows: readonly Row[], columns: readonly string[]): readonly Row[] {
  return rows.map((row) => ({
    ...row,
    cells: Object.fromEntries(Object.entries(row.cells).filter(([column]) => columns.includes(column))),
  }));
}

export function withoutReasons(rows: readonly Row[]): readonly Row[] {
  return rows.map((row) => ({
    ...row,
    cells: Object.fromEntries(
      Object.entries(row.cells).map(([column, cell]) => [column, cell.replace(/ \[\d+\]$/, "")]),
    ),
  }));
}

/** The end of what a client says, without what is different each time. */
export function reasonIn(message: string): string {
  const said = /msg="(.*)"$/m.exec(message)?.[1]?.replaceAll('\\"', '"') ?? message;
  const lines = said.trim().split("\n");
  return (lines.at(-1) ?? "")
    .replaceAll(new RegExp(`${tmpdir()}/[^\\s:"]*?/(?=blobs|index[.]json|manifest[.]json)`, "g"), "…/")
    .replaceAll(new RegExp(`${tmpdir()}/[^\\s:"]*/`, "g"), "…/")
    .replaceAll(/sha256:[0-9a-f]{64}/g, "sha256:…")
    .split(": ")
    .slice(-2)
    .join(": ");
}

const FIXED = ["medium", "layers"];

function formatTable(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0]?.cells ?? {});
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line([...FIXED, ...columns]),
    line([...FIXED, ...columns].map(() => "---")),
    ...rows.map(({ medium, layers, cells }) => line([medium, layers, ...columns.map((name) => cells[name] ?? "")])),
  ].join("\n");
}

function parseTable(text: string): readonly Row[] {
  const cellsOf = (line: string) => line.slice(2, -2).split(" | ");
  const lines = text.split("\n").filter((line) => line.startsWith("| "));
  const [, , ...columns] = cellsOf(lines[0] ?? "");
  return lines.slice(2).map((line) => {
    const [medium = "", layers = "", ...cells] = cellsOf(line);
    return { medium, layers, cells: Object.fromEntries(columns.map((name, i) => [name, cells[i] ?? ""])) };
  });
}

function patternOf(part: Part): RegExp {
  return new RegExp(`(<!-- begin: ${part} -->)([^]*?)(<!-- end: ${part} -->)`);
}
