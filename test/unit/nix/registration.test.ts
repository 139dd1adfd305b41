import { describe, expect, it } from "vitest";
import { parseRegistration } from "../../../src/nix/registration.js";
import { path } from "./fixtures.js";

const HASH = `sha256:${"0".repeat(52)}`;
const A = path("a");
const B = path("b");
const DRV = path("d.drv");

const lines = (...text: readonly string[]) => `${text.join("\n")}\n`;
const known = { narHash: HASH, narSize: 7 };
const unknown = { narHash: undefined, narSize: undefined };

describe("parseRegistration", () => {
  it.each([
    ["a deriver and references", [DRV, "2", A, B], { deriver: DRV, references: [A, B] }],
    ["a deriver and no references", [DRV, "0"], { deriver: DRV, references: [] }],
    ["references and no deriver", ["", "1", B], { deriver: undefined, references: [B] }],
    ["neither", ["", "0"], { deriver: undefined, references: [] }],
  ] as const)("tells both line formats apart with %s", (_, rest, expected) => {
    expect(parseRegistration(lines(A, HASH, "7", ...rest), "f").objects).toEqual([{ path: A, ...known, ...expected }]);
    expect(parseRegistration(lines(A, ...rest), "f").objects).toEqual([{ path: A, ...unknown, ...expected }]);
  });

  it("reads objects one after another, also of both formats", () => {
    const text = lines(A, HASH, "7", "", "0", B, "", "0", A, "", "1", B);
    expect(parseRegistration(text, "f").objects.map((object) => object.path)).toEqual([A, B, A]);
  });

  it("reads the bare hex hashes of nix-store --dump-db", () => {
    const text = lines(A, "0".repeat(64), "7", "", "0");
    expect(parseRegistration(text, "f").objects[0]?.narHash).toBe(HASH);
  });

  it.each([
    ["no newline at the end", (text: string) => text.trimEnd()],
    ["empty lines at the end", (text: string) => `${text}\n\n`],
    ["carriage returns", (text: string) => text.replaceAll("\n", "\r\n")],
  ])("tolerates %s", (_, change) => {
    const text = lines(A, HASH, "7", "", "1", B);
    expect(parseRegistration(change(text), "f")).toEqual(parseRegistration(text, "f"));
  });

  it.each([
    ["a path cut off after its name", lines(A), "f ends after line 1, where a deriver is due"],
    ["references cut off", lines(A, "", "2", B), "f ends after line 4, where a store path is due"],
    ["a huge number of references", lines(A, "", "9007199254740991", B), "f ends after line 4"],
    [
      "a number beyond the safe integers",
      lines(A, HASH, "9007199254740992", "", "0"),
      "f, line 3: 9007199254740992 is",
    ],
    ["a negative size", lines(A, HASH, "-1", "", "0"), 'f, line 3: "-1" is not a NAR size'],
    ["a size with a unit", lines(A, HASH, "5k", "", "0"), 'f, line 3: "5k" is not a NAR size'],
    ["a bad hash", lines(A, "sha256:x", "7", "", "0"), 'f, line 2: "sha256:x" is not a hash'],
    ["fewer references than listed", lines(A, "", "0", B, "", "1", "x"), 'f, line 7: "x" is not a store path'],
    ["a list of paths only", lines(A, B, DRV), `f, line 3: "${DRV}" is not the number of references`],
    ["a deriver that is no path", lines(A, HASH, "7", "5", "0"), 'f, line 4: "5" is not a deriver'],
  ])("rejects %s with its line", (_, text, message) => {
    expect(() => parseRegistration(text, "f")).toThrow(message);
  });
});
