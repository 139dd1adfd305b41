/** Whether a bit of a bitmap is set. */
export function isSet(bits: Uint8Array, index: number): boolean {
  return ((bits[Math.floor(index / 8)] as number) & (1 << (index % 8))) !== 0;
}

export function setBits(bits: Uint8Array, from: number, count: number): void {
  for (let index = from; index < from + count; index++) {
    const byte = Math.floor(index / 8);
    bits[byte] = (bits[byte] as number) | (1 << (index % 8));
  }
}

export function clearBits(bits: Uint8Array, from: number, count: number): void {
  for (let index = from; index < from + count; index++) {
    const byte = Math.floor(index / 8);
    bits[byte] = (bits[byte] as number) & ~(1 << (index % 8));
  }
}

/** How many bits are set. */
export function countBits(bits: Uint8Array): number {
  let count = 0;
  for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}
