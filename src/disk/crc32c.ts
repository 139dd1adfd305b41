const POLYNOMIAL = 0x82f63b78;
const STEP = 8;

/** Table k gives what a byte becomes when k zero bytes follow it, so that eight bytes are looked up at once. */
const TABLES: readonly Uint32Array[] = makeTables();

function makeTables(): readonly Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
    return value;
  });
  const tables = [first];
  for (let k = 1; k < STEP; k++) {
    const last = tables[k - 1] as Uint32Array;
    tables.push(last.map((value) => (value >>> 8) ^ (first[value & 0xff] as number)));
  }
  return tables;
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as unknown as Readonly<
  [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array]
>;

/**
 * Castagnoli's CRC of `bytes` from `start` up to `end`, without the complements at begin and end that most formats, but not ext4, add:
 * the result of one piece is the `seed` of the next.
 */
export function crc32c(seed: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = seed;
  let at = start;
  for (const whole = end - ((end - start) % STEP); at < whole; at += STEP) {
    crc =
      (T7[(crc ^ (bytes[at] as number)) & 0xff] as number) ^
      (T6[((crc >>> 8) ^ (bytes[at + 1] as number)) & 0xff] as number) ^
      (T5[((crc >>> 16) ^ (bytes[at + 2] as number)) & 0xff] as number) ^
      (T4[((crc >>> 24) ^ (bytes[at + 3] as number)) & 0xff] as number) ^
      (T3[bytes[at + 4] as number] as number) ^
      (T2[bytes[at + 5] as number] as number) ^
      (T1[bytes[at + 6] as number] as number) ^
      (T0[bytes[at + 7] as number] as number);
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (T0[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return crc >>> 0;
}
