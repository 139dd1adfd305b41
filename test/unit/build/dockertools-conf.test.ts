import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDockertoolsImage } from "../../../src/build/dockertools/conf.js";
import { type JsonObject, parseJson } from "../../../src/core/json.js";
import { conf, makeCustomisation } from "../../support/confs.js";

let storeRoot: string;
beforeAll(async () => {
  storeRoot = mkdtempSync(join(tmpdir(), "conf-"));
  await makeCustomisation(storeRoot);
});
afterAll(() => rmSync(storeRoot, { recursive: true, force: true }));

async function ownerOf(fields: Readonly<Record<string, unknown>>) {
  const json = parseJson(JSON.stringify(conf(fields)), "conf.json") as JsonObject;
  const plan = await planDockertoolsImage(json, { source: "conf.json", storeRoot });
  plan.close();
  return plan.files.owner;
}

describe("the owner of a conf.json", () => {
  it("is a whole number, in a string or not", async () => {
    const owner = await ownerOf({ uid: "1000", gid: "100" });
    expect(owner).toMatchObject({ uid: 1000, gid: 100 });
    expect(await ownerOf({ uid: 1000, gid: 100 })).toEqual(owner);
  });

  it.each(["", "-1", "1.5", "x", -1, 1.5, 1e30, true, null, [1]])("is not %j", async (uid) => {
    await expect(ownerOf({ uid })).rejects.toMatchObject({
      code: "invalid-input",
      message: `conf.json: uid must be a whole number, in a string or not; found ${
        Array.isArray(uid) ? "an array" : JSON.stringify(uid)
      }`,
    });
  });
});
