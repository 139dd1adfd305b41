import fc from "fast-check";

/** A piece of JSON text that stands as it is, whether or not it is JSON. */
class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Inputs, and the valid ones that they were made of. */
export interface HostileInputs {
  readonly inputs: fc.Arbitrary<Buffer>;
  readonly seeds: readonly Buffer[];
}

/** JSON in which an object may have a key twice, and anything may stand anywhere. */
type Node = null | boolean | number | string | Raw | Node[] | Members;

class Members {
  entries: (readonly [string, Node])[];
  constructor(entries: (readonly [string, Node])[]) {
    this.entries = entries;
  }
}

const deep = (open: string, close: string, depth: number) => new Raw(open.repeat(depth) + close.repeat(depth));

/** Values that have broken parsers: of other types, too large, too deep, named like what every object has. */
const HOSTILE: readonly Node[] = [
  null,
  true,
  0,
  "",
  [],
  new Members([]),
  [null],
  ["", ""],
  new Members([["__proto__", new Members([["polluted", true]])]]),
  new Members([["constructor", new Members([["prototype", new Members([["polluted", true]])]])]]),
  new Raw("-1"),
  new Raw("-0"),
  new Raw("0.5"),
  new Raw("1e400"),
  new Raw("-1e400"),
  new Raw("1e-400"),
  new Raw("9007199254740993"),
  new Raw("18446744073709551616"),
  new Raw("9".repeat(5000)),
  new Raw("NaN"),
  new Raw("Infinity"),
  new Raw("0x10"),
  new Raw("01"),
  new Raw('"\\ud800"'),
  new Raw('"\\udc00\\ud800"'),
  new Raw('"\\u0000"'),
  new Raw('"\\u000"'),
  new Raw('"'),
  new Raw("["),
  new Raw("{"),
  new Raw("[[0]"),
  deep("[", "]", 200),
  deep("[", "]", 600),
  deep("[", "]", 100_000),
  deep('{"a":', "}", 100_000),
  deep('{"config":[', "]}", 400),
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "..",
  "../../../../etc/passwd",
  "/",
  "//",
  "/./../x",
  "/nix/store/../../etc",
  "sha256:../../x",
  `sha256:${"0".repeat(64)}`,
  `sha256:${"A".repeat(64)}`,
  "\r\n",
  "a\nb",
  "\u202e\u200b",
  " ",
  " ".repeat(5000),
  "/".repeat(5000),
  "a".repeat(100_000),
  "a-".repeat(5000),
  "(a*)*b",
  "(((((a{99}){99}){99}){99}){99})",
  "[[:bogus:]]",
  "\\",
  "$constructor",
  "@0",
  "@99999999999999999999",
  "2024-02-31T25:61:61Z",
  "999999999999",
];

const KEYS = [
  "__proto__",
  "constructor",
  "toString",
  "",
  "\0",
  "path",
  "manifests",
  "layers",
  "config",
  "size",
] as const;

/** A document that is longer is cut: changes that repeat what others made long would make it gigabytes. */
const MAX_BYTES = 1 << 20;

interface Change {
  readonly kind: "replace" | "remove" | "duplicate" | "rename" | "add" | "swap" | "repeat";
  readonly at: number;
  readonly value: number;
  readonly key: number;
}

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("replace", "replace", "replace", "remove", "duplicate", "rename", "add", "swap", "repeat"),
  at: fc.nat(),
  value: fc.nat(),
  key: fc.nat(),
});

interface Cut {
  readonly kind: "flip" | "cut" | "insert" | "double" | "zero" | "join" | "swap";
  readonly at: number;
  readonly length: number;
  readonly byte: number;
}

const cut: fc.Arbitrary<Cut> = fc.record({
  kind: fc.constantFrom("flip", "flip", "cut", "insert", "double", "zero", "join", "swap"),
  at: fc.nat(),
  length: fc.nat({ max: 600 }),
  byte: fc.oneof(
    fc.constantFrom(0x00, 0xff, 0x80, 0x22, 0x5c, 0x2f, 0x20, 0x0a, 0x7b, 0x5b, 0x39, 0x2d),
    fc.nat({ max: 255 }),
  ),
});

/**
 * Documents made of valid ones: members removed, renamed, doubled and swapped, values replaced by hostile ones; sometimes bytes changed
 * besides. Now and then a seed as it is, so that what follows the parser is reached, too.
 */
export function hostileJson(seeds: readonly Buffer[]): HostileInputs {
  const parsed = seeds.map((seed) => seed.toString("utf8"));
  const inputs = fc
    .tuple(
      fc.nat({ max: seeds.length - 1 }),
      fc.array(change, { maxLength: 4 }),
      fc.array(cut, { maxLength: 1 }),
      fc.nat({ max: 9 }),
    )
    .map(([seed, changes, cuts, chance]) => {
      const root: Node[] = [treeOf(JSON.parse(parsed[seed] as string))];
      for (const each of changes) apply(root, each);
      const text = Buffer.from(textOf(root[0] as Node)).subarray(0, MAX_BYTES);
      return chance < 8 ? text : mangle(text, cuts, seeds);
    });
  return { inputs, seeds };
}

