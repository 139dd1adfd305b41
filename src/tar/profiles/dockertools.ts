import { compareByCodePoint } from "../../core/byte-string.js";
import { BLOCK } from "../header.js";
import { binaryPrefix, encodeRecords, numbersInField, oversized, paxHeader, questionMarks } from "../pax.js";
import { defineProfile } from "../profile.js";

/** The bytes of Python's tarfile as nixpkgs' stream_layered_image.py uses it. */
export const DOCKERTOOLS = defineProfile(
  {
    name: "dockertools",
    version: 1,
    entryName: (entry) => (entry.type === "directory" ? `/${entry.path}/` : `/${entry.path}`),
    device: "",
    splitsNames: false,
    compareNames: compareByCodePoint,
    storePathOrder: "given",
    parents: "always-nix-store",
    recordSize: 20 * BLOCK,
  },
  (main) => {
    // Python measures characters, not bytes; a non-ASCII value needs a record either way.
    const records = oversized(main);
    main.name = questionMarks(main.name);
    main.linkName = questionMarks(main.linkName);
    main.uname = questionMarks(main.uname);
    main.gname = questionMarks(main.gname);
    if (records.size === 0) return { main };
    const payload = binaryPrefix(records.values()) + encodeRecords(records);
    numbersInField(main, records);
    return { main, extended: [{ header: paxHeader("././@PaxHeader", payload.length, ""), payload }] };
  },
);
