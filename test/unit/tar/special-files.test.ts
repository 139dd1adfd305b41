import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { BlockWriter } from "../../../src/core/block-writer.js";
import { EntryCursor, EntryList, type NewEntry } from "../../../src/tar/entry-list.js";
import { TAR_PROFILE_NAMES, tarProfile } from "../../../src/tar/profiles.js";
import { tarBlob } from "../../../src/tar/writer.js";
import { requireTools } from "../../support/tools.js";

const owner = { uid: 3, gid: 4, uname: "", gname: "" };
const common = { depth: 0, owner, size: 0, linkTarget: "" };
const SPECIAL: readonly NewEntry[] = [
  { ...common, name: "null", type: "character", mode: 0o666, device: { major: 1, minor: 3 } },
  { ...common, name: "disk", type: "block", mode: 0o660, device: { major: 4095, minor: 1048575 } },
  { ...common, name: "queue", type: "fifo", mode: 0o600 },
  { ...common, name: "plain", type: "file", mode: 0o644 },
];

async function archive(entries: EntryList, profile: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const out = new BlockWriter({ write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) });
  await tarBlob("x", entries, { profile: tarProfile(profile), mtime: 1 }).writeTo(out);
  await out.flush();
  return Buffer.concat(pieces);
}

function listOf(entries: readonly NewEntry[]): EntryList {
  const list = new EntryList();
  for (const entry of entries) list.append(entry);
  return list;
}

describe("devices and FIFOs", () => {
  it("come back from a list as they went in, between others", () => {
    const cursor = new EntryCursor(listOf(SPECIAL));
    const read: unknown[] = [];
    while (cursor.next()) {
      const { path, type, linkTarget, device } = cursor;
      read.push([path, type, linkTarget, type === "character" || type === "block" ? device : undefined]);
    }
    expect(read).toEqual(SPECIAL.map(({ name, type, device }) => [name, type, "", device]));
  });

  it.skipIf(requireTools("python3")).each(TAR_PROFILE_NAMES)(
    "are read by Python from the profile %s",
    async (profile) => {
      const script = `
import io, sys, tarfile
for m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())):
    print(m.name, m.type.decode(), oct(m.mode), m.uid, m.gid, m.devmajor, m.devminor, m.size)`;
      const { stdout } = spawnSync("python3", ["-c", script], { input: await archive(listOf(SPECIAL), profile) });
      expect(stdout.toString().replaceAll(/^\//gm, "").trim().split("\n")).toEqual([
        "null 3 0o666 3 4 1 3 0",
        "disk 4 0o660 3 4 4095 1048575 0",
        "queue 6 0o600 3 4 0 0 0",
        "plain 0 0o644 3 4 0 0 0",
      ]);
    },
  );

  it.skipIf(requireTools("python3"))("are in the profile dockertools the bytes that Python writes", async () => {
    const script = `
import io, sys, tarfile
out = io.BytesIO()
t = tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
for name, type, mode, major, minor in [("/null", b"3", 0o666, 1, 3), ("/disk", b"4", 0o660, 4095, 1048575), ("/queue", b"6", 0o600, 0, 0)]:
    m = tarfile.TarInfo("x")
    m.name = name
    m.type, m.mode, m.uid, m.gid, m.mtime, m.devmajor, m.devminor = type, mode, 3, 4, 1, major, minor
    t.addfile(m)
t.close()
sys.stdout.buffer.write(out.getvalue())`;
    const { stdout } = spawnSync("python3", ["-c", script]);
    const ours = await archive(listOf(SPECIAL.slice(0, 3)), "dockertools");
    expect(ours.equals(stdout)).toBe(true);
  });

  it("are refused where no header can hold their numbers", () => {
    const device = { major: 1, minor: 8 ** 7 };
    expect(() => listOf([{ ...common, name: "x", type: "block", mode: 0o600, device }])).toThrow(/device/);
  });
});
