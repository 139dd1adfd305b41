/** A part of a file that holds a file system: a partition, or the whole of it. Bytes. */
export interface Region {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
}
