import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import type { CommandResult } from "../support/command.js";

const DIGEST = `sha256:${"0".repeat(64)}`;

let directory: string;
let registry: Server;
let host: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "lock-"));
  // It has nothing.
  registry = createServer((request, response) => {
    response.statusCode = request.url === "/v2/" ? 200 : 404;
    response.end();
  });
  await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
});
afterAll(() => {
  registry.close();
  rmSync(directory, { recursive: true, force: true });
});

function expectError(result: CommandResult, status: number, message: string): void {
  expect(result.stderr).toContain(message);
  expect(result.stderr).toMatch(/^error: [^\n]+\n {2}hint: [^\n]+\n$/);
  expect(result.status).toBe(status);
}

async function copy(lock: string) {
  return await runCli(["copy", "--lock", lock, `docker://${host}/app:1`, `oci:${join(directory, "layout")}:1`]);
}

function lockFile(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

describe("a lock file", () => {
  it("is named where the registry has no longer what it says", async () => {
    const lock = lockFile("gone.lock", JSON.stringify({ name: `${host}/app`, tag: "1", digest: DIGEST }));
    const result = await copy(lock);
    expectError(result, 1, `the digest is that of the lock file ${lock}`);
    expect(result.stderr).toContain(DIGEST);
    expect(result.stderr).toContain("remove the lock file");
  });

  it("is no reason where there is none yet", async () => {
    expect((await copy(join(directory, "none.lock"))).stderr).not.toContain("lock file");
  });

  it.each(["{}", "", "[]", '{"name": 1}', '{"name": "x", "digest": "?"}'])(
    "is no lock with %j in it, and the hint says what one is",
    async (text) => {
      const lock = lockFile("wrong.lock", text);
      const result = await copy(lock);
      expectError(result, 1, `the lock file ${lock}`);
      expect(result.stderr).toContain('locks are {"name": ');
    },
  );

  it("is no standard output", async () => {
    expectError(await copy("-"), 2, "--lock - is no file");
  });
});
