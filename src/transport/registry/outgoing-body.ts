import type { RegistryRequest } from "./messages.js";

/** The body of a request over all its attempts. */
export interface OutgoingBody {
  readonly headers: Readonly<Record<string, string>>;
  /** What an attempt sends. */
  readonly content: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  /** Whether it can be sent from its beginning. */
  isWhole(): boolean;
  /** What the stream itself failed with. */
  failure(): { readonly error: unknown } | undefined;
  /** Lets go of a stream that nobody reads on. */
  release(): void;
}

export function outgoingBody(body: RegistryRequest["body"]): OutgoingBody {
  if (body === undefined || body instanceof Uint8Array) {
    return { headers: {}, content: body, isWhole: () => true, failure: () => undefined, release: () => {} };
  }
  let iterator: AsyncIterator<Uint8Array> | undefined;
  let failure: { readonly error: unknown } | undefined;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    if (iterator !== undefined) throw new Error("a stream is sent once");
    iterator = (body as { readonly stream: AsyncIterable<Uint8Array> }).stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield next.value;
      }
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      release();
    }
  }
  const release = () => void iterator?.return?.()?.catch(() => {});
  return {
    headers: body.length === undefined ? {} : { "content-length": String(body.length) },
    content: { [Symbol.asyncIterator]: pieces },
    isWhole: () => iterator === undefined,
    failure: () => failure,
    release,
  };
}
