import type { Series } from "./measure.mjs";

/** `a` takes at most `limit` times as long as `b`, by the medians of one run. */
interface Goal {
  readonly a: string;
  readonly b: string;
  readonly limit: number;
  /** Where it counts; everywhere if absent. */
  readonly corpora: readonly string[];
}

const GOALS: readonly Goal[] = [
  { a: "stream", b: "tar-tee-openssl-cat", limit: 0.85, corpora: ["large", "big"] },
  { a: "stream", b: "tar-sha256sum", limit: 0.55, corpora: ["large", "big"] },
  { a: "stream", b: "dockertools", limit: 0.2, corpora: ["large", "big"] },
  { a: "stream", b: "tar-openssl", limit: 1.2, corpora: ["large", "big"] },
  { a: "digests", b: "tar-openssl", limit: 0.66, corpora: ["large", "big", "half"] },
  { a: "digests", b: "nix2container", limit: 0.4, corpora: ["large", "big"] },
  { a: "compress-gzip", b: "pigz", limit: 1.15, corpora: ["large", "big"] },
  { a: "compress-zstd", b: "zstd", limit: 1.15, corpora: ["large", "big"] },
];

/** What `a` makes is at most `limit` times as large as what `b` makes of the same. */
const SIZE_GOALS: readonly Goal[] = [
  { a: "compress-gzip", b: "pigz", limit: 1.02, corpora: ["large", "big"] },
  { a: "compress-zstd", b: "zstd", limit: 1.02, corpora: ["large", "big"] },
];

const MAX_RSS_MB = 120;
const OURS = ["stream", "digests", "unchanged", "copy"];

/**
 * Rows of what was to be reached, what was, and whether it is enough.
 * @param sizes bytes that commands made, by their ids
 */
export function checkGoals(
  corpus: string,
  measured: ReadonlyMap<string, Series>,
  sizes: ReadonlyMap<string, number>,
): readonly (readonly string[])[] {
  const rows: string[][] = [];
  for (const { a, b, limit, corpora } of GOALS) {
    const [ours, theirs] = [measured.get(a)?.wall.median, measured.get(b)?.wall.median];
    if (ours === undefined || theirs === undefined || !corpora.includes(corpus)) continue;
    rows.push([`${a} ÷ ${b}`, String(limit), (ours / theirs).toFixed(2), ours / theirs <= limit ? "yes" : "no"]);
  }
  for (const { a, b, limit, corpora } of SIZE_GOALS) {
    const [ours, theirs] = [sizes.get(a), sizes.get(b)];
    if (ours === undefined || theirs === undefined || !corpora.includes(corpus)) continue;
    rows.push([
      `size of ${a} ÷ ${b}`,
      String(limit),
      (ours / theirs).toFixed(3),
      ours / theirs <= limit ? "yes" : "no",
    ]);
  }
  for (const id of OURS) {
    const rssKiB = measured.get(id)?.rssKiB.max;
    if (rssKiB === undefined) continue;
    const megabytes = (rssKiB * 1024) / 1e6;
    rows.push([
      `memory of ${id}`,
      `${MAX_RSS_MB} MB`,
      `${megabytes.toFixed(0)} MB`,
      megabytes <= MAX_RSS_MB ? "yes" : "no",
    ]);
  }
  return rows;
}
