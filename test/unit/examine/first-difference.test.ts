import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { firstDifference } from "../../../src/examine/first-difference.js";
import { type Entry, layerOf, tarOf } from "./fixtures.js";

type Given = readonly (readonly [string, (Entry | string)?])[];

const between = async (a: Given, b: Given, packed?: "gzip") =>
  await firstDifference(layerOf(tarOf(...a)), layerOf(tarOf(...b), packed && { packed }), undefined);

describe("the first difference of two layers", () => {
  it("is none where the archives are the same, however they are packed", async () => {
    expect(await between([["a", "1"]], [["a", "1"]], "gzip")).toBeUndefined();
  });

  it("is a byte in the contents of an entry", async () => {
    const same = ["a", "1"] as const;
    expect(await between([same, ["b", "12345"]], [same, ["b", "12x45"]], "gzip")).toEqual({
      offset: 512 + 512 + 512 + 2,
      where: "contents",
      before: "b",
      after: "b",
      fields: [],
    });
  });

  it("is what a header says otherwise, even where nothing but the archive has it", async () => {
    const found = await between(
      [["d/", { uname: "root", mtime: 1 }]],
      [["./d/", { uname: "me", mtime: 7, mode: 0o700 }]],
    );
    expect(found).toMatchObject({ where: "header", before: "d/", after: "./d/", offset: 0 });
    expect(found?.fields).toEqual([
      { field: "name", before: "d/", after: "./d/" },
      { field: "mode", before: "0755", after: "0700" },
      { field: "uname", before: "root", after: "me" },
      { field: "mtime", before: "1", after: "7" },
    ]);
  });

  it("is that the same is said in another form", async () => {
    const found = await between([["a", { device: "0000000" }]], [["a", { device: "" }]]);
    expect(found).toMatchObject({ where: "header", before: "a", after: "a", fields: [] });
  });

  it.each([0, 1])("is where one of the archives ends: %i", async (longer) => {
    const [short, long]: Given[] = [
      [["a", "1"]],
      [
        ["a", "1"],
        ["b", "2"],
      ],
    ] as never;
    const found = await (longer === 0
      ? between(long as Given, short as Given)
      : between(short as Given, long as Given));
    expect(found).toEqual({
      ...{ offset: 1024, where: "header", fields: [] },
      ...(longer === 0 ? { before: "b", after: null } : { before: null, after: "b" }),
    });
  });

  it("is found in large layers that come in other pieces, wherever it is", async () => {
    const content = randomBytes(3_000_000);
    for (const at of [0, 262_143, 262_144, 1_234_567, 2_999_999]) {
      const changed = Buffer.from(content);
      changed[at] = (changed[at] as number) ^ 1;
      const [a, b] = [content, changed].map((bytes) => tarOf(["big", bytes.toString("latin1")]));
      const found = await firstDifference(layerOf(a as Buffer), layerOf(b as Buffer, { packed: "gzip" }), undefined);
      expect(found).toMatchObject({ offset: 512 + at, where: "contents", after: "big" });
    }
  });

  it("names the entries of both, where one of them begins in a piece that comes later", async () => {
    // Pieces are of 256 KiB, and the extended header is the last of the first one.
    const same = ["big", "x".repeat(262_144 - 1024)] as const;
    const found = await between([same, ["other"]], [same, ["short", { pax: { path: "extended" } }]]);
    expect(found).toMatchObject({ offset: 262_144 - 512, where: "header", before: "other", after: "extended" });
  });

  it("says what keeps it from being found, and waits for nobody", async () => {
    const broken = layerOf(tarOf(["b", "1"]));
    const failing = { ...broken, blob: { ...broken.blob, writeTo: () => Promise.reject(new Error("no disk")) } };
    await expect(firstDifference(layerOf(tarOf(["a", "1"])), failing, undefined)).rejects.toThrow("no disk");
    await expect(firstDifference(failing, layerOf(tarOf(["a", "1"])), undefined)).rejects.toThrow("no disk");
  });
});
