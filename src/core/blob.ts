import type { BlockWriter } from "./block-writer.js";
import type { Digest } from "./digest.js";

/**
 * Bytes of known size that can be written, in order, as often as asked: a layer made from the store, a layer of a base image, a file.
 */
export interface BlobSource {
  /** What errors and progress call it. */
  readonly title: string;
  /** Exact count of bytes that {@link writeTo} writes. */
  readonly size: number;
  /** The file that holds just these bytes and does not change, where there is one: it may be linked instead of copied. */
  readonly file?: string;
  /**
   * Writes exactly `size` bytes and returns their digest; the writer's own digest must not be in use.
   * @throws OciNixError where the bytes cannot be read, changed, or are not what was recorded for them
   */
  writeTo(out: BlockWriter): Promise<Digest>;
}
