/** `error`: some client refuses the image, or the bytes are not what they are said to be. `warning`: it depends. `note`: good to know. */
export type Severity = "error" | "warning" | "note";

/** Something about an image that is worth saying. */
export interface Finding {
  readonly severity: Severity;
  /** What kind of finding this is, for programs: docs/inspect.md lists them. */
  readonly code: string;
  /** `manifest`, `config` or `layer N`, N from 1. */
  readonly where: string;
  readonly message: string;
  /** Who is known to fail, or to care; absent where it is everybody or nobody. */
  readonly clients?: readonly string[];
}

/** Findings of a kind and severity that are listed for one place; the rest is counted. */
const MAX_ALIKE = 10;

/** Collects findings; a hostile image cannot make them many. */
export class Findings {
  readonly #listed: Finding[] = [];
  readonly #alike = new Map<string, { readonly first: Finding; count: number }>();

  add(severity: Severity, code: string, where: string, message: string, clients?: readonly string[]): void {
    const finding = { severity, code, where, message, ...(clients === undefined ? {} : { clients }) };
    const key = `${severity} ${code} ${where}`;
    const alike = this.#alike.get(key);
    if (alike === undefined) this.#alike.set(key, { first: finding, count: 1 });
    else alike.count++;
    if ((alike?.count ?? 1) <= MAX_ALIKE) this.#listed.push(finding);
  }

  /** In the order they were found; those left out are one more finding of their kind. */
  all(): readonly Finding[] {
    const rest = [...this.#alike.values()]
      .filter(({ count }) => count > MAX_ALIKE)
      .map(({ first, count }) => ({ ...first, message: `${count - MAX_ALIKE} more like these` }));
    return [...this.#listed, ...rest];
  }
}
