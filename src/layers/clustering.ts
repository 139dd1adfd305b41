import { integersIn } from "./bit-rows.js";
import { rateOfCompany } from "./cost-model.js";
import { groupBy } from "./group-by.js";

/** What is to be put together. */
export interface Item {
  /** Bytes; above 0. */
  readonly size: number;
  /** Store paths it stands for; at least 1. */
  readonly members: number;
  /** The causes of change that reach it, as a set of bits. */
  readonly causes: Uint32Array;
  /** Whether a layer of just this is there already: it is pushed only if something joins it. */
  readonly isThere: boolean;
}

/** Releases over which pushing what is there already has to pay. */
const HORIZON = 5;

/**
 * Puts items together until at most `most` groups are left, so that few bytes are expected to be pushed: now, and at each release to come.
 * Greedy: the cheapest pair first, then single items move where that is cheaper. Ties go to what comes first.
 *
 * Time O(k² c), memory O(k c), for k items and c sets of causes that differ.
 * @param rates of the causes, a release
 * @returns for each item the number of its group, which is that of one of its items
 */
export function cluster(items: readonly Item[], rates: Float64Array, most: number): Int32Array {
  if (items.length <= most) return Int32Array.from(items, (_, i) => i);
  const causes = causesOf(items, rates);
  const groupOf = mergeDownTo(most, items, causes);
  improve(items, causes, groupOf);
  return groupOf;
}

/**
 * Expected bytes a release. Rates are summed up, and no chance made of them: else what changes anyway could be put together for nothing,
 * however far apart the reasons are.
 */
function costOf(size: number, rate: number, members: number): number {
  return size * (rate + rateOfCompany(members));
}

/** Sets of causes, one byte for eight of them, and what they come to. */
class Causes {
  readonly width: number;
  /** For each byte of a set and each of its values the sum of the rates. */
  readonly #sums: Float64Array;
  readonly #sets: readonly Uint8Array[];

  constructor(rates: readonly number[], sets: readonly Uint8Array[]) {
    this.width = (rates.length + 7) >>> 3;
    this.#sets = sets;
    this.#sums = new Float64Array(this.width * 256);
    for (let i = 0; i < this.width; i++) {
      for (let value = 1; value < 256; value++) {
        const lowest = value & -value;
        const rate = rates[i * 8 + 31 - Math.clz32(lowest)] ?? 0;
        this.#sums[i * 256 + value] = (this.#sums[i * 256 + (value ^ lowest)] as number) + rate;
      }
    }
  }

  /** What reaches an item. */
  setOf(item: number): Uint8Array {
    return this.#sets[item] as Uint8Array;
  }

  rateOfBoth(a: Uint8Array, b: Uint8Array): number {
    const sums = this.#sums;
    let rate = 0;
    for (let i = 0, row = 0; i < a.length; i++, row += 256) {
      rate += sums[row + ((a[i] as number) | (b[i] as number))] as number;
    }
    return rate;
  }

  rateOf(set: Uint8Array): number {
    return this.rateOfBoth(set, set);
  }
}

/** The causes that reach at least one item, those that reach the same items as one. */
function causesOf(items: readonly Item[], rates: Float64Array): Causes {
  // Which items a cause reaches is told by two numbers made of theirs: equal for others once in 2^64.
  const keys = new Uint32Array(rates.length * 2);
  const reached = items.map(({ causes }) => integersIn(causes));
  for (const [i, list] of reached.entries()) {
    const one = mixed(i * 2 + 1);
    const other = mixed(i * 2 + 2);
    for (const cause of list) {
      keys[cause * 2] = (keys[cause * 2] as number) ^ one;
      keys[cause * 2 + 1] = (keys[cause * 2 + 1] as number) ^ other;
    }
  }
  const columns = new Map<string, number>();
  const sums: number[] = [];
  const columnOf = new Int32Array(rates.length).fill(-1);
  for (const list of reached) {
    for (const cause of list) {
      if (columnOf[cause] !== -1) continue;
      const key = `${keys[cause * 2]} ${keys[cause * 2 + 1]}`;
      const column = columns.get(key) ?? columns.size;
      columns.set(key, column);
      columnOf[cause] = column;
      sums[column] = (sums[column] ?? 0) + (rates[cause] as number);
    }
  }
  const width = (sums.length + 7) >>> 3;
  const sets = reached.map((list) => {
    const set = new Uint8Array(width);
    for (const cause of list) {
      const column = columnOf[cause] as number;
      set[column >>> 3] = (set[column >>> 3] as number) | (1 << (column & 7));
    }
    return set;
  });
  return new Causes(sums, sets);
}

