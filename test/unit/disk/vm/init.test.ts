import { describe, expect, it } from "vitest";
import { initScript, parseReport } from "../../../../src/disk/vm/init.js";
import { runCommand } from "../../../support/command.js";
import { requireTools, tool } from "../../../support/tools.js";

const MOUNTS = [
  { device: "/dev/vda", at: "/", type: "ext4", access: "write" },
  { device: "/dev/vdb", at: "/nix/it's", type: "ext4", access: "read" },
] as const;

describe("what init does", () => {
  it.skipIf(requireTools("busybox"))(
    "is a script that busybox can read, whatever the names of directories",
    async () => {
      const changes = { upper: "/dev/vdc", archive: "/dev/vdd" };
      for (const options of [{}, { changes }, { place: "initramfs", efiVariables: true }] as const) {
        const stdin = initScript(MOUNTS, options);
        const { status, stderr } = await runCommand(tool("busybox"), ["sh", "-n"], { stdin });
        expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      }
    },
  );

  it.each(["root", "initramfs"] as const)("gives a script in the %s an environment of four variables", (place) => {
    const line = initScript(MOUNTS, { place })
      .split("\n")
      .find((each) => each.startsWith("env -i"));
    expect(line?.match(/'[A-Z_]+=/g)).toEqual(["'PATH=", "'HOME=", "'LC_ALL=", "'TZ="]);
  });
});

describe("the report of init", () => {
  it("is its last line", () => {
    expect(parseReport("\x1b[2J\x1b[01;01H\r\nended 7 4096 12\r\n")).toEqual({
      ...{ status: 7, free: 4096, freeInodes: 12 },
    });
    expect(parseReport("failed there is no /dev/vda\r\n")).toEqual({ failure: "there is no /dev/vda" });
  });

  it("is none where the line is not whole", () => {
    for (const text of ["", "ended 7 4096 12", "ended 7\n", "hello\n"]) expect(parseReport(text)).toBeUndefined();
  });
});
