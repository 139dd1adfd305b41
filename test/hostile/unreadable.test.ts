import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installForEverybody, runCli } from "../support/cli.js";
import { hexSha256, packTar } from "../support/confs.js";
import { LayoutFixture } from "../support/layouts.js";
import { requireTools } from "../support/tools.js";

const NOBODY = 65_534;
const [A, B] = ["/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a", "/nix/store/ihlffjdbh63dzhp7sm3pvv93cmrwbi0g-b"];
const HASH = `sha256:${"ab".repeat(32)}`;

/** Commands that write a file or a layout, by what they read. */
const STORE_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  build: ["build", "--closure", "graph.json", "--store-root", "root", "--to", "oci:out/layout"],
  "build of an archive": ["build", "--closure", "graph.json", "--store-root", "root", "--to", "oci-archive:out/a.tar"],
  "build of a moved tree": [
    ...["build", "--closure", "graph.json", "--store-root", "root", "--copy-to-root", A],
    ...["--to", "docker-archive:out/a.tar"],
  ],
};

const VERIFY = ["verify", "--closure", "graph.json", "--store-root", "root"];

const UNREADABLE_STORES: readonly (readonly [what: string, change: (root: string) => void, named: string])[] = [
  ["a file", (root) => chmodSync(join(root, A, "d/f"), 0), `${A}/d/f`],
  ["a directory", (root) => chmodSync(join(root, A, "d"), 0), `${A}/d`],
  ["a directory whose names alone can be read", (root) => chmodSync(join(root, A, "d"), 0o444), `${A}/d`],
  ["a store path", (root) => chmodSync(join(root, A), 0), A],
  ["a store path whose names alone can be read", (root) => chmodSync(join(root, A), 0o644), A],
  ["a file of the last store path", (root) => chmodSync(join(root, B, "f"), 0o200), `${B}/f`],
  ["the store", (root) => chmodSync(join(root, "nix/store"), 0), "root/nix/store"],
];

describe.skipIf(requireTools("root"))("what an ordinary user may not read", { timeout: 120_000 }, () => {
  let place: string;
  let installed: ReturnType<typeof installForEverybody>;

  beforeAll(() => {
    installed = installForEverybody();
  });

  afterAll(() => rmSync(installed.directory, { recursive: true, force: true }));

  /** A place of nobody's, with a store of two paths, and what is done there. */
  async function refused(args: readonly string[], change: () => void, named: string): Promise<void> {
    mkdirSync(join(place, "out"));
    for (const name of [".", "out"]) chownSync(join(place, name), NOBODY, NOBODY);
    change();
    const { status, stderr, stdout } = await runCli([...args, "--quiet"], {
      ...{ program: installed.program, cwd: place, uid: NOBODY, gid: NOBODY },
      env: { HOME: join(place, "home"), TMPDIR: join(place, "temporary"), XDG_CACHE_HOME: join(place, "cache") },
    });
    expect(stderr).toMatch(/^error: .*permission denied \(EACCES\)/);
    expect(stderr).toContain(named);
    expect(stderr).not.toMatch(/internal error|\n +at /);
    expect([status, stdout.length]).toEqual([1, 0]);
    const left = readdirSync(join(place, "out"), { recursive: true, encoding: "utf8" });
    // A layout without an image, from the time before anything went wrong, and whole blobs, which the next run finds.
    const parts = left.filter((name) => !/^layout(\/oci-layout|\/blobs(\/sha256)?)?$/.test(name));
    for (const name of parts) {
      expect(name).toBe(`layout/blobs/sha256/${hexSha256(readFileSync(join(place, "out", name)))}`);
    }
    expect(readdirSync(join(place, "temporary"))).toEqual([]);
  }

  function fresh(): void {
    place = mkdtempSync(join(tmpdir(), "oci-nix-unreadable-"));
    mkdirSync(join(place, "temporary"));
    chownSync(join(place, "temporary"), NOBODY, NOBODY);
  }

  function makeStore(): string {
    const root = join(place, "root");
    for (const file of [`${A}/d/f`, `${A}/e/g`, `${B}/f`]) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), "text".repeat(50_000));
    }
    const object = (path: string, references: readonly string[]) => ({
      path,
      references,
      narHash: HASH,
      narSize: 1000,
    });
    writeFileSync(join(place, "graph.json"), JSON.stringify([object(A, []), object(B, [A])]));
    return root;
  }

  async function inPlace(run: () => Promise<void>): Promise<void> {
    fresh();
    try {
      await run();
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  }

  const kinds = UNREADABLE_STORES.flatMap(([what, change, named]) =>
    Object.entries(STORE_COMMANDS).map(([command, args]) => ({ what, change, named, command, args })),
  );
  it.each(kinds)("is named where it is $what, by $command, and nothing is written", ({ change, named, args }) =>
    inPlace(async () => {
      const root = makeStore();
      await refused(args, () => change(root), named);
    }),
  );

  it.each([
    ["the closure graph", ["closure", "--closure", "graph.json"], "graph.json"],
    ["a spec", ["plan", "spec.json"], "spec.json"],
    ["rules", ["plan", "--closure", "graph.json", "--perms", "perms.json"], "perms.json"],
    ["an archive", ["copy", "oci-archive:image.tar", "oci-archive:out/x.tar"], "image.tar"],
    ["a disk image", ["disk", "verify", "image.tar"], "image.tar"],
    ["a layout's index", ["copy", "oci:layout", "oci-archive:out/x.tar"], "layout/index.json"],
    ["a layout's blobs", ["copy", "oci:layout", "oci-archive:out/x.tar"], "layout/blobs"],
    ["a layer", ["copy", "oci:layout", "oci-archive:out/x.tar"], "layout/LAYER"],
    ["a layer that is exported", ["export", "oci:layout", "-o", "out/x.tar"], "layout/LAYER"],
    ["a layer that is verified", [...VERIFY, "oci:layout"], "layout/LAYER"],
    ["a layer that is verified without reading it", [...VERIFY, "oci:layout", "--no-read"], "layout/LAYER"],
    ["the digest cache's export", ["cache", "import", "perms.json"], "perms.json"],
    ["the Nix database", ["closure", "--store-root", "root", A], "root/nix/var/nix/db/db.sqlite"],
  ] as const)("is named where it is %s", (_, args, file) =>
    inPlace(async () => {
      makeStore();
      for (const name of ["spec.json", "perms.json", "root/nix/var/nix/db/db.sqlite"]) {
        mkdirSync(dirname(join(place, name)), { recursive: true });
        writeFileSync(join(place, name), "{}");
      }
      const layout = new LayoutFixture();
      const layer = await packTar([["a", "text"]]);
      layout.add(layout.image({ layers: [{ tar: layer }] }), "app:1");
      layout.write(join(place, "layout"));
      writeFileSync(join(place, "image.tar"), await layout.archive());
      const blob = layout.put(layer, "").digest.replace("sha256:", "blobs/sha256/");
      const named = file.replace("LAYER", blob);
      await refused(args, () => chmodSync(join(place, named), 0), named);
    }),
  );
});
