#!/usr/bin/env node
// What the compiler does not do: removes from dist/ what no source makes any more, and writes the manual pages.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const project = fileURLToPath(new URL("..", import.meta.url));
const dist = join(project, "dist");
const man = join(dist, "man");

for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  const [, name] = /^(.*?)(?:\.d\.ts|\.js)$/.exec(file) ?? [];
  if (name !== undefined && !existsSync(join(project, "src", `${name}.ts`))) rmSync(join(dist, file));
}

const { COMMANDS } = await import("../dist/cli/commands.js");
const { formatManPages } = await import("../dist/cli/man-pages.js");
const { version } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
const pages = formatManPages(COMMANDS, version);
mkdirSync(man, { recursive: true });
for (const file of readdirSync(man)) if (!pages.has(file)) rmSync(join(man, file));
for (const [file, text] of pages) writeFileSync(join(man, file), text);
