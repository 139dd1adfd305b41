import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT, runCli } from "../support/cli.js";
import { expectOk, runCommand, runOk } from "../support/command.js";
import { requireTools, tool } from "../support/tools.js";

const directory = join(PROJECT, "dist", "man");
const pages = readdirSync(directory).sort();

/** What a reader sees, without fonts, on lines as long as paragraphs. */
async function read(page: string): Promise<string> {
  const args = ["-man", "-Tutf8", "-P-cbou", "-rLL=2000n", join(directory, page)];
  return (await runOk(tool("groff"), args)).replace(/\n/g, " ").replace(/ +/g, " ");
}

async function helpOf(...words: readonly string[]): Promise<string> {
  return expectOk(await runCli([...words, "--help"]), "help").stdout.toString();
}

describe.skipIf(requireTools("groff", "mandoc", "man"))("the manual", () => {
  it.each(pages)("%s is written as groff, man and mandoc want it", async (page) => {
    const file = join(directory, page);
    const groff = await runCommand(tool("groff"), ["-man", "-ww", "-Tutf8", "-z", file]);
    expect(groff).toMatchObject({ status: 0, stderr: "" });
    const man = await runCommand(tool("man"), ["--warnings=w", "-E", "UTF-8", "-l", file], {
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
    expect(man).toMatchObject({ status: 0, stderr: "" });
    const ascii = await runCommand(tool("man"), ["--warnings=w", "-l", file], { env: { ...process.env, LC_ALL: "C" } });
    expect(ascii).toMatchObject({ status: 0, stderr: "" });
    const mandoc = await runCommand(tool("mandoc"), ["-Tlint", "-W", "warning", file]);
    // Pages have no date, as the same version gives the same page.
    expect(
      mandoc.stdout
        .toString()
        .split("\n")
        .filter((line) => line !== "" && !line.includes("missing date")),
    ).toEqual([]);
  });

  it("has a page for each command that the help lists, and package.json names all of them", async () => {
    const commands = [...(await helpOf()).matchAll(/^ {2}([a-z0-9-]+) {2,}\S/gm)].map(([, name]) => name);
    expect(pages).toEqual(["oci-nix.1", ...commands.map((name) => `oci-nix-${name}.1`)].sort());
    const { man } = JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8")) as {
      readonly man: readonly string[];
    };
    expect(man).toEqual(pages.map((page) => `dist/man/${page}`));
  });

  it.each(["build", "disk verify", "n2c image", "cache prune"])(
    "says of %s what its help says, to the letter",
    async (command) => {
      const words = command.split(" ");
      const text = await read(`oci-nix-${words[0]}.1`);
      const lines = (await helpOf(...words)).split("\n").slice(4);
      const rows: { label: string; words: string }[] = [];
      for (const line of lines) {
        const [, label, more = ""] = /^ {2}((?:-\w, | {4})--\S+(?: [A-Z]+)?)(?: {2,}(.*))?$/.exec(line) ?? [];
        const last = rows.at(-1);
        if (label !== undefined) rows.push({ label: label.trim(), words: more });
        else if (last !== undefined && line.startsWith("    ")) last.words = `${last.words} ${line.trim()}`.trim();
      }
      expect(rows.length).toBeGreaterThan(5);
      for (const row of rows) {
        expect(text).toContain(`${row.label.replace("=", " ")} ${row.words}.`.replaceAll("…", "..."));
      }
    },
  );

  it("shows dots, quotes, dashes and backslashes of any text as they are", async () => {
    const { formatManPages } = await import("../../src/cli/man-pages.js");
    const describe = String.raw`.TH 'a' "b" \fBc\n ~/^d --e ${"`"}f${"`"} …`;
    const load = async () => ({ default: async () => undefined });
    const text =
      formatManPages([{ name: "x", describe, inputs: "'IN", flags: {}, load }], "1").get("oci-nix-x.1") ?? "";
    // Debian's groff shows some of these as they are without escapes; others do not.
    for (const line of text.split("\n").slice(1)) expect(line).not.toMatch(/(?<!\\)[-'"`^~]/);
    const shown = await runOk(tool("groff"), ["-man", "-Tutf8", "-P-cbou", "-rLL=2000n"], { stdin: text });
    expect(shown).toContain(`     ${describe.replace("…", "...")}.`);
    expect(shown).toContain("oci-nix x 'IN [flags]");
  });
});
