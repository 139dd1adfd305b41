import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderContentAddress } from "../../../src/nix/content-address.js";
import { decodeNixBase32, encodeNixBase32, normaliseNarHash } from "../../../src/nix/hash.js";

// One hash as Nix 2.8 prints it.
const HEX = "89e2f6c28d408d20520882793995f9fe3598b883fcac23a66d5a8be5e7d34071";
const BASE32 = "0wa0sgkyb2ssdnk27b7whfw9hdgyz6akjyc2119213a0ip1gdql9";
const BASE64 = "ieL2wo1AjSBSCIJ5OZX5/jWYuIP8rCOmbVqL5efTQHE=";

describe("Nix base-32", () => {
  it("encodes as Nix does", () => {
    expect(encodeNixBase32(Buffer.from(HEX, "hex"))).toBe(BASE32);
    expect(encodeNixBase32(createHash("sha256").update("").digest())).toBe(
      "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
    );
  });

  it("gives back any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(decodeNixBase32(encodeNixBase32(bytes))).toEqual(bytes);
      }),
    );
  });

  it("reads only text that it would write", () => {
    const digits = fc.constantFrom(..."0123456789abcdfghijklmnpqrsvwxyzeotu");
    fc.assert(
      fc.property(fc.string({ unit: digits, maxLength: 60 }), (text) => {
        const bytes = decodeNixBase32(text);
        if (bytes !== undefined) expect(encodeNixBase32(bytes)).toBe(text);
      }),
    );
  });

  it.each([
    ["a letter it has not", `e${BASE32.slice(1)}`],
    ["a length that no bytes give", BASE32.slice(1, -1)],
    ["bits beyond the last byte", `2${BASE32.slice(1)}`],
    ["capitals", BASE32.toUpperCase()],
  ])("rejects %s", (_, text) => {
    expect(decodeNixBase32(text)).toBeUndefined();
  });
});

describe("normaliseNarHash", () => {
  it.each([
    ["Nix base-32 with prefix", `sha256:${BASE32}`],
    ["hex with prefix", `sha256:${HEX}`],
    ["bare hex", HEX],
    ["bare Nix base-32", BASE32],
    ["SRI", `sha256-${BASE64}`],
    ["an object in base-64", { algorithm: "sha256", format: "base64", hash: BASE64 }],
    ["an object in base-16", { algorithm: "sha256", format: "base16", hash: HEX }],
    ["an object in Nix base-32", { algorithm: "sha256", format: "nix32", hash: BASE32 }],
  ])("reads %s", (_, hash) => {
    expect(normaliseNarHash(hash)).toBe(`sha256:${BASE32}`);
  });

  it("reads every form of any SHA-256 alike", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const buffer = Buffer.from(bytes);
        const canonical = `sha256:${encodeNixBase32(bytes)}`;
        for (const text of [canonical, buffer.toString("hex"), `sha256-${buffer.toString("base64")}`]) {
          expect(normaliseNarHash(text)).toBe(canonical);
        }
      }),
    );
  });

  it.each([
    ["nothing", ""],
    ["another length", `sha256:${BASE32.slice(1)}`],
    ["hex after a dash", `sha256-${HEX}`],
    ["base-64 without its padding", `sha256-${BASE64.slice(0, -1)}`],
    ["capitals", HEX.toUpperCase()],
    ["a line break", `sha256:${BASE32}\n`],
    ["null", null],
    ["a number", 5],
    ["an object without format", { algorithm: "sha256", hash: HEX }],
    ["an object with an unknown format", { algorithm: "sha256", format: "toString", hash: HEX }],
    ["an unknown algorithm", `constructor:${HEX}`],
  ])("rejects %s, showing it", (_, hash) => {
    const found = JSON.stringify(hash).slice(0, 100);
    expect(() => normaliseNarHash(hash, "file.txt, line 3")).toThrow(`file.txt, line 3: ${found}`);
  });

  it("says which other algorithm it found", () => {
    const sri = `sha512-${createHash("sha512").update("").digest("base64")}`;
    expect(() => normaliseNarHash(sri)).toThrow("is a sha512 hash, not a SHA-256");
  });
});

describe("renderContentAddress", () => {
  // From the tests of Nix: one content address as versions 1 and 2 of its JSON write it.
  const TEXT = "fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh";

  it("writes the object of newer Nix as the database does", () => {
    const ca = { method: "nar", hash: "sha256-EMIJ+giQ/gLIWoxmPKjno3zHZrxbGymgzGGyZvZBIdM=" };
    expect(renderContentAddress(ca, "ca")).toBe(TEXT);
    expect(renderContentAddress(TEXT, "ca")).toBe(TEXT);
  });

  it.each([[{ method: "magic", hash: HEX }], [{ method: "nar", hash: "x" }], [5], [{}]])("rejects %j", (ca) => {
    expect(() => renderContentAddress(ca, "ca of x")).toThrow("ca of x: ");
  });
});
