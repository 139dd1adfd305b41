import { closeSync, openSync } from "node:fs";
import { expect, it } from "vitest";
import { readPieces } from "../../../src/core/file-range.js";

it("pieces of a file that cannot be read are an error that names it", async () => {
  const fd = openSync("/", "r");
  try {
    await expect(readPieces(fd, "a temporary file").next()).rejects.toMatchObject({
      code: "unreadable",
      message: expect.stringMatching(/^cannot read a temporary file: .*EISDIR/),
    });
  } finally {
    closeSync(fd);
  }
});
