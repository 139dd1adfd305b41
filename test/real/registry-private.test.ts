import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { packTar } from "../support/confs.js";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { LayoutFixture } from "../support/layouts.js";
import { REGISTRY_TOOLS, REGISTRY_USER, startRegistry, type TestRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

describe.skipIf(requireTools("skopeo", ...REGISTRY_TOOLS))("a private registry", { timeout: 60_000 }, () => {
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let directory: string;
  let layout: string;
  const secret = Buffer.from(`${REGISTRY_USER.name}:${REGISTRY_USER.password}`).toString("base64");

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-private-"));
    registry = await startRegistry({ isPrivate: true, relativeUrls: true });
    proxy = await startFaultProxy(registry.host);
    const fixture = new LayoutFixture();
    const tar = await packTar([["a", "text"]]);
    layout = fixture.add(fixture.image({ layers: [{ tar }] }), "1").write(join(directory, "layout"));
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const authFile = (auth: string) => {
    const file = join(directory, "auth.json");
    writeFileSync(file, JSON.stringify({ auths: { [proxy.host]: { auth }, [registry.host]: { auth } } }));
    return file;
  };
  const copy = (from: string, to: string, auth?: string) =>
    runCli(["copy", from, to], {
      env: { REGISTRY_AUTH_FILE: auth === undefined ? undefined : authFile(auth), HOME: directory },
    });

  it("takes and gives images with the right password, over relative Locations", async () => {
    const there = `docker://${proxy.host}/app:1`;
    const digest = String(expectOk(await copy(`oci:${layout}:1`, there, secret), "copy").stdout);
    expect(digest).toMatch(/^sha256:\w+\n$/);
    const pulled = join(directory, "pulled");
    const args = ["--insecure-policy", "--src-tls-verify=false", "--src-authfile", authFile(secret)];
    await runOk("skopeo", ["copy", ...args, `docker://${registry.host}/app:1`, `dir:${pulled}`]);
    expect(String(expectOk(await copy(there, `oci:${join(directory, "back")}:1`, secret), "copy").stdout)).toBe(digest);
  });

  it("keeps the password from the host that blobs are redirected to", async () => {
    const there = `docker://${proxy.host}/app:2`;
    expectOk(await copy(`oci:${layout}:1`, there, secret), "copy");
    proxy.inject({ method: "GET", path: /blobs/, times: 9, fault: { kind: "redirect" } });
    const failed = await copy(there, `oci:${join(directory, "elsewhere")}:1`, secret);
    // That host asks for a password itself here, as it is the registry's own back door; it never gets one.
    expect(failed.status).not.toBe(0);
    expect(proxy.elsewhere.length).toBeGreaterThan(0);
    expect(proxy.elsewhere.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    proxy.reset();
  });

  it.each([
    ["no password", undefined],
    ["a wrong one", Buffer.from("tester:wrong").toString("base64")],
  ])("refuses %s, which is said in words that hold no secret", async (_, auth) => {
    const refused = await copy(`oci:${layout}:1`, `docker://${proxy.host}/app:3`, auth);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain("401");
    expect(refused.stderr).toContain("docker login");
    expect(refused.stderr).toContain(
      auth === undefined ? "no credentials for" : `are from ${join(directory, "auth.json")}`,
    );
    if (auth !== undefined) expect(refused.stderr).not.toContain(auth);
    expect(refused.stderr).not.toContain("    at ");
  });

  it("may be a public one that sends blobs from another host", async () => {
    const open = await startRegistry();
    const door = await startFaultProxy(open.host);
    try {
      const there = `docker://${door.host}/app:1`;
      const digest = String(expectOk(await copy(`oci:${layout}:1`, there), "copy").stdout);
      door.inject({ method: "GET", path: /blobs/, times: 9, fault: { kind: "redirect" } });
      const back = await copy(there, `oci:${join(directory, "redirected")}:1`);
      expect(String(expectOk(back, "copy").stdout)).toBe(digest);
      expect(door.elsewhere).toHaveLength(2);
    } finally {
      await door.stop();
      await open.stop();
    }
  });
});
