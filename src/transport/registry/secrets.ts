import { withoutTrailing } from "../../core/trim.js";
import { speakableUrl } from "./hosts.js";

/** Stands for words that are not shown. */
const LEFT_OUT = "(its words are left out, as they repeat credentials)";
/** How often servers wrap what they repeat: an escaped text in an escaped URL. */
const LAYERS = 3;
/** Shorter runs decode to nothing worth hiding. */
const BASE64_RUN = /[A-Za-z0-9+/]{4,}/g;

/**
 * What one registry and its token server were told in confidence: all that a server says goes through here before it is shown. Knows passwords and
 * tokens as they are, escaped, and in either form of base64, alone or with a user's name.
 */
export class Secrets {
  readonly #known = new Set<string>();

  add(...secrets: readonly string[]): void {
    for (const secret of secrets) if (secret !== "") this.#known.add(secret);
  }

  /** A server's words for a message: on one line, at most `length` characters; none of them where they repeat a secret. */
  shown(text: string, length = 200): string {
    if (this.#isIn(text)) return LEFT_OUT;
    return text
      .replace(/\p{C}+/gu, " ")
      .slice(0, length)
      .trim();
  }

  /** A URL that a server may have named, for messages: without query and credentials. */
  shownUrl(url: URL): string {
    if (this.#isIn(url.host)) return LEFT_OUT;
    return this.#isIn(url.pathname) ? `${url.origin}/…` : speakableUrl(url);
  }

  #isIn(text: string): boolean {
    if (this.#known.size === 0) return false;
    const texts = new Set<string>();
    let layer: readonly string[] = [text];
    for (let depth = 0; depth < LAYERS && layer.length > 0; depth++) {
      const fresh = layer.filter((one) => !texts.has(one));
      for (const one of fresh) texts.add(one);
      layer = fresh.flatMap(unwrapped);
    }
    const comparable = [...texts, ...layer].map(uniform);
    return [...this.#known].some((secret) =>
      comparable.some((one) => one.includes(withoutTrailing(uniform(secret), "="))),
    );
  }
}

/** Base64 in its one form, and names of hosts as they are sent. */
function uniform(text: string): string {
  return text.replace(/-/g, "+").replace(/_/g, "/").toLowerCase();
}

/** What a text may be the wrapping of. */
function unwrapped(text: string): readonly string[] {
  const runs = text.replace(/-/g, "+").replace(/_/g, "/").match(BASE64_RUN) ?? [];
  // What stands before it may look like a part of it.
  const decoded = [0, 1, 2, 3].map((skip) => runs.map((run) => Buffer.from(run.slice(skip), "base64")));
  return [
    unescaped(text),
    unescaped(text.replace(/\+/g, " ")),
    text.replace(/\s+/g, ""),
    ...decoded.flatMap((all) => [all.map(String).join("\n"), all.map((one) => one.toString("latin1")).join("\n")]),
  ];
}

function unescaped(text: string): string {
  const bytes = text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) =>
    Buffer.from(escapes.replace(/%/g, ""), "hex").toString(),
  );
  return bytes.replace(/\\u([0-9a-f]{4})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}
