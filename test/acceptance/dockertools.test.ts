import { afterAll, beforeAll, describe } from "vitest";
import { ACCEPTANCE_TOOLS, Acceptance } from "../support/acceptance.js";
import { REAL_STORE_TOOLS } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";
import { archivePoints } from "./archives.js";
import { basePoints } from "./bases.js";
import { confTests } from "./conf.js";
import { configPoints } from "./config.js";
import { rootPoints } from "./root.js";
import { SHELL_TOOLS, shellPoints } from "./shell.js";
import { storePoints } from "./store.js";

// What the tests of nixpkgs' dockerTools check, point by point. Its 30 points are the numbers at the beginning of names.

const LIMIT_MS = 120_000;

describe.skipIf(requireTools(...ACCEPTANCE_TOOLS))("what dockerTools does", { timeout: LIMIT_MS }, () => {
  const host = new Acceptance();
  beforeAll(async () => await host.start(), LIMIT_MS);
  afterAll(async () => await host.stop(), LIMIT_MS);

  describe("store paths", () => storePoints(host));
  describe("metadata", () => configPoints(host));
  describe("the root of an image", () => rootPoints(host));
  describe("images on top of others", () => basePoints(host));
  describe("archives", () => archivePoints(host));
  describe.skipIf(requireTools(...REAL_STORE_TOOLS, ...SHELL_TOOLS))("shells", () => shellPoints(host));
  describe("a conf.json of nixpkgs", () => confTests(host));
});
