import { readFileSync } from "node:fs";
import { fsPath } from "../core/byte-string.js";
import { describeErrno, OciNixError } from "../core/errors.js";
import type { DiskTree } from "./disk-tree.js";

/** Largest number of a user or group: the last one is nobody's. */
const MAX_ID = 2 ** 32 - 2;

/** The users and groups of a root file system, by name. */
export class Users {
  readonly #users: ReadonlyMap<string, number>;
  readonly #groups: ReadonlyMap<string, number>;

  /** @param passwd text of /etc/passwd, undefined where there is none; `group` likewise */
  constructor(passwd: string | undefined, group: string | undefined) {
    this.#users = idsOf(passwd);
    this.#groups = idsOf(group);
  }

  /**
   * The number of a user's name; a number is itself, as is `root` where nothing says otherwise.
   * @throws OciNixError `not-found` where nobody is called so; `invalid-input` for a number that nobody has
   */
  uid(name: string, where: string): number {
    return idOf(name, this.#users, where, `user ${JSON.stringify(name)} is not in the image's /etc/passwd`);
  }

  /** The same for a group. @throws OciNixError `not-found` */
  gid(name: string, where: string): number {
    return idOf(name, this.#groups, where, `group ${JSON.stringify(name)} is not in the image's /etc/group`);
  }
}

function idOf(name: string, ids: ReadonlyMap<string, number>, where: string, missing: string): number {
  const id = ids.get(name) ?? (/^\d{1,10}$/.test(name) ? Number(name) : name === "root" ? 0 : undefined);
  if (id !== undefined && id <= MAX_ID) return id;
  if (/^\d+$/.test(name)) {
    throw new OciNixError("invalid-input", `${where}: ${name} is larger than any number of a user or group`, {
      hint: `the largest is ${MAX_ID}`,
    });
  }
  throw new OciNixError("not-found", `${where}: ${missing}`, {
    hint: "give a number, or let contents bring that file: a NixOS system makes its own only when it starts",
  });
}

/** Name → number, of a file whose lines are `name:password:number:…`; of two lines of a name the first counts, as for getpwnam. */
function idsOf(text: string | undefined): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const line of text?.split("\n") ?? []) {
    const [name = "", , id = ""] = line.split(":");
    if (name !== "" && /^\d{1,10}$/.test(id) && !ids.has(name)) ids.set(name, Number(id));
  }
  return ids;
}

/** Larger files are nobody's. */
const LARGEST = 16 * 2 ** 20;

/** The users that a root file system says it has. @throws OciNixError `limit` or `unreadable` */
export function readUsers(tree: DiskTree): Users {
  const [passwd, group] = ["/etc/passwd", "/etc/group"].map((path) => {
    const file = tree.fileAt(path);
    if (file === undefined) return undefined;
    if (file.size > LARGEST) throw new OciNixError("limit", `the image's ${path} is larger than 16 MiB`);
    if (file.contents !== undefined) return Buffer.from(file.contents).toString("utf8");
    try {
      return file.source === undefined ? undefined : readFileSync(fsPath(file.source), "utf8");
    } catch (error) {
      throw new OciNixError("unreadable", `cannot read the image's ${path}: ${describeErrno(error)}`, { cause: error });
    }
  });
  return new Users(passwd, group);
}
