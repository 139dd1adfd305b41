import { describe, expect, it } from "vitest";
import { hashName } from "../../../../src/disk/ext4/name-hash.js";
import { runOk } from "../../../support/command.js";
import { UUID } from "../../../support/ext4.js";
import { requireTools, tool } from "../../../support/tools.js";

describe.skipIf(requireTools("debugfs"))("hashName", () => {
  const names = ["a", "abcd", "hello", "n".repeat(31), "n".repeat(32), "n".repeat(33), "x".repeat(255), "\xc3\xa9"];

  it.each([UUID, "00000000-0000-0000-0000-000000000000"])(
    "gives what debugfs gives, with the seed %s",
    async (uuid) => {
      const seed = Buffer.from(uuid.replaceAll("-", ""), "hex");
      for (const name of names) {
        const text = Buffer.from(name, "latin1").toString("utf8");
        const said = await runOk(tool("debugfs"), ["-R", `dx_hash -h half_md4 -s ${uuid} ${text}`]);
        const { major, minor } = hashName(name, seed);
        expect(said).toContain(`is 0x${major.toString(16)} (minor 0x${minor.toString(16)})`);
      }
    },
  );
});
