import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { PROJECT } from "../support/cli.js";
import { runOk } from "../support/command.js";

describe("the library's interface", () => {
  let made: string;
  beforeAll(async () => {
    made = await runOk(process.execPath, [join(PROJECT, "scripts", "make-api-docs.mjs"), "--print"]);
  }, 60_000);

  it("is what docs/api.md says: a change of it is to be seen, and made with npm run docs:api", () => {
    const written = readFileSync(join(PROJECT, "docs", "api.md"), "utf8");
    expect(made.split("\n")).toEqual(written.split("\n"));
  });

  it("has nothing of which its source says nothing", () => {
    const [exports = ""] = made.split("\n## Types that these mention");
    expect([...exports.matchAll(/^### (.*)\n\n~~~ts$/gm)].map(([, name]) => name)).toEqual([]);
  });

  it("has all that index.ts exports in docs/api.md", () => {
    const index = readFileSync(join(PROJECT, "src", "index.ts"), "utf8");
    const names = [...index.matchAll(/\{([^}]*)\}/g)].flatMap(([, list]) =>
      (list as string)
        .split(",")
        .map((name) => name.trim().replace(/^type /, ""))
        .filter((name) => name !== ""),
    );
    expect(names.length).toBeGreaterThan(100);
    const [exports] = readFileSync(join(PROJECT, "docs", "api.md"), "utf8").split("\n## Types that these mention");
    const headings = [...(exports ?? "").matchAll(/^### (.*)$/gm)].map(([, name]) => name);
    expect(headings).toEqual([...names].sort());
  });
});