/** Bits without a pattern, the same for the same number. */
function mixed(seed: number): number {
  let bits = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return (bits ^ (bits >>> 15)) >>> 0;
}

/** Merges the cheapest pair of groups, again and again. A group has the number of its first item. */
function mergeDownTo(most: number, items: readonly Item[], causes: Causes): Int32Array {
  const groupOf = Int32Array.from(items, (_, i) => i);
  const sets = items.map((_, i) => causes.setOf(i).slice());
  const sizes = Float64Array.from(items, ({ size }) => size);
  const members = Float64Array.from(items, ({ members }) => members);
  const groupRates = Float64Array.from(items, (_, i) => causes.rateOf(causes.setOf(i)));
  /** What a merge does away with: what is expected, less what needs not be pushed now. */
  const worth = Float64Array.from(
    items,
    ({ size, members, isThere }, i) => HORIZON * costOf(size, groupRates[i] as number, members) - (isThere ? size : 0),
  );
  const alive = items.map((_, i) => i);
  /** The cheapest group to merge with among those after it. */
  const partner = new Int32Array(items.length).fill(-1);
  const price = new Float64Array(items.length).fill(Number.POSITIVE_INFINITY);

  const costAt = (a: number, b: number, rate: number) =>
    HORIZON *
    costOf((sizes[a] as number) + (sizes[b] as number), rate, (members[a] as number) + (members[b] as number));
  const rateTogether = (a: number, b: number) => causes.rateOfBoth(sets[a] as Uint8Array, sets[b] as Uint8Array);
  const consider = (a: number, b: number) => {
    const alone = (worth[a] as number) + (worth[b] as number);
    // Together they change at least as often as either: mostly that is too much already.
    const least = costAt(a, b, Math.max(groupRates[a] as number, groupRates[b] as number));
    if (least - alone >= (price[a] as number)) return;
    const candidate = costAt(a, b, rateTogether(a, b)) - alone;
    if (candidate >= (price[a] as number)) return;
    price[a] = candidate;
    partner[a] = b;
  };
  const findPartner = (a: number) => {
    partner[a] = -1;
    price[a] = Number.POSITIVE_INFINITY;
    for (const b of alive) if (b > a) consider(a, b);
  };
  const merge = (a: number, b: number) => {
    const rate = rateTogether(a, b);
    worth[a] = costAt(a, b, rate);
    groupRates[a] = rate;
    sizes[a] = (sizes[a] as number) + (sizes[b] as number);
    members[a] = (members[a] as number) + (members[b] as number);
    const set = sets[a] as Uint8Array;
    for (const [i, byte] of (sets[b] as Uint8Array).entries()) set[i] = (set[i] as number) | byte;
    alive.splice(alive.indexOf(b), 1);
    for (let i = b; i < groupOf.length; i++) if (groupOf[i] === b) groupOf[i] = a;
  };

  for (const a of alive) findPartner(a);
  while (alive.length > most) {
    let a = alive[0] as number;
    for (const other of alive) if ((price[other] as number) < (price[a] as number)) a = other;
    const b = partner[a] as number;
    merge(a, b);
    findPartner(a);
    for (const other of alive) {
      if (other === a) continue;
      if (partner[other] === a || partner[other] === b) findPartner(other);
      else if (other < a) consider(other, a);
    }
  }
  return groupOf;
}

