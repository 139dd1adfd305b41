import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../support/cli.js";
import { runOk } from "../support/command.js";

const make = (mode: string): Promise<string> =>
  runOk(process.execPath, [join(PROJECT, "scripts", "make-api-docs.mjs"), mode]);

describe("the library's interface", () => {
  it("is what docs/api.md says: a change of it is to be seen, and made with npm run docs:api", async () => {
    const written = readFileSync(join(PROJECT, "docs", "api.md"), "utf8");
    expect((await make("--print")).split("\n")).toEqual(written.split("\n"));
  }, 60_000);

  it("has nothing of which its source says nothing", async () => {
    expect(await make("--bare")).toBe("");
  }, 60_000);

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
