import type { ByteString } from "../../core/byte-string.js";
import { compareStrings } from "../../core/errors.js";
import type { Ownership } from "../entry-list.js";
import { BLOCK } from "../header.js";
import { encodeRecords, numbersInField, oversized, paxHeader } from "../pax.js";
import { defineProfile, splitName } from "../profile.js";

const ROOT: Ownership = { uid: 0, gid: 0, uname: "root", gname: "root" };

/** The bytes of Go's archive/tar as nix2container uses it. */
export const NIX2CONTAINER = defineProfile(
  {
    name: "nix2container",
    version: 1,
    entryName: (entry) => `/${entry.path}`,
    device: "0000000",
    splitsNames: true,
    compareNames: compareStrings,
    storePathOrder: "sorted",
    parents: "root-and-store",
    parentOwner: ROOT,
    recordSize: BLOCK,
  },
  (main) => {
    const records = oversized(main);
    const split = records.has("path") ? splitName(main.name) : undefined;
    if (records.size === 0) return { main };
    if (records.size === 1 && split !== undefined) {
      main.prefix = split.prefix;
      main.name = split.name;
      return { main };
    }
    const payload = encodeRecords([...records].sort(([a], [b]) => compareStrings(a, b)));
    const header = paxHeader(goPaxName(main.name), payload.length, "");
    numbersInField(main, records);
    main.name = goField(main.name, 100);
    main.linkName = goField(main.linkName, 100);
    main.uname = goField(main.uname, 32);
    main.gname = goField(main.gname, 32);
    return { main, extended: [{ header, payload }] };
  },
);

function dropNonAscii(bytes: ByteString): ByteString {
  return bytes.replace(/[\x80-\xff]/g, "");
}

function goPaxName(name: ByteString): ByteString {
  const slash = name.lastIndexOf("/");
  // path.Join drops an empty last element, which only the root directory has.
  const joined = `${name.slice(0, slash + 1)}PaxHeaders.0${slash + 1 === name.length ? "" : name.slice(slash)}`;
  return dropNonAscii(joined).slice(0, 100).replace(/\/+$/, "");
}

/** Go cuts a string to its field, then ends it before a slash at the cut, lest old readers take a file for a directory. */
function goField(bytes: ByteString, length: number): ByteString {
  const ascii = dropNonAscii(bytes);
  if (ascii.length <= length || ascii[length - 1] !== "/") return ascii.slice(0, length);
  const cut = ascii.slice(0, length - 1).replace(/\/+$/, "").length;
  return `${ascii.slice(0, cut)}\0${ascii.slice(cut + 1, length)}`;
}
