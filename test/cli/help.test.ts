import { describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";

describe("the help of a command", () => {
  it.each(["build", "shell", "copy"])(
    "of %s has all descriptions in one column, beside flags or below long ones",
    async (command) => {
      const lines = expectOk(await runCli([command, "--help"]), "help")
        .stdout.toString()
        .split("\n")
        .slice(4, -1);
      expect(lines.length).toBeGreaterThan(10);
      const columns = lines.flatMap((line) => {
        const [, label = "", text = ""] =
          /^( {2}(?:-\w, | {4})--\S+(?: [A-Z]+)?| {3,})(?: {2,}(\S.*))?$/.exec(line) ?? [];
        const below = /^( +)\S/.exec(line)?.[1]?.length ?? 0;
        return /^ {2,6}-/.test(line) ? (text === "" ? [] : [line.length - text.length]) : [label === "" ? -1 : below];
      });
      expect(new Set(columns).size).toBe(1);
      expect(columns[0]).toBeLessThanOrEqual(40);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(100);
    },
  );
});
