import type { ByteSink } from "../byte-sink.js";

/** Packs a stream, or unpacks one: takes bytes as a sink does, and gives the others to the sink it was made with. */
export interface Filter extends ByteSink {
  /** To be called once, when all is written. @throws OciNixError of the sink; `invalid-input` where what is unpacked is damaged or cut off */
  end(): Promise<void>;
  /** Gives back threads and memory, at any time. A call that waits then resolves, and nothing more reaches the sink. */
  close(): void;
}

export interface CompressorOptions {
  readonly signal?: AbortSignal | undefined;
  readonly threads?: number | undefined;
}

export interface DecompressorOptions {
  /** Zeros may follow the last gzip member, as gzip itself has it: whoever writes in blocks pads with them. Go's gzip refuses them. */
  readonly takesPadding?: boolean | undefined;
}
