import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DISK_SPEC_SCHEMA } from "../../../src/disk/disk-spec.js";
import { DISK_FORMATS } from "../../../src/disk/format/convert.js";
import { TABLE_NAMES } from "../../../src/disk/layout.js";
import { PROJECT } from "../../support/cli.js";

const text = readFileSync(join(PROJECT, "docs", "disk.md"), "utf8");
const fields = Object.keys(DISK_SPEC_SCHEMA.properties as object).filter((name) => name !== "$schema");

describe("docs/disk.md", () => {
  it.each([...fields, ...TABLE_NAMES, ...DISK_FORMATS])("tells of %s", (name) => {
    expect(text).toContain(`\`${name}\``);
  });
});
