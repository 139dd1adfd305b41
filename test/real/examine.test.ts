import {
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk, runOk } from "../support/command.js";
import { hexSha256 } from "../support/confs.js";
import { createPodman, ENGINE_TOOLS } from "../support/daemons.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 120_000;

interface Finding {
  readonly code: string;
  readonly where: string;
  readonly severity: string;
}

interface Report {
  readonly valid: boolean;
  readonly errors: number;
  readonly findings: readonly Finding[];
  readonly images: readonly {
    readonly layers: number;
    readonly entries: number;
    readonly findings: readonly Finding[];
  }[];
}

interface Diff {
  readonly equal: boolean;
  readonly sameBlobs: boolean;
  readonly files: Readonly<Record<"added" | "removed" | "changed", readonly { readonly path: string }[]>>;
}

const reportOf = (result: CommandResult) => JSON.parse(String(result.stdout)) as Report;
const diffOf = (result: CommandResult) => JSON.parse(String(result.stdout)) as Diff;

/** Two images that umoci made of directories, the second on top of the first: `oci:LAYOUT:one` and `oci:LAYOUT:two`. */
async function makeImages(directory: string): Promise<string> {
  const layout = join(directory, "layout");
  const bundle = join(directory, "bundle");
  const rootfs = join(bundle, "rootfs");
  await runOk("umoci", ["init", "--layout", layout]);
  await runOk("umoci", ["new", "--image", `${layout}:one`]);
  await runOk("umoci", ["unpack", "--image", `${layout}:one`, bundle]);
  for (const name of ["etc", "lib", "lib/deep", "opaque"]) mkdirSync(join(rootfs, name));
  const long = join("lib", "n".repeat(120), "m".repeat(120));
  mkdirSync(join(rootfs, long), { recursive: true });
  for (const [name, content] of [
    ["etc/a", "1"],
    ["etc/gone", "1"],
    ["etc/kept", "1"],
    ["lib/deep/x", "1"],
    ["lib/é", "1"],
    [join(long, "f"), "1"],
    ["opaque/old", "1"],
  ] as const) {
    writeFileSync(join(rootfs, name), content);
  }
  writeFileSync(Buffer.concat([Buffer.from(`${rootfs}/lib/`), Buffer.from([0xff])]), "bytes");
  linkSync(join(rootfs, "etc", "kept"), join(rootfs, "etc", "linked"));
  symlinkSync("a", join(rootfs, "etc", "link"));
  for (const name of ["etc/a", "etc/kept"]) utimesSync(join(rootfs, name), 1000, 1000);
  await runOk("umoci", ["repack", "--image", `${layout}:one`, bundle]);
  await runOk("umoci", ["config", "--image", `${layout}:one`, "--config.env", "A=1"]);
  rmSync(bundle, { recursive: true });

  await runOk("umoci", ["unpack", "--image", `${layout}:one`, bundle]);
  writeFileSync(join(rootfs, "etc", "a"), "22");
  rmSync(join(rootfs, "etc", "gone"));
  rmSync(join(rootfs, "etc", "link"));
  symlinkSync("kept", join(rootfs, "etc", "link"));
  rmSync(join(rootfs, "lib", "deep"), { recursive: true });
  rmSync(join(rootfs, "opaque"), { recursive: true });
  writeFileSync(join(rootfs, "opaque"), "a file now");
  mkdirSync(join(rootfs, "new"));
  writeFileSync(join(rootfs, "new", "file"), "1");
  await runOk("umoci", ["repack", "--image", `${layout}:two`, bundle]);
  rmSync(bundle, { recursive: true });
  return layout;
}

/** What umoci makes of an image: path to everything about it that a file system tells. */
async function unpackedBy(image: string, bundle: string): Promise<ReadonlyMap<string, string>> {
  await runOk("umoci", ["unpack", "--image", image, bundle]);
  const files = new Map<string, string>();
  const walk = (path: string): void => {
    const at = Buffer.from(path, "latin1");
    const stat = lstatSync(at);
    const content = stat.isFile() ? hexSha256(readFileSync(at)) : stat.isSymbolicLink() ? readlinkSync(at) : "";
    const size = stat.isFile() ? stat.size : 0;
    const shown = path.slice(Buffer.from(join(bundle, "rootfs")).toString("latin1").length);
    const described = [stat.mode, stat.uid, stat.gid, size, Math.floor(stat.mtimeMs / 1000), content].join(" ");
    if (shown !== "") files.set(shown, described);
    if (stat.isDirectory()) for (const name of readdirSync(at, { encoding: "latin1" })) walk(`${path}/${name}`);
  };
  walk(join(bundle, "rootfs"));
  return files;
}

