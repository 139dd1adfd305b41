#!/usr/bin/env node
// What the compiler does not do: removes from dist/ what no source makes any more, makes dist/bundle, which is published and run,
// and writes the manual pages.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const project = fileURLToPath(new URL("..", import.meta.url));
const dist = join(project, "dist");
const bundle = join(dist, "bundle");
const man = join(dist, "man");
const { dependencies, version } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));

for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  if (file.startsWith("bundle/")) continue;
  const [, name] = /^(.*?)(?:\.d\.ts|\.js)$/.exec(file) ?? [];
  if (name !== undefined && !existsSync(join(project, "src", `${name}.ts`))) rmSync(join(dist, file));
}

const bundler = await rolldown({
  cwd: project,
  // Entries of one bundle: what they share is there once, so that the program and the library have the same classes.
  input: {
    index: "dist/index.js",
    main: "dist/cli/main.js",
    // Found beside the file that starts it.
    worker: "dist/build/pipeline/worker.js",
  },
  platform: "node",
  external: Object.keys(dependencies),
});
const { output } = await bundler.write({
  dir: bundle,
  // One directory, as deep as those of dist/ that find files by their own place.
  entryFileNames: "[name].js",
  chunkFileNames: "[name].js",
  // Declarations have them.
  comments: { jsdoc: false },
});
await bundler.close();
const made = new Set(output.map(({ fileName }) => fileName));
for (const file of readdirSync(bundle)) if (!made.has(file)) rmSync(join(bundle, file));

const { COMMANDS } = await import("../dist/cli/commands.js");
const { formatManPages } = await import("../dist/cli/man-pages.js");
const pages = formatManPages(COMMANDS, version);
mkdirSync(man, { recursive: true });
for (const file of readdirSync(man)) if (!pages.has(file)) rmSync(join(man, file));
for (const [file, text] of pages) writeFileSync(join(man, file), text);
