/** A rectangle; x grows to the right, y downwards. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Divides a rectangle into one for each weight, in their order, areas in proportion to the weights and as square as rows of them can be
 * (Bruls, Huizing, van Wijk). Equal arguments give equal rectangles.
 * @param weights above zero; largest first looks best
 */
export function squarify(weights: readonly number[], { x, y, width, height }: Rect): readonly Rect[] {
  const rects: Rect[] = [];
  const free = { x, y, width, height };
  let left = weights.reduce((sum, weight) => sum + weight, 0);
  for (let start = 0; start < weights.length; ) {
    const side = Math.min(free.width, free.height);
    // What a weight is in units of area.
    const scale = left > 0 ? (free.width * free.height) / left : 0;
    let end = start;
    let sum = 0;
    let worst = Number.POSITIVE_INFINITY;
    let largest = 0;
    let smallest = Number.POSITIVE_INFINITY;
    while (end < weights.length) {
      const weight = weights[end] as number;
      const next = sum + weight;
      const ratio = worstRatio(Math.max(largest, weight), Math.min(smallest, weight), next, side, scale);
      if (ratio > worst) break;
      largest = Math.max(largest, weight);
      smallest = Math.min(smallest, weight);
      worst = ratio;
      sum = next;
      end++;
    }
    const isRowUpright = free.width >= free.height;
    // The last row takes what is left, so that rounding leaves no gap.
    const thickness = end === weights.length ? (isRowUpright ? free.width : free.height) : (sum * scale) / (side || 1);
    let offset = 0;
    for (let i = start; i < end; i++) {
      const length = sum > 0 ? ((weights[i] as number) / sum) * side : 0;
      rects.push(
        isRowUpright
          ? { x: free.x, y: free.y + offset, width: thickness, height: length }
          : { x: free.x + offset, y: free.y, width: length, height: thickness },
      );
      offset += length;
    }
    if (isRowUpright) {
      free.x += thickness;
      free.width = Math.max(free.width - thickness, 0);
    } else {
      free.y += thickness;
      free.height = Math.max(free.height - thickness, 0);
    }
    left -= sum;
    start = end;
  }
  return rects;
}

/** How long the longest of a row's rectangles is to its width; infinite where it has no area. */
function worstRatio(largest: number, smallest: number, sum: number, side: number, scale: number): number {
  const area = sum * scale;
  if (area === 0 || side === 0) return Number.POSITIVE_INFINITY;
  const square = side * side;
  return Math.max((square * largest * scale) / (area * area), (area * area) / (square * smallest * scale));
}
