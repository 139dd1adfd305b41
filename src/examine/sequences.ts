/** Places of elements that two sequences have in the same order: a longest common subsequence. */
export interface Common {
  readonly a: ReadonlySet<number>;
  readonly b: ReadonlySet<number>;
}

/** Table cells at most; sequences that need more, which no image has, are compared by their common ends alone. */
const MAX_CELLS = 4_000_000;

export function commonSubsequence(a: readonly string[], b: readonly string[]): Common {
  const inA = new Set<number>();
  const inB = new Set<number>();
  const pair = (i: number, j: number) => {
    inA.add(i);
    inB.add(j);
  };
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) pair(start, start++);
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) pair(--endA, --endB);
  const rows = endA - start;
  const columns = endB - start;
  if (rows * columns > MAX_CELLS) return { a: inA, b: inB };
  // lengths[i][j]: of the longest common subsequence of what follows i and j.
  const width = columns + 1;
  const lengths = new Uint16Array((rows + 1) * width);
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      lengths[i * width + j] =
        a[start + i] === b[start + j]
          ? (lengths[(i + 1) * width + j + 1] as number) + 1
          : Math.max(lengths[(i + 1) * width + j] as number, lengths[i * width + j + 1] as number);
    }
  }
  for (let i = 0, j = 0; i < rows && j < columns; ) {
    if (a[start + i] === b[start + j]) pair(start + i++, start + j++);
    else if ((lengths[(i + 1) * width + j] as number) >= (lengths[i * width + j + 1] as number)) i++;
    else j++;
  }
  return { a: inA, b: inB };
}
