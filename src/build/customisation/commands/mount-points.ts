import { lstatSync, mkdirSync } from "node:fs";
import { type ByteString, encodeUtf8 } from "../../../core/byte-string.js";
import { OciNixError } from "../../../core/errors.js";

/**
 * Makes the directories that something is to be mounted on, where they are not in a tree yet.
 * @param places absolute, as the tree has them
 * @returns those that were made
 * @throws OciNixError `invalid-input` where something else is in the place
 */
export function mountPoints(root: string, places: readonly string[]): ReadonlySet<ByteString> {
  const made = new Set<ByteString>();
  for (const place of places) {
    for (let end = place.indexOf("/", 1); ; end = place.indexOf("/", end + 1)) {
      const directory = end === -1 ? place : place.slice(0, end);
      const stat = lstatSync(root + directory, { throwIfNoEntry: false });
      if (stat === undefined) {
        mkdirSync(root + directory, { mode: 0o755 });
        made.add(encodeUtf8(directory));
      } else if (!stat.isDirectory()) {
        throw new OciNixError(
          "invalid-input",
          `with enableFakechroot, ${directory} has to be a directory, and is none`,
          {
            hint: "dev, proc and the store are mounted in the root that the commands run in",
          },
        );
      }
      if (end === -1) break;
    }
  }
  return made;
}
