import type { ByteString } from "../core/byte-string.js";
import type { TarEntry } from "../tar/entries.js";
import { MAX_PATH, shownName } from "./entry-path.js";

/** Numbers of users and groups are 32 bits wide, and the last one is nobody's. */
const MAX_ID = 2 ** 32 - 2;
/** Largest device number that a tar header holds. */
const MAX_DEVICE = 8 ** 7 - 1;

/** Why a symlink or a hard link cannot be made. */
export function linkProblem({ name, linkName, type }: TarEntry): string | undefined {
  if (type !== "symlink" && type !== "link") return undefined;
  if (linkName.length > MAX_PATH) return `${shownName(name)} links to more than Linux allows: ${shownName(linkName)}`;
  if (linkName !== "" && !linkName.includes("\0")) return undefined;
  return `${shownName(name)} links to ${shownName(linkName) || "nothing"}: no file can be called that`;
}

/** Why an entry cannot be the root. */
export function rootProblem({ name, type }: TarEntry, path: ByteString): string | undefined {
  return path === "" && type !== "directory" ? `${shownName(name)} is the root, and no directory` : undefined;
}

/** Why nobody can own a file. */
export function ownerProblem({ name, uid, gid }: TarEntry): string | undefined {
  if (fits(uid, MAX_ID) && fits(gid, MAX_ID)) return undefined;
  return `${shownName(name)} is owned by ${uid}:${gid}, which Linux does not have`;
}

/** Why there is no such device. */
export function deviceProblem({ name, devMajor, devMinor }: TarEntry): string | undefined {
  if (fits(devMajor, MAX_DEVICE) && fits(devMinor, MAX_DEVICE)) return undefined;
  return `${shownName(name)} is the device ${devMajor}:${devMinor}, which Linux does not have`;
}

function fits(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
