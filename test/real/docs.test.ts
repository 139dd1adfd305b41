import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PROJECT } from "../support/cli.js";
import { type Docker, ENGINE_TOOLS, startDocker } from "../support/daemons.js";
import { docBlocks } from "../support/doc-blocks.js";
import { Reader } from "../support/reader.js";
import { REAL_STORE_TOOLS } from "../support/real-store.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { makeShellStore } from "../support/shell-store.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 300_000;

const DOCUMENTS = ["README.md", ...readdirSync(join(PROJECT, "docs")).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith(".md"))
  .sort()
  .map((name) => ({ name, blocks: docBlocks(readFileSync(join(PROJECT, name), "utf8")) }));

/** What no test can do, as the documents themselves say. */
const NOT_RUN = DOCUMENTS.flatMap(({ name, blocks }) =>
  blocks.flatMap(({ notRun }) => (notRun === undefined ? [] : [`${name}: ${notRun}`])),
);

const missing = requireTools(...REAL_STORE_TOOLS, ...ENGINE_TOOLS.docker, ...REGISTRY_TOOLS, "skopeo", "unshare");

describe.skipIf(missing)("The code in documents", () => {
  let directory: string;
  let docker: Docker;
  let registry: TestRegistry;
  let reader: Reader;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-docs-"));
    [docker, registry] = await Promise.all([startDocker(), startRegistry()]);
    const store = await makeShellStore(join(directory, "store"));
    reader = new Reader({ store, dockerHost: docker.host, registry: registry.host, directory });
    await reader.prepare();
  }, LIMIT_MS);

  afterAll(async () => {
    await docker?.stop();
    await registry?.stop();
    rmSync(directory, { recursive: true, force: true });
  }, LIMIT_MS);

  it("is run but for what says why it is not", () => {
    expect(NOT_RUN).toEqual([
      "README.md: these two are what runs all tests",
      "README.md: a test of its own installs what is packed",
      "README.md: it is what made this test run",
      "docs/compatibility.md: it is a test itself, of all clients",
      "docs/faults.md: it takes minutes",
      "docs/install.md: a test of its own installs what is packed",
      "docs/install.md: a test of its own has all three shells",
      "docs/performance.md: it takes an hour",
      "docs/performance.md: it takes a quarter of an hour",
      "docs/shell.md: it is for who types",
    ]);
  });

  it.each(DOCUMENTS.filter(({ blocks }) => blocks.some(({ notRun }) => notRun === undefined)))(
    "of $name does what it says",
    async ({ name, blocks }) => {
      await reader.follow(
        name,
        blocks.filter(({ notRun }) => notRun === undefined),
      );
    },
    LIMIT_MS,
  );
});
