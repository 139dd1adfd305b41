import { OciNixError } from "./errors.js";

/** A point in time as image metadata has it. */
export interface Timestamp {
  /** RFC 3339 text as it was given (or `Z` form for the clock). */
  readonly text: string;
  /** Whole seconds since 1970, rounded down. */
  readonly seconds: number;
}

/** What Nix gives every file: 1970-01-01T00:00:01Z. Zero is avoided because programs take it for "unknown". */
export const DEFAULT_TIMESTAMP: Timestamp = { text: "1970-01-01T00:00:01Z", seconds: 1 };

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):(\d{2}):(\d{2})(\.\d{1,9})?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * Parses RFC 3339 with a time zone, whole seconds since 1970, or `now`: the clock, or SOURCE_DATE_EPOCH where that is set.
 * @param where names the option or file, for errors
 * @throws OciNixError `invalid-input`
 */
export function parseTimestamp(text: string, where: string): Timestamp {
  if (text === "now") return now();
  if (/^\d{1,12}$/.test(text)) return fromSeconds(Number(text));
  const milliseconds = millisecondsOf(text);
  if (milliseconds === undefined) {
    throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(text)} is not a time`, {
      hint: 'give a time such as 2026-01-31T12:00:00Z, seconds since 1970, or "now"',
    });
  }
  return { text, seconds: Math.floor(milliseconds / 1000) };
}

/** Whether it is a time in RFC 3339 that there is; fractions may be of any length. */
export function isRfc3339(text: string): boolean {
  return millisecondsOf(text.replace(/(\.\d{9})\d+/, "$1")) !== undefined;
}

function millisecondsOf(text: string): number | undefined {
  const day = RFC3339.exec(text)?.[3];
  const milliseconds = Date.parse(text.toUpperCase());
  if (day === undefined || Number.isNaN(milliseconds)) return undefined;
  // Date.parse takes 31 April for 1 May: the day must survive the round trip.
  return new Date(`${text.slice(0, 10)}T00:00:00Z`).getUTCDate() === Number(day) ? milliseconds : undefined;
}

/**
 * A time in RFC 3339 as Go prints it: fractions without zeros at their end, `Z` where there is no offset.
 * @throws OciNixError `invalid-input`
 */
export function goTimestamp(text: string, where: string): string {
  const match = RFC3339.exec(text);
  if (match === null) {
    throw new OciNixError("invalid-input", `${where}: ${JSON.stringify(text)} is not a time`, {
      hint: "give a time such as 2026-01-31T12:00:00Z",
    });
  }
  parseTimestamp(text, where);
  const [, year, month, day, hour, minute, second, fraction = "", zone] = match;
  const digits = fraction.replace(/\.?0+$/, "");
  const offset = /^([Zz]|[+-]00:00)$/.test(zone as string) ? "Z" : zone;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}${digits}${offset}`;
}

function now(): Timestamp {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  if (epoch === undefined || epoch === "") return fromSeconds(Math.floor(Date.now() / 1000));
  if (!/^\d{1,12}$/.test(epoch)) {
    throw new OciNixError(
      "invalid-input",
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}, not whole seconds since 1970`,
    );
  }
  return fromSeconds(Number(epoch));
}

function fromSeconds(seconds: number): Timestamp {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime()))
    throw new OciNixError("invalid-input", `${seconds} seconds since 1970 is not a time`);
  return { text: date.toISOString().replace(/\.000Z$/, "Z"), seconds };
}
