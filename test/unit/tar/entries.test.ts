import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TarEntries } from "../../../src/tar/entries.js";
import { runOk } from "../../support/command.js";
import { hexSha256 } from "../../support/confs.js";

let directory: string;
const long = `${"d".repeat(90)}/${"f".repeat(120)}`;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-entries-"));
  const tree = join(directory, "tree");
  mkdirSync(join(tree, "d".repeat(90)), { recursive: true });
  writeFileSync(join(tree, long), "long");
  writeFileSync(join(tree, "a"), "x".repeat(5000));
  symlinkSync("t".repeat(150), join(tree, "l"));
  writeFileSync(join(tree, "s"), "");
  truncateSync(join(tree, "s"), 10_000_000);
  for (const name of [long, "a", "s"]) utimesSync(join(tree, name), 1_000_000, 1_000_000);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Lines `type name size mtime linkName sha256`, the archive being written in pieces of a size. */
function linesOf(archive: Buffer, piece: number): readonly string[] {
  const lines: string[] = [];
  const entries = new TarEntries(
    {
      open: ({ type }) => type === "file",
      close: ({ type, name, size, mtime, linkName, sparse }, sha256) => {
        const hex = sha256 === undefined || sparse ? "" : Buffer.from(sha256, "latin1").toString("hex");
        if (type !== "directory")
          lines.push([type, name, sparse ? "sparse" : size, linkName, type === "file" ? mtime : "", hex].join(" "));
      },
    },
    "an archive",
  );
  for (let at = 0; at < archive.length; at += piece) entries.write(archive.subarray(at, at + piece));
  expect(entries.end()).toMatchObject({ terminated: true, trailing: false });
  return lines.sort();
}

describe("entries of an archive that GNU tar wrote", () => {
  it.each(["gnu", "pax", "oldgnu"])("are read whatever the pieces: %s", async (format) => {
    const file = join(directory, `${format}.tar`);
    await runOk("tar", ["-C", join(directory, "tree"), `--format=${format}`, "--sparse", "-cf", file, "."]);
    const archive = readFileSync(file);
    const expected = [
      `file ./${long} 4  1000000 ${hexSha256("long")}`,
      `file ./a 5000  1000000 ${hexSha256("x".repeat(5000))}`,
      "file ./s sparse  1000000 ",
      `symlink ./l 0 ${"t".repeat(150)}  `,
    ].sort();
    for (const piece of [archive.length, 512, 77]) expect(linesOf(archive, piece)).toEqual(expected);
  });
});
