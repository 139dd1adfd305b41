import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { hexSha256, packTar } from "../support/confs.js";
import { HostilePlace } from "../support/hostile/run.js";
import { END, member, paxPayload } from "../support/hostile/tar.js";

/** Whether everything is run, or what tells most. */
const LONG = process.env.OCI_NIX_HOSTILE_CASES !== undefined;

const place = new HostilePlace();
afterAll(() => place.close());

interface HostileLayer {
  readonly stored: Buffer;
  /** By default that of the stored bytes. */
  readonly diffId?: string;
}

function archiveOf(layers: readonly HostileLayer[], manifest: object = {}): Promise<Buffer> {
  const names = layers.map((_, i) => `${i}.tar`);
  const rootfs = {
    type: "layers",
    diff_ids: layers.map(({ stored, diffId }) => diffId ?? `sha256:${hexSha256(stored)}`),
  };
  return packTar([
    ...layers.map(({ stored }, i) => [names[i] as string, stored] as const),
    ["config.json", JSON.stringify({ architecture: "amd64", os: "linux", rootfs })],
    ["manifest.json", JSON.stringify([{ Config: "config.json", RepoTags: ["app:1"], Layers: names, ...manifest }])],
  ]);
}

const write = (name: string, bytes: Buffer): string => {
  writeFileSync(place.path(name), bytes);
  return `docker-archive:${place.path(name)}`;
};

/** What `export` says of a layer that it does not take: nothing is there afterwards. */
async function notExported(entries: readonly Buffer[]): Promise<string> {
  const archive = write("image.tar", await archiveOf([{ stored: Buffer.concat([...entries, END]) }]));
  const { status, stderr } = await place.run(["export", archive, "-o", place.path("root.tar")]);
  expect(status).toBe(1);
  expect(existsSync(place.path("root.tar"))).toBe(false);
  return stderr;
}

async function inspected(bytes: Buffer): Promise<string> {
  const { status, stderr } = await place.run(["inspect", write("image.tar", bytes)]);
  expect(status).toBe(1);
  return stderr;
}

const base256 = (digits: string) => Buffer.from(digits, "hex");
const longName = (name: string) => member({ name: "././@LongLink", type: "L", content: Buffer.from(`${name}\0`) });

