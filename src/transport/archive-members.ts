import { OciNixError } from "../core/errors.js";
import { readRange } from "../core/file-range.js";
import { type ArchiveMember, memberName } from "../tar/reader.js";

/** Images' files are in few directories; what is on the way to each is looked at. */
const MAX_DEPTH = 32;
const MAX_HOPS = 10;
const PIECE = 1 << 20;

/**
 * Finds members of an archive as every program finds them: some take the first of a name and some the last, some unpack the archive
 * before they read it and some do not. What is the same to all of them may be there more than once.
 */
export class ArchiveMembers {
  readonly #members: ReadonlyMap<string, ArchiveMember>;
  readonly #fd: number;
  readonly #title: string;
  readonly #checked = new Set<string>();

  constructor(members: ReadonlyMap<string, ArchiveMember>, fd: number, title: string) {
    this.#members = members;
    this.#fd = fd;
    this.#title = title;
  }

  /**
   * The file of a name. Old `docker save` archives share layers by symlinks, others by hard links; links of directories are not followed.
   * @throws OciNixError `verification` where programs differ in what it is; `limit` where it is in very many directories
   */
  file(name: string): ArchiveMember | undefined {
    let at = memberName(name);
    for (let hops = 0; hops < MAX_HOPS; hops++) {
      const member = this.#members.get(at);
      this.#checkPlace(at, member);
      if (member === undefined || member.type === "file") return member;
      if (member.type === "symlink") at = memberName(`${at}/../${member.linkTarget}`);
      else if (member.type === "link") at = memberName(member.linkTarget);
      else return undefined;
    }
    return undefined;
  }

  #checkPlace(name: string, member: ArchiveMember | undefined): void {
    if (this.#checked.has(name)) return;
    const ends = slashes(name);
    if (ends.length > MAX_DEPTH) {
      if (member === undefined) return;
      throw new OciNixError("limit", `${this.#title}: ${name} is in more than ${MAX_DEPTH} directories`);
    }
    for (const end of ends) {
      const directory = name.slice(0, end);
      const found = this.#members.get(directory);
      if (found?.earlier !== undefined) throw this.#differ(`${shown(directory)} twice`);
      if (found !== undefined && found.type !== "directory") {
        throw this.#differ(`${shown(directory)}, which is no directory, on the way to ${shown(name)}`);
      }
    }
    if (member === undefined) return;
    for (let { earlier } = member; earlier !== undefined; earlier = earlier.earlier) {
      if (!this.#isSame(member, earlier)) throw this.#differ(`${shown(name)} twice`);
    }
    this.#checked.add(name);
  }

  /** Archives of images with equal layers, as dockerTools makes them, hold those twice. */
  #isSame(one: ArchiveMember, other: ArchiveMember): boolean {
    if (one.type !== other.type || one.size !== other.size || one.linkTarget !== other.linkTarget) return false;
    if (one.type !== "file") return one.type !== "other";
    for (let done = 0; done < one.size; done += PIECE) {
      const size = Math.min(PIECE, one.size - done);
      const [a, b] = [one, other].map(({ offset }) =>
        readRange(this.#fd, { offset: offset + done, size }, this.#title),
      ) as [Buffer, Buffer];
      if (!a.equals(b)) return false;
    }
    return true;
  }

  #differ(what: string): OciNixError {
    return new OciNixError("verification", `${this.#title} holds ${what}: programs differ in which they read`, {
      hint: "the archive is different images to different programs: write it again",
    });
  }
}

/** Where the first slashes are, one more of them than matter. */
function slashes(name: string): readonly number[] {
  const found: number[] = [];
  for (let at = name.indexOf("/"); at !== -1 && found.length <= MAX_DEPTH; at = name.indexOf("/", at + 1)) {
    found.push(at);
  }
  return found;
}

/** As it is, where that is plain. */
function shown(name: string): string {
  return /^[\w./-]+$/.test(name) ? name : JSON.stringify(name);
}
