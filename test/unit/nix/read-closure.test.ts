import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClosure, type StoreObject } from "../../../src/nix/closure.js";
import { encodeNixBase32 } from "../../../src/nix/hash.js";
import { formatClosure, parseClosure, readClosureFile } from "../../../src/nix/read-closure.js";
import { CLOSURES, fixture, graphOf, object, path } from "./fixtures.js";

const APP = "/nix/store/1jcyijjj9146mvmr19jhxnw9kbxqn4mz-app-4.0";
const MID = "/nix/store/9prn28wpkffs3fqc9cqz8p1zqi13whid-mid_with.odd+name-3?=x";
const LEAF = "/nix/store/lbgx7hpbgappf1v4gjhi803g3ccsi7nj-leaf-1.0";
const SELF = "/nix/store/x359qv864g1wbkqdgm6gq0hcn9f2xsw2-self-2.1";

const EXPECTED = {
  storeDir: "/nix/store",
  roots: [APP],
  objects: [
    {
      path: APP,
      narHash: "sha256:0wa0sgkyb2ssdnk27b7whfw9hdgyz6akjyc2119213a0ip1gdql9",
      narSize: 288,
      references: [APP, MID, LEAF],
    },
    {
      path: MID,
      narHash: "sha256:1dp49xkcr3zrfawvmlnb4lp8ww426952dnj31q2z9b0bw4llvw6n",
      narSize: 224,
      references: [LEAF, SELF],
    },
    {
      path: LEAF,
      narHash: "sha256:0l1v2mjy9ivhn9njfz2szzh7whr0vj02cysj0xhng9mdi3zfcnpa",
      narSize: 120,
      references: [],
    },
    {
      path: SELF,
      narHash: "sha256:0wi5b5ykg7y3ml9d2axx961h5a4wjrqs3hksv9bf9raasnm1y7b0",
      narSize: 168,
      references: [SELF],
    },
  ],
};

const COMPLETE = [
  "registration.txt",
  "dump-db.txt",
  "attrs-one-graph.json",
  "attrs-two-graphs.json",
  "path-info-2.8.json",
  "path-info-2.19.json",
  "path-info-format-2.json",
  "path-info-format-3.json",
];
const WITHOUT_HASHES = ["references-graph.txt", "nix2container-graph.json"];

const parse = (text: string, options: { storeDir?: string; roots?: string[] } = {}) =>
  parseClosure(text, { source: "f", ...options });
const parseJson = (json: unknown, options = {}) => parse(JSON.stringify(json), options);

