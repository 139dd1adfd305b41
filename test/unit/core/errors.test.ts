import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { describeErrno, errnoOf } from "../../../src/core/errors.js";

describe("the error of a system call", () => {
  it("has a name also where Node knows none: a quota that is used up", () => {
    const number = -constants.errno.EDQUOT;
    const error = Object.assign(new Error("Unknown system error -122: write"), {
      errno: number,
      code: `Unknown system error ${number}`,
    });
    expect(errnoOf(error)).toBe("EDQUOT");
    expect(describeErrno(error)).toBe("disk quota exceeded (EDQUOT)");
  });
});
