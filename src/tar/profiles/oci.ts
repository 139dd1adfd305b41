import { compareStrings } from "../../core/errors.js";
import { BLOCK } from "../header.js";
import { binaryPrefix, encodeRecords, numbersInField, oversized, paxHeader, questionMarks } from "../pax.js";
import { defineProfile, splitName } from "../profile.js";

/**
 * Relative names, directories with a trailing slash, parents once, entries in NAR order. ustar's prefix field where a long name can
 * be split, else pax records sorted by key.
 */
export const OCI = defineProfile(
  {
    name: "oci",
    version: 1,
    entryName: (entry) => (entry.type === "directory" ? `${entry.path}/` : entry.path),
    device: "0000000",
    splitsNames: true,
    compareNames: compareStrings,
    storePathOrder: "sorted",
    parents: "store",
    recordSize: BLOCK,
  },
  (main) => {
    const records = oversized(main);
    const split = records.has("path") ? splitName(main.name) : undefined;
    if (split !== undefined) {
      records.delete("path");
      main.prefix = split.prefix;
      main.name = split.name;
    }
    if (records.size === 0) return { main };
    const sorted = [...records].sort(([a], [b]) => compareStrings(a, b));
    const payload = binaryPrefix(records.values()) + encodeRecords(sorted);
    numbersInField(main, records);
    if (split === undefined) main.name = questionMarks(main.name);
    main.linkName = questionMarks(main.linkName);
    main.uname = questionMarks(main.uname);
    main.gname = questionMarks(main.gname);
    return { main, extended: [{ header: paxHeader("././@PaxHeader", payload.length, "0000000"), payload }] };
  },
);
