/** One challenge of a `WWW-Authenticate` header. */
export interface Challenge {
  /** In lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** By lower-case name, values without their quotes. */
  readonly parameters: ReadonlyMap<string, string>;
}

const BLANKS_AND_COMMAS = /[ \t,]*/y;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const EQUALS = /[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\[\s\S])*)"/y;
/** What some schemes have in place of parameters; `name=` before a value is none. */
const TOKEN68 = /[ \t]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
/** A quoted string that does not end takes all that follows. */
const TO_NEXT_COMMA = /(?:"(?:[^"\\]|\\[\s\S])*(?:"|\\?$)|[^,"])*/y;

/**
 * Parses a `WWW-Authenticate` header (RFC 9110, 11.6.1), several ones joined with commas included. What is no challenge is passed over; of a
 * repeated parameter the first counts.
 */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  const text = header ?? "";
  const challenges: Challenge[] = [];
  let parameters: Map<string, string> | undefined;
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text) ?? undefined;
    if (found !== undefined) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(BLANKS_AND_COMMAS);
    if (at >= text.length) return challenges;
    const word = match(TOKEN)?.[0];
    if (word === undefined) {
      const from = at;
      match(TO_NEXT_COMMA);
      if (at === from) at++;
    } else if (match(EQUALS) === undefined) {
      parameters = new Map();
      challenges.push({ scheme: word.toLowerCase(), parameters });
      match(TOKEN68);
    } else {
      const value = match(QUOTED)?.[1]?.replace(/\\([\s\S])/g, "$1") ?? match(TOKEN)?.[0];
      const name = word.toLowerCase();
      if (value === undefined) match(TO_NEXT_COMMA);
      else if (parameters !== undefined && !parameters.has(name)) parameters.set(name, value);
    }
  }
}