describe("a hostile layer", { timeout: 60_000 }, () => {
  it("that would write outside the root is not exported", async () => {
    const text = Buffer.from("text");
    expect(await notExported([member({ name: "../../evil", content: text })])).toMatch(/component ".."/);
    expect(
      await notExported([
        member({ name: "s", type: "2", linkName: "/tmp" }),
        member({ name: "s/evil", content: text }),
      ]),
    ).toMatch(/lies in s, which is a symlink/);
    expect(await notExported([member({ name: "h", type: "1", linkName: "../../etc/passwd" })])).toMatch(
      /component ".."/,
    );
    expect(
      await notExported([
        member({ name: "x", type: "x", content: paxPayload({ path: "a/../../evil" }) }),
        member({ name: "a" }),
      ]),
    ).toMatch(/component ".."/);
    expect(readdirSync(place.directory)).not.toContain("evil");
  });

  it("of sizes and records that lie is refused", async () => {
    const pax = (content: Buffer | string) => member({ name: "x", type: "x", content: Buffer.from(content) });
    const lies: readonly (readonly Buffer[])[] = [
      [member({ name: "a", size: base256("800000007fffffffffffffff") })],
      [member({ name: "a", size: base256("ffffffffffffffffffffff00") })],
      [member({ name: "a", size: "777777777777" })],
      [pax(paxPayload({ size: "9007199254740993" })), member({ name: "a" })],
      [pax("0 a=b\n"), member({ name: "a" })],
      [pax("999999999999 a=b\n"), member({ name: "a" })],
      [pax("7 a=bc"), member({ name: "a" })],
      [member({ name: "a", type: "L", size: base256("800000000000000100000000") })],
    ];
    for (const entries of lies.filter((_, n) => LONG || n % 3 === 0))
      expect(await notExported(entries)).toMatch(/not a (sound|complete) tar archive|extended headers of/);
  });

  it("of headers that never come to an entry takes no memory for them", async () => {
    const records = (n: number) =>
      Object.fromEntries(Array.from({ length: 12_000 }, (_, i) => [`${n}.${i}`, "v".repeat(30)]));
    const headers = Array.from({ length: 60 }, (_, n) =>
      member({ name: "x", type: "x", content: paxPayload(records(n)) }),
    );
    expect(await notExported([...headers, member({ name: "a" })])).toMatch(/extended headers of \d+ bytes/);
    const archive = Buffer.concat([...headers, await archiveOf([])]);
    expect(await inspected(archive)).toMatch(/extended headers of \d+ bytes/);
  });

  it("that unpacks to gigabytes is read in little memory, and not to its end", async () => {
    const zeros = Buffer.alloc(1 << 26);
    const head = member({ name: "zeros", size: `${(17 * zeros.length).toString(8).padStart(11, "0")}\0` });
    const packers: readonly ((bytes: Buffer) => Buffer)[] = [
      gzipSync,
      (bytes) => execFileSync("zstd", ["-c"], { input: bytes }),
    ];
    const hash = createHash("sha256").update(head);
    for (let n = 0; n < 17; n++) hash.update(zeros);
    const diffId = `sha256:${hash.update(END).digest("hex")}`;
    for (const pack of LONG ? packers : packers.slice(0, 1)) {
      const packed = pack(zeros);
      const stored = Buffer.concat([pack(head), ...Array.from({ length: 17 }, () => packed), pack(END)]);
      const image = write("bomb.tar", await archiveOf([{ stored, diffId }]));
      const { status, stdout } = await place.run(["validate", image]);
      expect(status).toBe(3);
      expect(stdout).toMatch(/more than 200 times its size/);
      const whole = write("bomb.tar.gz", stored);
      expect((await place.run(["inspect", whole])).stderr).toMatch(/more than 1073741824 unpacked/);
    }
  });

  it("whose holes would fill a disk is not valid", async () => {
    const records = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": `${10 ** 15}` };
    const pax = member({ name: "x", type: "x", content: paxPayload(records) });
    const stored = Buffer.concat([pax, member({ name: "a", content: Buffer.from("1\n0\n3\n") }), END]);
    const { status, stdout } = await place.run(["validate", write("holes.tar", await archiveOf([{ stored }]))]);
    expect(status).toBe(3);
    expect(stdout).toMatch(/unpacks to 1000000000000000 bytes with the holes of a, .* not read further \[limit\]/);
  });

  it("that zeros follow is not valid, and not exported", async () => {
    const tar = Buffer.concat([member({ name: "a" }), END]);
    const stored = Buffer.concat([gzipSync(tar), Buffer.alloc(512)]);
    const diffId = `sha256:${hexSha256(tar)}`;
    const image = write("padded.tar", await archiveOf([{ stored, diffId }]));
    const { status, stdout } = await place.run(["validate", image]);
    expect([status, stdout]).toEqual([3, expect.stringMatching(/zeros follow the last member \[damaged\]/)]);
    const exported = await place.run(["export", image, "-o", place.path("root.tar")]);
    expect([exported.status, existsSync(place.path("root.tar"))]).toEqual([3, false]);
    const whole = gzipSync(await archiveOf([{ stored: tar }]));
    const padded = write("whole.tar.gz", Buffer.concat([whole, Buffer.alloc(512)]));
    expect((await place.run(["validate", padded])).status).toBe(0);
  });

  it("of 120,000 entries, some of one name or of one but for its case, is checked in bounded memory", async () => {
    const one = member({ name: "a" });
    const entries = Array.from({ length: 120_000 }, (_, n) => {
      const header = Buffer.from(one);
      header.write(n % 50_000 === 0 ? "same" : `n${n}`, 0);
      header.write("        ", 148);
      const sum = header.reduce((total, byte) => total + byte, 0);
      header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
      return header;
    });
    const image = write("many.tar", await archiveOf([{ stored: Buffer.concat([...entries, END]) }]));
    const { status, stdout } = await place.run(["validate", image], { maxMb: 500 });
    expect(status).toBe(3);
    expect(stdout).toMatch(/same is there more than once/);
  });
});

