import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOk } from "../support/command.js";
import {
  createPodman,
  ENGINE_TOOLS,
  type Engine,
  RUN_OPTIONS,
  startContainerd,
  startDocker,
} from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";

// The engines that other tests load our images into, checked with an archive that is not ours: when these fail, it is this
// machine and not the program.

const IMAGE_TOOLS = ["umoci", "skopeo", "busybox"];
const LIMIT_MS = 120_000;

let directory: string;
let archive: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "engines-"));
  archive = join(directory, "image.tar");
  if (requireTools(...IMAGE_TOOLS) === undefined) await makeArchive();
}, LIMIT_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.skipIf(requireTools(...IMAGE_TOOLS, ...ENGINE_TOOLS.docker))("a private Docker", () => {
  it("loads and runs an image", () => loadsAndRuns(startDocker()), LIMIT_MS);
});

describe.skipIf(requireTools(...IMAGE_TOOLS, ...ENGINE_TOOLS.podman))("a private Podman", () => {
  it("loads and runs an image", () => loadsAndRuns(createPodman()), LIMIT_MS);
});

describe.skipIf(requireTools(...IMAGE_TOOLS, ...ENGINE_TOOLS.containerd))("a private containerd", () => {
  it(
    "imports an image",
    async () => {
      const containerd = await startContainerd();
      try {
        await containerd.ok(["image", "import", archive]);
        expect(await containerd.ok(["image", "ls", "-q"])).toContain("probe:1");
      } finally {
        await containerd.stop();
      }
    },
    LIMIT_MS,
  );
});

async function loadsAndRuns(starting: Promise<Engine>): Promise<void> {
  const engine = await starting;
  try {
    await engine.ok(["load"], { stdin: { file: archive } });
    expect(await engine.ok([...RUN_OPTIONS, "probe:1", "/busybox", "echo", "it runs"])).toBe("it runs\n");
  } finally {
    await engine.stop();
  }
}

async function makeArchive(): Promise<void> {
  const files = join(directory, "files");
  mkdirSync(files);
  await runOk("cp", [tool("busybox"), join(files, "busybox")]);
  writeFileSync(join(files, "probe"), "");
  const layout = join(directory, "layout");
  await runOk("umoci", ["init", "--layout", layout]);
  await runOk("umoci", ["new", "--image", `${layout}:1`]);
  await runOk("umoci", ["insert", "--image", `${layout}:1`, files, "/"]);
  await runOk("skopeo", ["copy", "--insecure-policy", `oci:${layout}:1`, `docker-archive:${archive}:probe:1`]);
}
