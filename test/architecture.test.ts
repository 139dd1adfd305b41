import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/** Room → the rooms its files may import besides their own: docs/architecture.md, "Rooms". */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  tar: ["core"],
  nix: ["core"],
  layers: ["core", "nix"],
  oci: ["core"],
  transport: ["core", "tar", "oci"],
  cache: ["core"],
  examine: ["core", "tar", "oci", "transport"],
  build: ["core", "tar", "nix", "layers", "oci", "transport", "cache"],
  disk: ["core", "tar", "nix", "oci", "transport", "cache", "examine", "build"],
  report: ["core", "nix", "layers"],
  cli: ["index.ts"],
  "index.ts": ["core", "tar", "nix", "layers", "oci", "transport", "cache", "examine", "build", "disk", "report"],
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

const imports: readonly Import[] = files.flatMap((file) =>
  [
    ...readFileSync(join(src, file), "utf8").matchAll(
      /(?:^(?:import|export)\b(?:[^;"=]*\bfrom)?\s*|\b(?:import|require)\()"([^"]+)"/gm,
    ),
  ].map((match) => ({
    file,
    specifier: match[1] as string,
  })),
);

function roomOf(file: string): string {
  return file.split("/")[0] as string;
}

describe("the house", () => {
  it("imports in one direction only", () => {
    const breaches = imports
      .filter(({ specifier }) => specifier.startsWith("."))
      .map(({ file, specifier }) => ({
        file,
        target: relative(src, join(src, dirname(file), specifier)).replace(/\.js$/, ".ts"),
      }))
      .filter(
        ({ file, target }) => roomOf(file) !== roomOf(target) && !MAY_IMPORT[roomOf(file)]?.includes(roomOf(target)),
      );
    expect(breaches).toEqual([]);
  });

  it("has no room that nobody wrote down", () => {
    expect([...new Set(files.map(roomOf))].filter((room) => !Object.hasOwn(MAY_IMPORT, room))).toEqual([]);
  });

  it("imports each third-party package in one file", () => {
    const importers = new Map<string, Set<string>>();
    for (const { file, specifier } of imports) {
      if (specifier.startsWith(".") || specifier.startsWith("node:")) continue;
      expect(builtinModules, `${file} imports ${specifier} without node:`).not.toContain(specifier);
      const name = specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/");
      importers.set(name, (importers.get(name) ?? new Set()).add(file));
    }
    const shared = [...importers].filter(([, by]) => by.size > 1).map(([name, by]) => [name, [...by]]);
    expect(shared).toEqual([]);
    const { dependencies } = JSON.parse(readFileSync(join(src, "../package.json"), "utf8")) as {
      readonly dependencies: Readonly<Record<string, string>>;
    };
    expect([...importers.keys()].sort()).toEqual(Object.keys(dependencies).sort());
  });

  it("has no circular imports", () => {
    const graph = new Map<string, string[]>(files.map((file) => [file, []]));
    for (const { file, specifier } of imports) {
      if (specifier.startsWith(".")) graph.get(file)?.push(join(dirname(file), specifier).replace(/\.js$/, ".ts"));
    }
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      expect(path, "a circle of imports").not.toContain(file);
      if (done.has(file)) return;
      for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
  });
});
