import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSpec, SPEC_SCHEMA } from "../../src/build/spec/spec.js";
import { OciNixError } from "../../src/core/errors.js";
import { toJson } from "../../src/core/json.js";

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SPEC_SCHEMA);

type Value = null | boolean | number | string | readonly Value[] | { readonly [key: string]: Value };

const some = <T extends Value>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 6 });
const record = (fields: Readonly<Record<string, fc.Arbitrary<Value>>>, requiredKeys: readonly string[] = []) =>
  fc.record(
    Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [key, requiredKeys.includes(key) ? value : some(value)]),
    ),
    { requiredKeys: [...requiredKeys] },
  ) as fc.Arbitrary<{ readonly [key: string]: Value }>;

/** Of the right type mostly, and of the right form often. */
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 6 }), fc.constantFrom("app", "x", "é"));
const path = fc.constantFrom(`/nix/store/${"a".repeat(32)}-a`, `/nix/store/${"b".repeat(32)}-b`);
const texts = fc.array(fc.oneof(text, path), { maxLength: 3 });
const number = fc.oneof(fc.nat({ max: 200 }), fc.constantFrom(-1, 2 ** 32 - 2, 2 ** 32));
const mode = fc.oneof(fc.stringMatching(/^[0-8]{2,6}$/), fc.constantFrom("0755", "1777", "07777"));
const owner = { uid: number, gid: number, uname: text, gname: text };
const time = fc.oneof(text, fc.constantFrom("now", "0", "2026-01-31T12:00:00Z"));

const permission = record({ path, regex: fc.constantFrom("", "a", ".*", "("), mode, ...owner }, ["path"]);

const file = record(
  {
    target: fc.constantFrom("/a", "/a/b", "/a/", "a"),
    text,
    path: text,
    directory: fc.boolean(),
    link: text,
    mode,
    ...owner,
  },
  ["target"],
);

const helper: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom("fakeNss", "binSh", "nope"),
  record({ fakeNss: record({ extraPasswdLines: texts, extraGroupLines: texts }) }, ["fakeNss"]),
  fc.constant({ binSh: {} }),
);

const config = record({
  User: text,
  Env: fc.array(fc.constantFrom("A=1", "A=", "=", "A")),
  Cmd: texts,
  Labels: fc.dictionary(fc.string(), text),
  Volumes: fc.dictionary(fc.constantFrom("/v", "v"), fc.constant({})),
  StopTimeout: fc.integer(),
  ArgsEscaped: fc.boolean(),
  Healthcheck: record({ Test: texts, Interval: fc.integer() }),
});

const layer = record({
  deps: texts,
  copyToRoot: texts,
  perms: fc.array(permission, { maxLength: 1 }),
  strategy: text,
  maxLayers: number,
  history: record({ created_by: text, comment: text }),
});

/** With all fields nearly every one would have something wrong. */
const spec = fc
  .tuple(
    record(
      {
        $schema: text,
        name: fc.oneof(text, fc.constantFrom("app", "registry.example/app")),
        tag: text,
        closure: record({
          roots: texts,
          graph: text,
          storeRoot: text,
          storeDir: fc.constantFrom("/nix/store", "store"),
        }),
        strategy: text,
        pipeline: fc.constantFrom<Value>([["flatten"]], [["limit_layers", 3]], [], [["nope"]]),
        maxLayers: number,
        inheritConfig: fc.constantFrom<Value>(true, false, "env", "none", "some"),
        perms: fc.array(permission, { maxLength: 2 }),
        contents: texts,
        files: fc.array(file, { maxLength: 2 }),
        helpers: fc.array(helper, { maxLength: 2 }),
        layers: fc.array(layer, { maxLength: 2 }),
        nixDatabase: record({ enable: fc.boolean(), ...owner, directoryMode: mode, fileMode: mode }),
        config,
        architecture: fc.constantFrom("amd64", "x86_64"),
        created: time,
        ...owner,
        tarProfile: fc.constantFrom("oci", "dockertools", "tar"),
        compression: fc.constantFrom("none", "gzip:9", "zip"),
      },
      ["closure"],
    ),
    fc.array(fc.nat({ max: 99 }), { maxLength: 4 }),
  )
  .map(([all, chosen]) => {
    const keys = Object.keys(all).filter((key) => key !== "closure");
    const kept = new Set(["closure", ...chosen.map((n) => keys[n % keys.length])]);
    return Object.fromEntries(Object.entries(all).filter(([key]) => kept.has(key)));
  });

function isAccepted(value: Value): boolean {
  try {
    checkSpec(toJson(value), "spec");
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(OciNixError);
    return false;
  }
}

type Place = readonly (string | number)[];

/** Where there is something in a value, and what. Inside a pipeline the schema does not look. */
function placesIn(value: Value, at: Place = []): readonly (readonly [Place, Value])[] {
  if (typeof value !== "object" || value === null) return [[at, value]];
  const below = Object.entries(value).filter(([key]) => !(at.length === 0 && key === "pipeline"));
  return [
    [at, value],
    ...below.flatMap(([key, item]) => placesIn(item, [...at, Array.isArray(value) ? Number(key) : key])),
  ];
}

function replaced(value: Value, [key, ...rest]: Place, by: Value): Value {
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.map((item: Value, i) => (i === key ? replaced(item, rest, by) : item));
  const object = value as Readonly<Record<string, Value>>;
  return { ...object, [key]: replaced(object[key] as Value, rest, by) };
}

describe("the schema of spec files", () => {
  it("takes whatever the program takes", () => {
    let accepted = 0;
    fc.assert(
      fc.property(spec, (value) => {
        if (!isAccepted(value)) return;
        accepted++;
        expect(validate(value), JSON.stringify(validate.errors)).toBe(true);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });

  it("refuses a value of a type that nothing has, wherever it stands, as the program does", () => {
    const wrong = fc.constantFrom<Value>(1.5, [1.5], { zz: 1.5 }, [[1.5]]);
    fc.assert(
      fc.property(spec, fc.nat(), wrong, (value, n, by) => {
        const places = placesIn(value);
        const [place] = places[n % places.length] as (typeof places)[number];
        const mutant = replaced(value, place, by);
        expect(isAccepted(mutant)).toBe(false);
        expect(validate(mutant)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses an unknown key, wherever it stands, as the program does", () => {
    fc.assert(
      fc.property(spec, fc.nat(), fc.constantFrom<Value>("text", 1, true, [], {}), (value, n, item) => {
        // What these hold are names of the user's own.
        const own = new Set(["Labels", "Volumes"]);
        const objects = placesIn(value).filter(
          ([place, each]) =>
            typeof each === "object" &&
            each !== null &&
            !Array.isArray(each) &&
            !place.some((key) => own.has(String(key))),
        );
        const [place, object] = objects[n % objects.length] as (typeof objects)[number];
        const mutant = replaced(value, place, { ...(object as Readonly<Record<string, Value>>), "no such key": item });
        expect(isAccepted(mutant)).toBe(false);
        expect(validate(mutant)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});
