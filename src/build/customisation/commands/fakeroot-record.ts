import { OciNixError } from "../../../core/errors.js";
import type { Device } from "../../../core/generated-object.js";

/** What fakeroot knows of one file: who owns it, what it is, and its permissions, as far as programs under it are concerned. */
export interface FakedFile {
  /** Type and permissions: st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly device: Device;
}

/** Names a file by its file system and its number there. */
export function fileKey({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${dev}:${ino}`;
}

/** One file of a record. */
export interface RecordedFile extends Omit<FakedFile, "device"> {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** The record that fakeroot is to begin with. */
export function formatRecord(files: Iterable<RecordedFile>): string {
  const lines: string[] = [];
  for (const { dev, ino, mode, uid, gid } of files) {
    lines.push(`dev=${dev.toString(16)},ino=${ino},mode=${mode.toString(8)},uid=${uid},gid=${gid},nlink=1,rdev=0\n`);
  }
  return lines.join("");
}

const LINE =
  /^dev=([0-9a-f]{1,16}),ino=(\d{1,20}),mode=([0-7]{1,7}),uid=(\d{1,10}),gid=(\d{1,10}),nlink=\d+,rdev=(\d{1,20})$/;
const NO_ID = 2 ** 32 - 1;

/** The record that fakeroot left, by {@link fileKey}. @throws OciNixError `unsupported` for what is none */
export function parseRecord(text: string): ReadonlyMap<string, FakedFile> {
  const files = new Map<string, FakedFile>();
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const match = LINE.exec(line);
    if (match === null) {
      throw new OciNixError("unsupported", `fakeroot wrote ${JSON.stringify(line)}, which is no record of a file`, {
        hint: "is this a version of fakeroot that keeps records in another form?",
      });
    }
    const [dev, ino, mode, uid, gid, rdev] = match.slice(1) as [string, string, string, string, string, string];
    files.set(fileKey({ dev: BigInt(`0x${dev}`), ino: BigInt(ino) }), {
      mode: Number.parseInt(mode, 8),
      uid: idOf(uid),
      gid: idOf(gid),
      device: deviceOf(BigInt(rdev)),
    });
  }
  return files;
}

function idOf(text: string): number {
  const id = Number(text);
  if (id < NO_ID) return id;
  throw new OciNixError("unsupported", `fakeroot recorded the owner ${text}, which nobody can be`);
}

/** The numbers in a Linux dev_t. */
function deviceOf(rdev: bigint): Device {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}
