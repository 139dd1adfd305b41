import type { ErrorCode } from "../index.js";

/** What the program ends with, and why: documentation and program read the same table. */
export const EXIT_STATUSES: readonly {
  readonly status: number;
  /** Errors that end with it; those that none names end with 1. */
  readonly codes: readonly ErrorCode[];
  readonly describe: string;
}[] = [
  { status: 0, codes: [], describe: "Success." },
  { status: 1, codes: [], describe: "Failure." },
  { status: 2, codes: ["usage"], describe: "The command line is wrong." },
  {
    status: 3,
    codes: ["verification"],
    describe:
      "Bytes that are not what was recorded for them, an image that is not valid, images that differ, or a plan over its budget.",
  },
  {
    status: 75,
    codes: ["unavailable"],
    describe: "A registry or daemon cannot be reached, or asks to come back later.",
  },
  { status: 130, codes: ["interrupted"], describe: "Interrupted: 128 and the number of the signal, 143 for SIGTERM." },
];

/** The exit status of an error. */
export function exitStatusOf(code: ErrorCode): number {
  return EXIT_STATUSES.find(({ codes }) => codes.includes(code))?.status ?? 1;
}
