import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { hexSha256, packTar } from "../support/confs.js";
import { HostilePlace } from "../support/hostile/run.js";
import { type FixtureDescriptor, LayoutFixture, OCI } from "../support/layouts.js";

/** Whether everything is run, or what tells most. */
const LONG = process.env.OCI_NIX_HOSTILE_CASES !== undefined;

const place = new HostilePlace();
afterAll(() => place.close());
const layer = await packTar([["a", "text"]]);
let count = 0;

/** What `copy` says of a layout; 3 is the exit code where bytes are not what was recorded. */
async function refused(
  fixture: LayoutFixture,
  change: (directory: string) => void = () => undefined,
  code = 1,
  maxMb = 300,
): Promise<string> {
  const directory = fixture.write(place.path(`layout-${count++}`));
  change(directory);
  const { status, stderr } = await place.run(["copy", `oci:${directory}`, `oci-archive:${place.path("copied.tar")}`], {
    maxMb,
  });
  expect(status).toBe(code);
  expect(existsSync(place.path("copied.tar"))).toBe(false);
  return stderr;
}

function image(): { readonly fixture: LayoutFixture; readonly blob: string } {
  const fixture = new LayoutFixture();
  fixture.add(fixture.image({ layers: [{ tar: layer }] }), "app:1");
  return { fixture, blob: `blobs/sha256/${hexSha256(layer)}` };
}

const descriptor = (digest: string, more: object = {}): FixtureDescriptor => ({
  mediaType: `${OCI}.manifest.v1+json`,
  digest,
  size: 10,
  ...more,
});

describe("a hostile OCI layout", { timeout: 60_000 }, () => {
  it("whose blob is a FIFO, a device or a directory is refused, and waits for nobody", async () => {
    const { fixture, blob } = image();
    const make: readonly ((file: string) => void)[] = [
      (file) => execFileSync("mkfifo", [file]),
      (file) => symlinkSync("/dev/zero", file),
      (file) => mkdirSync(file),
      (file) => symlinkSync(file, file),
    ];
    for (const each of LONG ? make : make.slice(0, 2)) {
      const said = await refused(fixture, (directory) => {
        rmSync(`${directory}/${blob}`);
        each(`${directory}/${blob}`);
      });
      expect(said).toMatch(/not a regular file|holds no file/);
    }
  });

  it("whose blob is another file, by a link that leads out, is not what its digest says", async () => {
    const { fixture, blob } = image();
    const said = await refused(
      fixture,
      (directory) => {
        rmSync(`${directory}/${blob}`);
        symlinkSync("/etc/passwd", `${directory}/${blob}`);
      },
      3,
    );
    expect(said).toMatch(/bytes long, its descriptor says|is sha256:/);
  });

  it("whose digests are paths is refused", async () => {
    for (const digest of [
      "sha256:../../../../etc/passwd",
      `sha256:${"../".repeat(21)}a`,
      "../x:y",
      `sha256:${"A".repeat(64)}`,
      "sha256:",
    ].slice(0, LONG ? 5 : 2)) {
      expect(await refused(new LayoutFixture().add(descriptor(digest)))).toMatch(/not a sha256 digest/);
    }
  });

  it("whose index leads to itself, or into indexes without end, is refused", async () => {
    const fixture = new LayoutFixture();
    let index = fixture.index([]);
    for (let depth = 0; depth < 12; depth++) index = fixture.index([index, index, index]);
    expect(await refused(fixture.add(index))).toMatch(/more than (8 deep|10000 manifests)/);
    const itself = new LayoutFixture();
    const hex = "ab".repeat(32);
    itself.files.set(
      `blobs/sha256/${hex}`,
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          manifests: [descriptor(`sha256:${hex}`, { mediaType: `${OCI}.index.v1+json` })],
        }),
      ),
    );
    expect(
      await refused(itself.add(descriptor(`sha256:${hex}`, { mediaType: `${OCI}.index.v1+json` })), undefined, 3),
    ).toMatch(/bytes long|is sha256:/);
  });

  it("with a config of a hundred megabytes or 200,000 layers is refused", async () => {
    const large = new LayoutFixture();
    large.add(large.image({ config: { author: "a".repeat(100_000_000) } }));
    expect(await refused(large)).toMatch(/larger than 20971520 bytes/);
    const many = new LayoutFixture();
    const blob = many.put(layer, `${OCI}.layer.v1.tar`);
    const config = many.put(
      { rootfs: { type: "layers", diff_ids: Array(100_001).fill(blob.digest) } },
      `${OCI}.config.v1+json`,
    );
    const layers = Array(100_001).fill(blob);
    const manifest = { schemaVersion: 2, config, layers };
    expect(await refused(many.add(many.put(manifest, `${OCI}.manifest.v1+json`)))).toMatch(/more than 100000 layers/);
  });

  it.runIf(LONG)("with configs of more than 256 MiB together is refused", async () => {
    const large = new LayoutFixture();
    for (let n = 0; n < 14; n++)
      large.add(large.image({ config: { author: `${n}`.padEnd(20_000_000, "a") } }), `app:${n}`);
    expect(await refused(large, undefined, 1, 700)).toMatch(/manifests and configs are more than 268435456 bytes/);
  });

  it("with a layer of a wrong digest, size or diffID is refused", async () => {
    const other = await packTar([["a", "texT"]]);
    const { fixture, blob } = image();
    expect(await refused(fixture, (directory) => writeFileSync(`${directory}/${blob}`, other), 3)).toMatch(
      /is sha256:/,
    );
    const wrong = new LayoutFixture();
    wrong.add(
      wrong.image({ layers: [{ tar: other, stored: gzipSync(layer), mediaType: `${OCI}.layer.v1.tar+gzip` }] }),
    );
    const { status, stdout } = await place.run(["validate", `oci:${wrong.write(place.path("wrong"))}`]);
    expect(status).toBe(3);
    expect(stdout).toMatch(/diff-id/);
  });

  it("with names like paths, options and escapes is copied by its names, and writes nowhere else", async () => {
    const fixture = new LayoutFixture();
    const made = fixture.image({ layers: [{ tar: layer }] });
    for (const name of ["../../evil", "-rf", "\u001b[31m", "__proto__", "a:b:c", " "]) fixture.add(made, name);
    const directory = fixture.write(place.path("names"));
    const { status, stderr, stdout } = await place.run(["inspect", `oci:${directory}`]);
    expect(status).toBe(0);
    expect(stdout + stderr).not.toContain("\u001b");
    expect(existsSync(place.path("evil"))).toBe(false);
  });
});
