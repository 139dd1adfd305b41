import type { ByteString } from "../../core/byte-string.js";

const PIECE = 32;
const WORDS = PIECE / 4;
const START = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;
/** Says "the end" to those who read a directory. */
const END = 0xfffffffe;

type Mix = (x: number, y: number, z: number) => number;

const choose: Mix = (x, y, z) => z ^ (x & (y ^ z));
const majority: Mix = (x, y, z) => (x & y) + ((x ^ y) & z);
const parity: Mix = (x, y, z) => x ^ y ^ z;

/** What is mixed in which order, shifted by how much, with which constant: eight steps each. */
const ROUNDS: readonly {
  readonly mix: Mix;
  readonly order: readonly number[];
  readonly shifts: readonly number[];
  readonly constant: number;
}[] = [
  { mix: choose, order: [0, 1, 2, 3, 4, 5, 6, 7], shifts: [3, 7, 11, 19], constant: 0 },
  { mix: majority, order: [1, 3, 5, 7, 0, 2, 4, 6], shifts: [3, 5, 9, 13], constant: 0x5a827999 },
  { mix: parity, order: [3, 7, 2, 6, 1, 5, 0, 4], shifts: [3, 9, 11, 15], constant: 0x6ed9eba1 },
];

interface NameHash {
  /** Even. */
  readonly major: number;
  readonly minor: number;
}

/**
 * The hash by which names are found in the index of a directory: three short rounds of MD4, bytes with a sign.
 * @param name at most 255 bytes
 * @param seed 16 bytes; all 0 stand for those of MD4
 */
export function hashName(name: ByteString, seed: Buffer): NameHash {
  const state = Int32Array.from(START, (word, i) =>
    seed.every((byte) => byte === 0) ? word : seed.readInt32LE(4 * i),
  );
  const words = new Int32Array(WORDS);
  for (let at = 0; at < name.length; at += PIECE) {
    fillWords(words, name, at);
    transform(state, words);
  }
  const major = ((state[1] as number) & ~1) >>> 0;
  return { major: major === END ? END - 2 : major, minor: (state[2] as number) >>> 0 };
}

/** Four bytes a word, the first the highest; where the name ends, the length of what is left of it. */
function fillWords(words: Int32Array, name: ByteString, from: number): void {
  const left = name.length - from;
  const length = Math.min(left, PIECE);
  const padding = Math.imul(left, 0x01010101);
  for (let word = 0; word < WORDS; word++) {
    let value = padding;
    for (let i = 4 * word; i < Math.min(length, 4 * word + 4); i++) {
      value = (((name.charCodeAt(from + i) << 24) >> 24) + (value << 8)) | 0;
    }
    words[word] = value;
  }
}

function transform(state: Int32Array, words: Int32Array): void {
  let [a, b, c, d] = state as unknown as [number, number, number, number];
  for (const { mix, order, shifts, constant } of ROUNDS) {
    for (let step = 0; step < WORDS; step++) {
      const sum = (a + mix(b, c, d) + (words[order[step] as number] as number) + constant) | 0;
      const shift = shifts[step % 4] as number;
      [a, b, c, d] = [d, (sum << shift) | (sum >>> (32 - shift)), b, c];
    }
  }
  state[0] = (state[0] as number) + a;
  state[1] = (state[1] as number) + b;
  state[2] = (state[2] as number) + c;
  state[3] = (state[3] as number) + d;
}