describe("parseClosure", () => {
  it.each(COMPLETE)("reads %s", (name) => {
    expect(graphOf(parse(fixture(name)))).toEqual(EXPECTED);
  });

  it.each(WITHOUT_HASHES)("reads %s, which has no hashes and sizes", (name) => {
    const objects = EXPECTED.objects.map((object) => ({ ...object, narHash: undefined, narSize: undefined }));
    expect(graphOf(parse(fixture(name)))).toEqual({ ...EXPECTED, objects });
  });

  it.each([...COMPLETE, ...WITHOUT_HASHES])("ignores a byte order mark and the end of %s's last line", (name) => {
    expect(parse(`\ufeff${fixture(name).trimEnd()}\n\n`)).toEqual(parse(fixture(name)));
  });

  it.each(["dump-db.txt", "path-info-2.8.json", "path-info-2.19.json", "path-info-format-2.json"])(
    "keeps the derivers of %s",
    (name) => {
      expect(parse(fixture(name)).objects.get(LEAF as never)?.deriver).toBe(
        "/nix/store/40nbfwy1algqh0bpja6s49p11gnz45hp-leaf-1.0.drv",
      );
    },
  );

  it("keeps content addresses, written as the database writes them", () => {
    const ca = { method: "text", hash: `sha256-${Buffer.alloc(32).toString("base64")}` };
    const [base] = path("a").split("/").slice(-1) as [string];
    const json = { version: 2, storeDir: "/nix/store", info: { [base]: { references: [], ca } } };
    expect(parseJson(json).objects.get(path("a"))?.ca).toBe(`text:sha256:${"0".repeat(52)}`);
  });

  it("leaves out what the given roots do not reach", () => {
    expect([...parse(fixture("dump-db.txt"), { roots: [MID] }).objects.keys()]).toEqual([MID, LEAF, SELF]);
  });

  it("reads graphs under any key where exportReferencesGraph is not there to name them", () => {
    const { exportReferencesGraph: _, app, first } = JSON.parse(fixture("attrs-two-graphs.json"));
    expect(graphOf(parseJson({ name: "x", closure: app, other: first, list: [1] }))).toEqual(EXPECTED);
  });

  it("ignores graphs that exportReferencesGraph does not name", () => {
    const json = { exportReferencesGraph: { g: [] }, g: [object("a")], other: [object("b")] };
    expect(parseJson(json).roots).toEqual([path("a")]);
  });

  it("ignores closure sizes", () => {
    expect(parseJson([{ ...object("a"), closureSize: "wrong" }]).roots).toEqual([path("a")]);
  });

  it.each([...COMPLETE, ...WITHOUT_HASHES])("reads %s of another store directory", (name) => {
    const text = fixture(name).replaceAll("/nix/store", "/opt/my/store");
    const closure = parse(text);
    expect(closure.storeDir).toBe("/opt/my/store");
    expect(parse(text, { storeDir: "/opt/my/store" })).toEqual(closure);
    expect(() => parse(text, { storeDir: "/nix/store" })).toThrow("not directly below the store directory /nix/store");
  });

  it.each([
    ["an empty file", "", "f is empty"],
    ["blanks only", "\ufeff \n\n", "f is empty"],
    ["another text", "hello\nworld", 'f is not a closure graph: it starts with "hello"'],
    ["JSON that is cut off", '[{"path": "/nix', "f is not valid JSON: a string that does not end"],
    ["a list of paths", `${LEAF}\n${SELF}\n`, "f ends after line 2"],
    ["no paths", "[]", "f holds no store paths"],
    ["an empty object", "{}", "f is not a closure graph: it is an empty object"],
    [
      "another object",
      '{"name": "x", "tag": "y"}',
      "f is not a closure graph: it is an object with the keys name, tag",
    ],
    ["a list of numbers", "[1]", "f[0] is a number, not an object"],
    ["a list of paths in JSON", `["${LEAF}"]`, "f[0] is a string, not an object"],
    ["an object without path", '[{"references": []}]', "f[0].path is missing"],
    ["an object without references", `[{"path": "${LEAF}"}]`, `f: references of ${LEAF} is missing`],
    [
      "references that are no list",
      `[{"path": "${LEAF}", "references": {}}]`,
      "is an object, not a list of store paths",
    ],
    ["a reference that is no text", `[{"path": "${LEAF}", "references": [7]}]`, "is a number, not a store path"],
    [
      "a named graph that is missing",
      '{"exportReferencesGraph": {"g": []}}',
      'f: exportReferencesGraph names "g", but',
    ],
    ["a path info that is no object", `{"${LEAF}": 5}`, `f: ${LEAF} is a number`],
    ["a relative path", '[{"path": "x", "references": []}]', 'f: "x" is not a path in a store directory'],
    ["a path in the root", '[{"path": "/x", "references": []}]', 'f: "/x" is not a path in a store directory'],
    [
      "a bad name",
      '[{"path": "/nix/store/x", "references": []}]',
      'f: "/nix/store/x" is not a store path: it does not',
    ],
  ])("rejects %s", (_, text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: "OciNixError", code: "invalid-input" }));
  });

  it.each([1.5, -1, "5", null, 2 ** 53, true])("rejects the size %j", (narSize) => {
    expect(() => parseJson([{ ...object("a"), narSize }])).toThrow(
      `narSize of ${path("a")}: ${JSON.stringify(narSize)}`,
    );
  });

  it("lists what is accepted where it does not know the shape", () => {
    expect(() => parse("hello")).toThrow(expect.objectContaining({ hint: expect.stringContaining("nix path-info") }));
  });

  it.each([
    ["null since Nix 2.19", { [LEAF]: null }],
    ["null under its base name", { storeDir: "/nix/store", info: { [LEAF.slice(11)]: null } }],
    ["not valid up to Nix 2.18", [{ path: LEAF, valid: false }]],
  ])("rejects a path that is %s", (_, json) => {
    expect(() => parseJson(json)).toThrow(`f says that ${LEAF} is not valid`);
  });

  it("rejects paths of two stores, naming one of each", () => {
    const other = path("b", "/opt/store");
    expect(() => parseJson([object("a"), { ...object("b"), path: other }])).toThrow(
      `f mixes store directories: ${path("a")} and ${other}`,
    );
  });

  it("rejects a reference to another store", () => {
    const references = [path("b", "/opt/store")];
    expect(() => parseJson([{ ...object("a"), references }])).toThrow("f: ");
  });

  it("rejects what is not closed, cyclic, or lacks a root, naming the file", () => {
    expect(() => parseJson([object("a", ["b"])])).toThrow("f is not closed under references");
    expect(() => parseJson([object("a", ["b"]), object("b", ["a"])])).toThrow("f has a cycle");
    expect(() => parseJson([object("a")], { roots: [path("b")] })).toThrow(`${path("b")} is not in f`);
  });
});