describe.runIf(LONG)("a layer of 2,000,001 entries", { timeout: 300_000 }, () => {
  it("is neither exported nor compared", async () => {
    const piece = Buffer.concat(Array.from({ length: 1000 }, () => member({ name: "a" })));
    const hash = createHash("sha256");
    for (let n = 0; n < 2000; n++) hash.update(piece);
    const last = Buffer.concat([member({ name: "a" }), END]);
    const diffId = `sha256:${hash.update(last).digest("hex")}`;
    const packed = gzipSync(piece);
    const stored = Buffer.concat([...Array.from({ length: 2000 }, () => packed), gzipSync(last)]);
    const image = write("entries.tar", await archiveOf([{ stored, diffId }]));
    const other = write("empty.tar", await archiveOf([]));
    for (const args of [
      ["export", image, "-o", place.path("root.tar")],
      ["diff", other, image],
    ]) {
      const { status, stderr } = await place.run(args, { maxMb: 2500 });
      expect(status).toBe(1);
      expect(stderr).toMatch(/has more entries/);
    }
  });
});

describe.runIf(LONG)("a layer of half a gigabyte of attributes", { timeout: 300_000 }, () => {
  it("is not exported", async () => {
    const records = { "SCHILY.xattr.user.a": "a".repeat(1_000_000) };
    const one = Buffer.concat([member({ name: "x", type: "x", content: paxPayload(records) }), member({ name: "a" })]);
    const hash = createHash("sha256");
    for (let n = 0; n < 540; n++) hash.update(one);
    const diffId = `sha256:${hash.update(END).digest("hex")}`;
    const packed = gzipSync(one);
    const stored = Buffer.concat([...Array.from({ length: 540 }, () => packed), gzipSync(END)]);
    const image = write("attributes.tar", await archiveOf([{ stored, diffId }]));
    const { status, stderr } = await place.run(["export", image, "-o", place.path("root.tar")], { maxMb: 2500 });
    expect(status).toBe(1);
    expect(stderr).toMatch(/has more entries, or longer names and attributes/);
  });
});

describe("a hostile archive", { timeout: 60_000 }, () => {
  it("whose documents name what is outside is refused", async () => {
    for (const name of LONG
      ? ["../../../../etc/passwd", "/etc/passwd", "..", "", "__proto__"]
      : ["../../../../etc/passwd"]) {
      expect(await inspected(await archiveOf([], { Config: name }))).toMatch(/holds no file/);
    }
    const link = Buffer.concat([
      member({ name: "config.json", type: "2", linkName: "../../../../etc/passwd" }),
      member({ name: "manifest.json", content: Buffer.from('[{"Config":"config.json","Layers":[]}]') }),
      END,
    ]);
    expect(await inspected(link)).toMatch(/holds no file/);
    const loop = Buffer.concat([member({ name: "manifest.json", type: "2", linkName: "manifest.json" }), END]);
    expect(await inspected(loop)).toMatch(/holds no image/);
  });

  it("of names that are hundreds of megabytes is refused", async () => {
    const names = Array.from({ length: 80 }, (_, n) => [
      longName(`${n}/`.padEnd(1_000_000, "ab/")),
      member({ name: "a" }),
    ]).flat();
    expect(await inspected(gzipSync(Buffer.concat([...names, await archiveOf([])])))).toMatch(/names of more than/);
    rmSync(place.path("image.tar"));
  });

  it("with more members, or sizes, than there are is refused", async () => {
    for (const size of [
      base256("80000000001fffffffffffff"),
      "77777777777\0",
      base256("ffffffffffffffffffffffff"),
      "-0000000001\0",
    ]) {
      expect(await inspected(Buffer.concat([member({ name: "manifest.json", size }), END]))).toMatch(
        /not a complete tar archive/,
      );
    }
    const members = Array.from({ length: 100_001 }, () => member({ name: "a" }));
    expect(await inspected(Buffer.concat([...members, END]))).toMatch(/more than 100000 members/);
  });
});
