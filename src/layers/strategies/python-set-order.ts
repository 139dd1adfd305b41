/**
 * CPython's iteration order of sets, with PYTHONHASHSEED=0 as builds under Nix have it: nixpkgs' layers that compare equal come out in
 * that order, so it is part of what the same image is. As in CPython 3.11 to 3.13, on 64-bit machines.
 */

/** A hash as CPython has it, here as an unsigned 64-bit integer. */
export type PythonHash = bigint;

const word = (value: bigint): bigint => BigInt.asUintN(64, value);

const MINUS_ONE = word(-1n);

const rotate = (value: bigint, by: bigint): bigint => word((value << by) | (value >> (64n - by)));

/** Of a string: SipHash-1-3 under the zero key. @param text ASCII, as store paths are; CPython hashes other strings in wider units */
export function hashOfString(text: string): PythonHash {
  if (text === "") return 0n;
  let [v0, v1, v2, v3] = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
  const round = () => {
    v0 = word(v0 + v1);
    v2 = word(v2 + v3);
    v1 = rotate(v1, 13n) ^ v0;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = rotate(v0, 32n);
    v2 = word(v2 + v1);
    v0 = word(v0 + v3);
    v1 = rotate(v1, 17n) ^ v2;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = rotate(v2, 32n);
  };
  const blocks = Buffer.alloc((Math.floor(text.length / 8) + 1) * 8);
  blocks.write(text, "latin1");
  blocks[blocks.length - 1] = text.length & 0xff;
  for (let at = 0; at < blocks.length; at += 8) {
    const block = blocks.readBigUInt64LE(at);
    v3 ^= block;
    round();
    v0 ^= block;
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  const hash = v0 ^ v1 ^ v2 ^ v3;
  return hash === MINUS_ONE ? MINUS_ONE - 1n : hash;
}

/** Of a frozenset. @param members the hashes of its members, in any order */
export function hashOfFrozenset(members: readonly PythonHash[]): PythonHash {
  let hash = (BigInt(members.length) + 1n) * 1927868237n;
  for (const member of members) hash ^= (member ^ 89869747n ^ (member << 16n)) * 3644798167n;
  hash = word(hash);
  hash ^= (hash >> 11n) ^ (hash >> 25n);
  hash = word(hash * 69069n + 907133923n);
  return hash === MINUS_ONE ? 590923713n : hash;
}

const SMALLEST_TABLE = 8;

/** Slots looked at one after the other before the search goes on elsewhere. */
const NEIGHBOURS = 9;

/**
 * Of a set that values were added to one after the other, nothing ever removed.
 * @param hashes of distinct values, as they were added
 * @returns the positions of the values in `hashes`, in the order that the set iterates over them
 */
export function setOrder(hashes: readonly PythonHash[]): number[] {
  let table = new Array<number | undefined>(SMALLEST_TABLE).fill(undefined);
  const entries = () => table.filter((entry) => entry !== undefined);
  for (let i = 0; i < hashes.length; i++) {
    table[freeSlot(table, hashes[i] as bigint)] = i;
    const used = i + 1;
    if (used * 5 < (table.length - 1) * 3) continue;
    const wanted = used > 50_000 ? used * 2 : used * 4;
    const held = entries();
    let size = SMALLEST_TABLE;
    while (size <= wanted) size *= 2;
    table = new Array<number | undefined>(size).fill(undefined);
    for (const entry of held) table[freeSlot(table, hashes[entry] as bigint)] = entry;
  }
  return entries();
}

function freeSlot(table: readonly (number | undefined)[], hash: PythonHash): number {
  const mask = table.length - 1;
  const low = (value: bigint) => Number(value & BigInt(mask));
  let slot = low(hash);
  for (let perturbation = hash; ; slot = (slot * 5 + 1 + low(perturbation)) & mask) {
    const last = slot + NEIGHBOURS <= mask ? slot + NEIGHBOURS : slot;
    for (let at = slot; at <= last; at++) if (table[at] === undefined) return at;
    perturbation >>= 5n;
  }
}
