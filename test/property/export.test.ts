import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exportImage } from "../../src/examine/export.js";
import { openSource, parseTransport } from "../../src/index.js";
import type { StoredImage } from "../../src/transport/image.js";
import { runOk } from "../support/command.js";
import { listing } from "../support/file-listing.js";
import { LayoutFixture } from "../support/layouts.js";
import { requireTools } from "../support/tools.js";
import { type Entry, tarOf } from "../unit/examine/fixtures.js";

type Kind = "file" | "directory" | "symlink" | "link" | "fifo" | "whiteout" | "opaque";

interface Step {
  readonly path: readonly string[];
  readonly kind: Kind;
  readonly mode: number;
  readonly owner: number;
  readonly content: string;
}

const step: fc.Arbitrary<Step> = fc.record({
  path: fc.array(fc.constantFrom("a", "b", "c", "-d", "\xe9"), { minLength: 1, maxLength: 3 }),
  kind: fc.constantFrom<Kind>(
    "file",
    "file",
    "directory",
    "directory",
    "symlink",
    "link",
    "fifo",
    "whiteout",
    "opaque",
  ),
  mode: fc.constantFrom(0o644, 0o755, 0o600, 0o1777, 0o4711),
  owner: fc.constantFrom(0, 1, 1000, 3_000_000),
  content: fc.constantFrom("", "x", "text", "y".repeat(700)),
});

/** The steps of each layer as entries of a tar, but for those that no well-behaved program would write. */
function tarsOf(layers: readonly (readonly Step[])[]): readonly Buffer[] {
  const kinds = new Map<string, Kind>();
  return layers.map((steps) => {
    const lower = new Map(kinds);
    const touched = new Map<string, Kind>();
    const entries: (readonly [string, Entry])[] = [];
    const isBelow = (path: string) => (other: string) => other.startsWith(`${path}/`);
    const forget = (path: string, self: boolean) => {
      for (const other of [...kinds.keys()]) {
        if (isBelow(path)(other) || (self && other === path)) kinds.delete(other);
      }
    };
    for (const { path: components, kind, mode, owner, content } of steps) {
      const path = components.join("/");
      const parents = components.slice(0, -1).map((_, i) => components.slice(0, i + 1).join("/"));
      const common = { mode, pax: { uid: String(owner), gid: String(owner + 1), mtime: String(1000 + mode) } };
      if (parents.some((at) => kinds.has(at) && kinds.get(at) !== "directory")) continue;
      // What a whiteout of this layer hides does not come back in it.
      if (touched.has(path) || parents.some((at) => touched.get(at) === "whiteout")) continue;
      const isBusy = [...touched.keys()].some(isBelow(path));
      if (kind === "whiteout" || kind === "opaque") {
        if (isBusy || !lower.has(path) || (kind === "opaque" && kinds.get(path) !== "directory")) continue;
        const name =
          kind === "opaque"
            ? `${path}/.wh..wh..opq`
            : [...components.slice(0, -1), `.wh.${components.at(-1)}`].join("/");
        entries.push([name, {}]);
        forget(path, kind === "whiteout");
        touched.set(path, kind);
        continue;
      }
      if (kind !== "directory" && isBusy) continue;
      const targets = [...touched].filter(([, other]) => other === "file").map(([other]) => other);
      const target = targets[content.length % Math.max(1, targets.length)];
      if (kind === "link" && target === undefined) continue;
      for (const at of parents.filter((each) => !kinds.has(each))) {
        entries.push([`${at}/`, { ...common, mode: 0o755 }]);
        kinds.set(at, "directory");
        touched.set(at, "directory");
      }
      if (kind === "directory") entries.push([`${path}/`, common]);
      if (kind === "file") entries.push([path, { ...common, content }]);
      if (kind === "symlink") entries.push([path, { ...common, link: `../${content || "/"}` }]);
      if (kind === "link") entries.push([path, { ...common, type: "1", link: target as string }]);
      if (kind === "fifo") entries.push([path, { ...common, type: "6" }]);
      if (kind !== "directory") forget(path, false);
      kinds.set(path, kind);
      touched.set(path, kind);
    }
    return tarOf(...entries);
  });
}

const missing = requireTools("umoci", "tar", "root");

describe.skipIf(missing)("exported layers, unpacked by GNU tar", () => {
  it("are the tree that umoci unpacks", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 14 }), { minLength: 1, maxLength: 4 }), async (layers) => {
        const directory = mkdtempSync(join(tmpdir(), "oci-nix-export-"));
        try {
          const tars = tarsOf(layers);
          const fixture = new LayoutFixture();
          fixture.add(fixture.image({ layers: tars.map((tar) => ({ tar })) }), "1").write(join(directory, "layout"));
          const bundle = join(directory, "bundle");
          await runOk("umoci", ["unpack", "--image", `${join(directory, "layout")}:1`, bundle]);
          const source = await openSource(parseTransport(`oci:${join(directory, "layout")}:1`));
          const pieces: Buffer[] = [];
          const sink = { write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) };
          await exportImage(source.images[0] as StoredImage, sink);
          source.close();
          const unpacked = join(directory, "unpacked");
          mkdirSync(unpacked);
          const args = ["--extract", "--numeric-owner", "--same-permissions", "-C", unpacked];
          await runOk("tar", args, { stdin: Buffer.concat(pieces) });
          expect(listing(unpacked)).toEqual(listing(join(bundle, "rootfs")));
        } finally {
          rmSync(directory, { recursive: true, force: true });
        }
      }),
      { numRuns: 60 },
    );
  });
});