/** More rounds find next to nothing. */
const MAX_ROUNDS = 8;

/** A group that single items may leave and join. */
interface OpenGroup {
  size: number;
  members: number;
  /** How many of its items each cause reaches. */
  readonly counts: Uint16Array;
  /** The causes that reach any. */
  readonly set: Uint8Array;
  /** What they come to. */
  rate: number;
}

/** Moves single items as long as that makes the releases to come cheaper. What is there already stays by itself. */
function improve(items: readonly Item[], causes: Causes, groupOf: Int32Array): void {
  const groups = openGroups(items, causes, groupOf);
  const itemRates = items.map((_, i) => causes.rateOf(causes.setOf(i)));
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let moves = 0;
    for (const [i, item] of items.entries()) {
      const from = groupOf[i] as number;
      const home = groups.get(from);
      if (home === undefined || home.members === item.members) continue;
      leave(home, item, i, causes);
      let best = from;
      // Rounding must not move anything to and fro.
      let bestPrice = priceOfJoining(home, i, Number.POSITIVE_INFINITY) * (1 - 1e-9);
      for (const [number, group] of groups) {
        if (number === from) continue;
        const price = priceOfJoining(group, i, bestPrice);
        if (price >= bestPrice) continue;
        bestPrice = price;
        best = number;
      }
      join(groups.get(best) as OpenGroup, item, i, causes);
      groupOf[i] = best;
      if (best !== from) moves++;
    }
    if (moves === 0) return;
  }

  /** Infinite where it is not below `most`. */
  function priceOfJoining(group: OpenGroup, i: number, most: number): number {
    const { size, members } = items[i] as Item;
    const before = costOf(group.size, group.rate, group.members);
    const priceAt = (rate: number) => costOf(group.size + size, rate, group.members + members) - before;
    if (priceAt(Math.max(group.rate, itemRates[i] as number)) >= most) return Number.POSITIVE_INFINITY;
    return priceAt(causes.rateOfBoth(group.set, causes.setOf(i)));
  }
}

/** By number, in the order of their first items. */
function openGroups(items: readonly Item[], causes: Causes, groupOf: Int32Array): Map<number, OpenGroup> {
  const itemsOf = groupBy(groupOf.keys(), (i) => groupOf[i] as number);
  const groups = new Map<number, OpenGroup>();
  for (const [number, members] of itemsOf) {
    if (members.length === 1 && (items[number] as Item).isThere) continue;
    const counts = new Uint16Array(causes.width * 8);
    const group = { size: 0, members: 0, counts, set: new Uint8Array(causes.width), rate: 0 };
    for (const i of members) join(group, items[i] as Item, i, causes);
    groups.set(number, group);
  }
  return groups;
}

function join(group: OpenGroup, { size, members }: Item, item: number, causes: Causes): void {
  const set = causes.setOf(item);
  group.size += size;
  group.members += members;
  for (let i = 0; i < set.length; i++) {
    for (let byte = set[i] as number; byte !== 0; byte &= byte - 1) {
      const cause = i * 8 + 31 - Math.clz32(byte & -byte);
      group.counts[cause] = (group.counts[cause] as number) + 1;
    }
    group.set[i] = (group.set[i] as number) | (set[i] as number);
  }
  group.rate = causes.rateOf(group.set);
}

function leave(group: OpenGroup, { size, members }: Item, item: number, causes: Causes): void {
  const set = causes.setOf(item);
  group.size -= size;
  group.members -= members;
  for (let i = 0; i < set.length; i++) {
    for (let byte = set[i] as number; byte !== 0; byte &= byte - 1) {
      const cause = i * 8 + 31 - Math.clz32(byte & -byte);
      group.counts[cause] = (group.counts[cause] as number) - 1;
      if (group.counts[cause] === 0) group.set[i] = (group.set[i] as number) & ~(byte & -byte);
    }
  }
  group.rate = causes.rateOf(group.set);
}