describe.skipIf(requireTools("umoci", "skopeo", "root"))("images of other tools", () => {
  let directory: string;
  let layout: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-examine-"));
    layout = await makeImages(directory);
  }, LIMIT_MS);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** A copy of the layout that a test may damage. */
  function copyOfLayout(name: string): string {
    const copy = join(directory, name);
    cpSync(layout, copy, { recursive: true });
    return copy;
  }

  const blob = (where: string, digest: string) => join(where, "blobs", "sha256", digest.slice("sha256:".length));

  function manifestOf(where: string, tag: string) {
    const index = JSON.parse(readFileSync(join(where, "index.json"), "utf8"));
    const descriptor = index.manifests.find(
      (each: { annotations: Record<string, string> }) => each.annotations["org.opencontainers.image.ref.name"] === tag,
    );
    return { index, descriptor, manifest: JSON.parse(readFileSync(blob(where, descriptor.digest), "utf8")) };
  }

  it("are valid, and differ where umoci unpacks them differently", { timeout: LIMIT_MS }, async () => {
    const report = reportOf(expectOk(await runCli(["validate", `oci:${layout}`, "--json"]), "validate"));
    expect([report.valid, report.images.map(({ layers }) => layers)]).toEqual([true, [1, 2]]);
    // What podman says of it, with the driver vfs: "unlinkat /opaque/old: not a directory".
    expect(report.images[1]?.findings.map(({ code }) => code)).toEqual(["name-bytes", "under-file"]);

    const before = await unpackedBy(`${layout}:one`, join(directory, "unpacked-one"));
    const after = await unpackedBy(`${layout}:two`, join(directory, "unpacked-two"));
    const both = [...before.keys()].filter((path) => after.has(path));
    const shown = (paths: readonly string[]) =>
      paths
        .map((path) => (path.includes("\xff") ? path.replace("\xff", "\\xff") : Buffer.from(path, "latin1").toString()))
        .sort();
    const result = await runCli(["diff", `oci:${layout}:one`, `oci:${layout}:two`, "--json"]);
    expect(result.status).toBe(3);
    const { files } = diffOf(result);
    const found = (kind: keyof Diff["files"]) =>
      files[kind]
        .map(({ path }) => path)
        .filter((path) => path !== "/")
        .sort();
    expect(found("added")).toEqual(shown([...after.keys()].filter((path) => !before.has(path))));
    expect(found("removed")).toEqual(shown([...before.keys()].filter((path) => !after.has(path))));
    expect(found("changed")).toEqual(shown(both.filter((path) => before.get(path) !== after.get(path))));
    expect(found("changed")).toEqual(expect.arrayContaining(["/etc/a", "/etc/link", "/opaque"]));
    expect(found("removed")).toEqual(["/etc/gone", "/lib/deep", "/lib/deep/x", "/opaque/old"]);
  });

  it("are the same but for their blobs when skopeo has copied them", { timeout: LIMIT_MS }, async () => {
    const archive = `docker-archive:${join(directory, "copied.tar")}`;
    await runOk("skopeo", ["copy", "--insecure-policy", `oci:${layout}:two`, `${archive}:app:2`]);
    const report = reportOf(expectOk(await runCli(["validate", archive, "--json"]), "validate"));
    expect([report.valid, report.images.map(({ layers }) => layers)]).toEqual([true, [2]]);
    const result = expectOk(await runCli(["diff", `oci:${layout}:two`, archive]), "diff");
    expect(String(result.stdout)).toMatch(/the blobs differ, the contents do not\n$/);
    const inspected = expectOk(await runCli(["inspect", archive, "--json"]), "inspect");
    const raw = JSON.parse(await runOk("skopeo", ["inspect", "--config", archive]));
    expect(JSON.parse(String(inspected.stdout)).images[0].config).toEqual(raw);
  });

  it("are not valid once a byte of any blob is another", { timeout: LIMIT_MS }, async () => {
    const copy = copyOfLayout("flipped");
    for (const name of readdirSync(join(copy, "blobs", "sha256"))) {
      const file = join(copy, "blobs", "sha256", name);
      const sound = readFileSync(file);
      // Of blobs that no image uses any more nobody speaks.
      const isUsed = ["one", "two"].some((tag) => {
        const { descriptor, manifest } = manifestOf(layout, tag);
        return [descriptor, manifest.config, ...manifest.layers].some(({ digest }) => digest.endsWith(name));
      });
      if (!isUsed) continue;
      for (const at of [12, sound.length >> 1, sound.length - 1]) {
        const bytes = Buffer.from(sound);
        bytes[at] = (bytes[at] as number) ^ 1;
        writeFileSync(file, bytes);
        const result = await runCli(["validate", `oci:${copy}`, "--json"]);
        expect([name, at, result.status]).toEqual([name, at, 3]);
        expect(reportOf(result).valid).toBe(false);
      }
      writeFileSync(file, sound);
    }
    expectOk(await runCli(["validate", `oci:${copy}`]), "validate");
  });

  /** Changes the config of `two` and everything that names it. */
  function rewriteConfig(
    where: string,
    change: (config: { rootfs: { diff_ids: string[] }; history: unknown[] }) => void,
  ) {
    const { index, descriptor, manifest } = manifestOf(where, "two");
    const config = JSON.parse(readFileSync(blob(where, manifest.config.digest), "utf8"));
    change(config);
    const put = (value: unknown, into: { digest: string; size: number }) => {
      const bytes = Buffer.from(JSON.stringify(value));
      into.digest = `sha256:${hexSha256(bytes)}`;
      into.size = bytes.length;
      writeFileSync(blob(where, into.digest), bytes);
    };
    put(config, manifest.config);
    put(manifest, descriptor);
    writeFileSync(join(where, "index.json"), JSON.stringify(index));
  }

  it("are not valid with their diff_ids exchanged, though all digests of blobs are right", async () => {
    const copy = copyOfLayout("exchanged");
    rewriteConfig(copy, ({ rootfs }) => void rootfs.diff_ids.reverse());
    const result = await runCli(["validate", `oci:${copy}:two`, "--json"]);
    expect(result.status).toBe(3);
    expect(reportOf(result).images[0]?.findings.map(({ code, where }) => [code, where])).toEqual(
      expect.arrayContaining([
        ["diff-id", "layer 1"],
        ["diff-id", "layer 2"],
      ]),
    );
  });

  it("are not valid where a descriptor has another size", async () => {
    const copy = copyOfLayout("resized");
    const { index, descriptor, manifest } = manifestOf(copy, "two");
    manifest.layers[0].size++;
    const bytes = Buffer.from(JSON.stringify(manifest));
    descriptor.digest = `sha256:${hexSha256(bytes)}`;
    descriptor.size = bytes.length;
    writeFileSync(blob(copy, descriptor.digest), bytes);
    writeFileSync(join(copy, "index.json"), JSON.stringify(index));
    const result = await runCli(["validate", `oci:${copy}:two`, "--json"]);
    expect([result.status, reportOf(result).valid]).toEqual([3, false]);
  });

  it("packed again by zstd and gzip have the same files", { timeout: LIMIT_MS }, async () => {
    for (const compression of ["zstd", "gzip:9", "none"]) {
      const copied = `oci:${join(directory, "repacked")}:${compression.replace(":", "-")}`;
      expectOk(await runCli(["copy", `oci:${layout}:two`, copied, "--compression", compression, "--no-cache"]), "copy");
      expectOk(await runCli(["validate", copied]), "validate");
      const result = expectOk(await runCli(["diff", `oci:${layout}:two`, copied, "--json"]), "diff");
      expect(diffOf(result)).toMatchObject({ equal: true, sameBlobs: false });
    }
  });

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))("saved by podman are valid", { timeout: LIMIT_MS }, async () => {
    const podman = await createPodman();
    try {
      const archive = `oci-archive:${join(directory, "for-podman.tar")}`;
      await runOk("skopeo", ["copy", "--insecure-policy", `oci:${layout}:one`, `${archive}:one`]);
      const pulled = await podman.ok(["pull", "--quiet", archive]);
      for (const format of ["oci-archive", "docker-archive"]) {
        const file = join(directory, `${format}.tar`);
        await podman.ok(["save", "--quiet", "--format", format, "--output", file, pulled.trim()]);
        expect(existsSync(file)).toBe(true);
        expectOk(await runCli(["validate", `${format}:${file}`]), format);
        const result = expectOk(await runCli(["diff", `oci:${layout}:one`, `${format}:${file}`, "--json"]), "diff");
        expect(diffOf(result).equal).toBe(true);
      }
    } finally {
      await podman.stop();
    }
  });
});
