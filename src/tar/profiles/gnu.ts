import type { ByteString } from "../../core/byte-string.js";
import { compareStrings } from "../../core/errors.js";
import { BLOCK, type HeaderFields } from "../header.js";
import { defineProfile } from "../profile.js";

/** SOURCE_DATE_EPOCH of nixpkgs' stdenv: 1980-01-01, the earliest time that ZIP archives can hold. */
const MTIME = 315532800;

/** What a header has for a name, or for a link's target. */
const NAME_LENGTH = 100;

/** What an extended header says: the target of the next entry, or its name. */
const LONG_TARGET = "K";
const LONG_NAME = "L";

/**
 * The bytes of GNU tar as nixpkgs calls it for customisation layers: `--sort=name --numeric-owner --mtime=@315532800 --hard-dereference -cf
 * layer.tar .`, in its own format.
 */
export const GNU = defineProfile(
  {
    name: "gnu",
    version: 1,
    entryName: ({ type, path }) => (type === "directory" && path !== "" ? `./${path}/` : `./${path}`),
    device: "",
    splitsNames: false,
    fixed: { gnu: true, mtime: MTIME, uname: "", gname: "" },
    compareNames: compareStrings,
    storePathOrder: "sorted",
    parents: "root-and-store",
    recordSize: 20 * BLOCK,
  },
  (main) => ({
    main,
    extended: [...longName(LONG_TARGET, main.linkName), ...longName(LONG_NAME, main.name)],
  }),
);

/** The header and the payload for what the main header cuts off. */
function longName(type: string, name: ByteString): { readonly header: HeaderFields; readonly payload: ByteString }[] {
  if (name.length <= NAME_LENGTH) return [];
  const payload = `${name}\0`;
  const header: HeaderFields = {
    name: "././@LongLink",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: payload.length,
    mtime: 0,
    type,
    linkName: "",
    uname: "",
    gname: "",
    device: "",
    prefix: "",
    gnu: true,
  };
  return [{ header, payload }];
}
