import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiskTools } from "../../../src/disk/tools.js";

describe("a tool that talks", () => {
  const path = process.env.PATH;
  let directory: string;
  let tools: DiskTools;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "talk-"));
    process.env.PATH = `${directory}:${path}`;
    tools = new DiskTools();
  });
  afterEach(() => {
    process.env.PATH = path;
    tools.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const install = (name: string, script: string) => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(directory, name), 0o755);
  };
  const talk = async () => {
    const said = { stdout: "", stderr: "" };
    const onOutput = (stream: "stdout" | "stderr", bytes: Uint8Array) => {
      said[stream] += Buffer.from(bytes).toString();
    };
    const status = await tools.talk("qemu-system-x86_64", ["a b"], { onOutput, signal: new AbortController().signal });
    return { status, ...said };
  };

  it("is heard on both streams, and may fail", async () => {
    install("qemu-system-x86_64", 'echo "said $1"; echo no >&2; exit 3');
    expect(await talk()).toEqual({ status: 3, stdout: "said a b\n", stderr: "no\n" });
  });

  it("runs without setpriv that does not know what it is for", async () => {
    install("setpriv", "echo unrecognized option >&2; exit 1");
    install("qemu-system-x86_64", 'echo "said $1"');
    expect(await talk()).toEqual({ status: 0, stdout: "said a b\n", stderr: "" });
  });

  it("says by which signal it was ended", async () => {
    install("qemu-system-x86_64", '[ "$1" = --version ] || kill -TERM $$');
    expect((await talk()).status).toBe("SIGTERM");
  });
});