describe("readClosureFile", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "closure-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it("reads a file, naming it in errors", async () => {
    expect(graphOf(await readClosureFile(`${CLOSURES}/dump-db.txt`))).toEqual(EXPECTED);
    await expect(readClosureFile("package.json")).rejects.toThrow("package.json is not a closure graph");
  });

  it("passes roots on", async () => {
    const closure = await readClosureFile(`${CLOSURES}/dump-db.txt`, { roots: [LEAF] });
    expect([...closure.objects.keys()]).toEqual([LEAF]);
  });

  it("rejects what is missing, a directory, and not UTF-8", async () => {
    await expect(readClosureFile(join(directory, "none"))).rejects.toMatchObject({ code: "not-found" });
    await expect(readClosureFile(directory)).rejects.toMatchObject({ code: "unreadable" });
    const file = join(directory, "utf16");
    writeFileSync(file, Buffer.from("\ufeff[]", "utf16le"));
    await expect(readClosureFile(file)).rejects.toThrow("is not text in UTF-8");
  });
});

describe("formatClosure", () => {
  it("prints the graph sorted by path with closure sizes", () => {
    const text = formatClosure(parse(fixture("dump-db.txt")));
    expect(text.endsWith("\n]\n")).toBe(true);
    const graph = JSON.parse(fixture("attrs-one-graph.json")).graph;
    expect(JSON.parse(text)).toEqual(graph);
    expect(Object.keys(JSON.parse(text)[0])).toEqual(["path", "narHash", "narSize", "closureSize", "references"]);
    expect(text.split("\n")[1]).toBe("  {");
  });

  it("leaves out what is unknown", () => {
    const closure = parse(fixture("references-graph.txt"));
    expect(Object.keys(JSON.parse(formatClosure(closure))[0])).toEqual(["path", "references"]);
    expect(parse(formatClosure(closure))).toEqual(closure);
  });

  it("prints the same text from every complete form", () => {
    expect(new Set(COMPLETE.map((name) => formatClosure(parse(fixture(name))))).size).toBe(1);
  });

  it("is read back as the same closure", () => {
    fc.assert(
      fc.property(closures(), fc.constantFrom("/nix/store", "/opt/nix/store"), (objects, storeDir) => {
        const moved = JSON.parse(JSON.stringify(objects).replaceAll("/nix/store", storeDir)) as StoreObject[];
        const closure = createClosure({ storeDir, objects: moved, source: "generated" });
        expect(graphOf(parse(formatClosure(closure)))).toEqual(graphOf(closure));
      }),
    );
  });
});

/** Acyclic graphs of which some objects have no hash or size. */
function closures(): fc.Arbitrary<StoreObject[]> {
  const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `sha256:${encodeNixBase32(bytes)}`);
  const node = fc.record({
    name: fc.stringMatching(/^[a-zA-Z0-9+_?=-]{1,20}$/),
    narHash: fc.option(digest, { nil: undefined }),
    narSize: fc.option(fc.nat(), { nil: undefined }),
    targets: fc.array(fc.nat(), { maxLength: 4 }),
  });
  return fc.array(node, { minLength: 1, maxLength: 12 }).map((nodes) => {
    const name = (n: number) => `/nix/store/${String(n).padStart(32, "0")}-${nodes[n]?.name}`;
    return nodes.map(({ narHash, narSize, targets }, n) => ({
      path: name(n) as never,
      narHash,
      narSize,
      references: targets.map((target) => name(target % (n + 1)) as never),
    }));
  });
}
