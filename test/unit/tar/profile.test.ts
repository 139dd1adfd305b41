import { describe, expect, it } from "vitest";
import { ownership } from "../../../src/build/file-tree.js";
import type { TarEntry } from "../../../src/tar/entry-list.js";
import { TAR_PROFILE_NAMES, type TarProfile, tarProfile } from "../../../src/tar/profiles.js";

/** The name that a reader takes from an entry's headers: the pax record, or ustar's prefix and name. */
function nameIn(headers: Buffer): string {
  const record = /^\d+ path=([^\n]*)\n/m.exec(headers.subarray(512, -512).toString("latin1"))?.[1];
  const main = headers.subarray(-512);
  const field = (at: number, length: number) => main.toString("latin1", at, at + length).replace(/\0.*$/s, "");
  const prefix = field(345, 155);
  return record ?? (prefix === "" ? field(0, 100) : `${prefix}/${field(0, 100)}`);
}

function headersOf(profile: TarProfile, entry: TarEntry): Buffer {
  const headers = Buffer.alloc(profile.headerLength(entry, 1), 0xff);
  profile.putHeaders(headers, 0, entry, 1);
  return headers;
}

describe.each(TAR_PROFILE_NAMES)("headers of the %s profile", (profileName) => {
  it.each(["file", "directory"] as const)("hold the whole name of a %s, wherever its slashes are", (type) => {
    const profile = tarProfile(profileName);
    const lengths = [1, 97, 98, 99, 100, 101, 150, 152, 153, 154, 155, 156, 157, 158, 200];
    for (const first of lengths) {
      for (const second of lengths) {
        const path = `${"p".repeat(first)}/${"n".repeat(second)}`;
        const owner = ownership(0, 0, "root", "root");
        const entry = { path, type, mode: 0o555, owner, size: 0, linkTarget: "", source: "", hasPlainNames: true };
        const headers = headersOf(profile, entry);
        // The quick way for plain entries and the general one give the same bytes.
        expect(headersOf(profile, { ...entry, hasPlainNames: false })).toEqual(headers);
        expect(nameIn(headers).replace(/^\/|\/$/g, "")).toBe(path);
      }
    }
  });
});