/** Bytes made of valid ones: some changed, cut off, put in, doubled, joined to others. */
export function hostileBytes(seeds: readonly Buffer[]): HostileInputs {
  const inputs = fc
    .tuple(fc.nat({ max: seeds.length - 1 }), fc.array(cut, { maxLength: 4 }))
    .map(([seed, cuts]) => mangle(seeds[seed] as Buffer, cuts, seeds));
  return { inputs, seeds };
}

/** Texts of pieces that mean something to the parser, in any order and number; now and then a valid one, more or less. */
export function hostileText(pieces: readonly string[], valid: readonly string[]): HostileInputs {
  const odd = [
    "",
    "\0",
    "\n",
    "\r",
    " ",
    "\t",
    '"',
    "\\",
    "/",
    "..",
    "\ud800",
    "é",
    "\ufeff",
    "__proto__",
    "a".repeat(300),
    "9".repeat(40),
    "-",
    ":",
  ];
  const ofPieces = fc
    .array(fc.constantFrom(...pieces, ...pieces, ...odd), { maxLength: 24 })
    .map((chosen) => Buffer.from(chosen.join("")));
  const { inputs: ofValid, seeds } = hostileBytes(valid.map((text) => Buffer.from(text)));
  return { inputs: fc.oneof({ arbitrary: ofPieces, weight: 3 }, ofValid), seeds };
}

function mangle(start: Buffer, cuts: readonly Cut[], seeds: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(start);
  for (const { kind, at, length, byte } of cuts) {
    const from = bytes.length === 0 ? 0 : at % bytes.length;
    const to = Math.min(bytes.length, from + length);
    if (kind === "flip" && bytes.length > 0) bytes[from] = byte;
    if (kind === "cut")
      bytes = at % 3 === 0 ? bytes.subarray(0, from) : Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
    if (kind === "insert")
      bytes = Buffer.concat([bytes.subarray(0, from), Buffer.alloc(length, byte), bytes.subarray(from)]);
    if (kind === "double") bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
    if (kind === "zero") bytes.fill(byte, from, to);
    if (kind === "join") bytes = Buffer.concat([bytes, seeds[at % seeds.length] as Buffer]);
    if (kind === "swap") {
      const other = seeds[byte % seeds.length] as Buffer;
      bytes = Buffer.concat([bytes.subarray(0, from), other.subarray(Math.min(from, other.length))]);
    }
  }
  return bytes;
}

function treeOf(value: unknown): Node {
  if (Array.isArray(value)) return value.map(treeOf);
  if (typeof value !== "object" || value === null) return value as Node;
  return new Members(Object.entries(value).map(([key, item]) => [key, treeOf(item)]));
}

/** Changes go to one place, not to all where a value stands. */
function copyOf(node: Node): Node {
  if (node instanceof Members) return new Members(node.entries.map(([key, item]) => [key, copyOf(item)]));
  return Array.isArray(node) ? node.map(copyOf) : node;
}

function textOf(node: Node): string {
  if (node instanceof Raw) return node.text;
  if (node instanceof Members)
    return `{${node.entries.map(([key, item]) => `${JSON.stringify(key)}:${textOf(item)}`).join(",")}}`;
  if (Array.isArray(node)) return `[${node.map(textOf).join(",")}]`;
  return JSON.stringify(node);
}

/** All places where a value is, as what holds it and which of its items. */
function placesIn(holder: Node[] | Members, found: (readonly [Node[] | Members, number])[] = []) {
  const items = holder instanceof Members ? holder.entries.map(([, item]) => item) : holder;
  for (const [i, item] of items.entries()) {
    found.push([holder, i]);
    if (item instanceof Members || Array.isArray(item)) placesIn(item, found);
  }
  return found;
}

function apply(root: Node[], { kind, at, value, key }: Change): void {
  const places = placesIn(root);
  const [holder, i] = places[at % places.length] as (typeof places)[number];
  const hostile = copyOf(HOSTILE[value % HOSTILE.length] as Node);
  const name = KEYS[key % KEYS.length] as string;
  if (holder === root && kind !== "replace") return;
  if (holder instanceof Members) {
    const [ownName, own] = holder.entries[i] as readonly [string, Node];
    if (kind === "replace") holder.entries[i] = [ownName, hostile];
    if (kind === "remove") holder.entries.splice(i, 1);
    if (kind === "duplicate") holder.entries.push([ownName, key % 2 === 0 ? copyOf(own) : hostile]);
    if (kind === "rename") holder.entries[i] = [name, own];
    if (kind === "add") holder.entries.push([name, hostile]);
    if (kind === "swap" && holder.entries.length > 1)
      holder.entries[i] = [
        ownName,
        copyOf((holder.entries[key % holder.entries.length] as readonly [string, Node])[1]),
      ];
    return;
  }
  const own = holder[i] as Node;
  if (kind === "replace") holder[i] = hostile;
  if (kind === "remove") holder.splice(i, 1);
  if (kind === "duplicate") holder.push(copyOf(own));
  if (kind === "repeat" && places.length < 200) for (let n = 0; n < 300; n++) holder.push(copyOf(own));
  if (kind === "add") holder.push(hostile);
}
