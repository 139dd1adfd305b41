import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OciNixError } from "../../../src/core/errors.js";
import type { DiskSpec } from "../../../src/disk/disk-spec.js";
import { makeRootTree } from "../../../src/disk/root-tree.js";
import { EntryCursor } from "../../../src/tar/entry-list.js";
import { packTar } from "../../support/confs.js";
import { LayoutFixture } from "../../support/layouts.js";
import { copySampleStore, type SampleStore } from "../../support/sample-store.js";

const GREETING = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";
const MESSAGE = "/nix/store/k1y29i1qr6ipr6cjcbvhj505lfr3c0r4-greeting-message-1.0";

let directory: string;
let store: SampleStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-root-tree-"));
  store = copySampleStore(directory);
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Listed {
  readonly what: string;
  readonly source: string;
  readonly contents: string | undefined;
}

/** Path → type, mode, owner and link target. */
async function listing(spec: DiskSpec): Promise<ReadonlyMap<string, Listed>> {
  const closure = { graph: store.closureFile, storeRoot: store.storeRoot, roots: [GREETING] };
  const { entries } = await makeRootTree({ closure, ...spec }, { directory });
  const found = new Map<string, Listed>();
  const cursor = new EntryCursor(entries);
  while (cursor.next()) {
    const { path, type, mode, owner, linkTarget, source, contents } = cursor;
    const what = `${type} ${mode.toString(8)} ${owner.uid}:${owner.gid}${linkTarget && ` -> ${linkTarget}`}`;
    expect(found.has(`/${path}`)).toBe(false);
    found.set(`/${path}`, { what, source, contents: contents && Buffer.from(contents).toString() });
  }
  return found;
}

/** Puts a file into a store path. */
const inStore = (path: string): void => {
  const file = join(store.storeRoot, path);
  chmodSync(join(store.storeRoot, GREETING), 0o755);
  chmodSync(join(store.storeRoot, MESSAGE), 0o755);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "");
};

const content = (name: string, text: string, mode = 0o644): string => {
  const file = join(directory, name);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
};

describe("the root file system of a disk", () => {
  it("has the closure, its Nix database and a root for what was asked for alone", async () => {
    const found = await listing({});
    expect(found.get("/")?.what).toBe("directory 755 0:0");
    expect(found.get(`${MESSAGE}/share/greeting/message`)).toMatchObject({
      what: "file 444 0:0",
      source: `${store.storeRoot}${MESSAGE}/share/greeting/message`,
    });
    expect(found.get("/nix/var/nix/db/db.sqlite")?.contents?.startsWith("SQLite format 3")).toBe(true);
    const roots = [...found.keys()].filter((path) => path.startsWith("/nix/var/nix/gcroots/"));
    expect(roots).toEqual([
      "/nix/var/nix/gcroots/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0",
      "/nix/var/nix/gcroots/profiles",
    ]);
    expect(found.has("/etc")).toBe(false);
  });

  it("has the system profile, the channel and what Linux mounts things at", async () => {
    inStore(`${GREETING}/nixos-version`);
    inStore(`${MESSAGE}/nixos/default.nix`);
    const found = await listing({
      closure: { graph: store.closureFile, storeRoot: store.storeRoot },
      toplevel: GREETING,
      channel: MESSAGE,
    });
    expect(found.get("/nix/var/nix/profiles/system")?.what).toBe("symlink 777 0:0 -> system-1-link");
    expect(found.get("/nix/var/nix/profiles/system-1-link")?.what).toBe(`symlink 777 0:0 -> ${GREETING}`);
    expect(found.get("/etc/NIXOS")?.what).toBe("file 644 0:0");
    expect(found.get("/root/.nix-defexpr")?.what).toBe("directory 700 0:0");
    expect(found.get("/nix/var/nix/profiles/per-user/root/channels-1-link")?.what).toContain(MESSAGE);
    expect(found.get("/tmp")?.what).toBe("directory 1777 0:0");
    expect([...found.keys()].filter((path) => path.startsWith("/nix/var/nix/gcroots/"))).toEqual([
      "/nix/var/nix/gcroots/profiles",
    ]);
  });

  it("has the contents of the store at its root where it holds nothing else", async () => {
    const found = await listing({ onlyNixStore: true });
    expect(found.get(`${MESSAGE.slice("/nix/store".length)}/share/greeting/message`)?.what).toBe("file 444 0:0");
    expect([...found.keys()].some((path) => path.startsWith("/nix"))).toBe(false);
  });

  it("has contents with mode and owner, whose names are those of the image", async () => {
    mkdirSync(join(directory, "home"), { mode: 0o750 });
    content("home/notes", "", 0o600);
    symlinkSync("notes", join(directory, "home/link"));
    const found = await listing({
      contents: [
        { source: join(directory, "home"), target: "/home/alice", mode: 0o640, user: "alice", group: "users" },
        { source: content("passwd", "alice:x:1000:100::/home/alice:/bin/sh\n"), target: "/etc/passwd" },
        { source: content("group", "users:x:100:\n"), target: "/etc/group" },
      ],
      configFile: content("configuration.nix", "{ }", 0o444),
    });
    expect(found.get("/home/alice")?.what).toBe("directory 750 1000:100");
    expect(found.get("/home/alice/notes")?.what).toBe("file 640 1000:100");
    expect(found.get("/home/alice/link")?.what).toBe("symlink 777 1000:100 -> notes");
    expect(found.get("/home")?.what).toBe("directory 755 0:0");
    expect(found.get("/etc/nixos/configuration.nix")).toMatchObject({
      what: "file 644 0:0",
      source: join(directory, "configuration.nix"),
    });
  });

  it("has what contents and configFile name, which errors say", async () => {
    const fail = async (spec: DiskSpec) =>
      await listing(spec).then(
        () => undefined,
        (error: OciNixError) => error,
      );
    const missing = join(directory, "missing");
    expect(await fail({ configFile: directory })).toMatchObject({
      code: "invalid-input",
      message: `configFile: ${directory} is a directory, not a file`,
    });
    const one = { source: content("one", ""), target: "/one" };
    expect(await fail({ contents: [one, { source: missing, target: "/a" }] })).toMatchObject({
      code: "not-found",
      message: `contents[1]: cannot read ${missing}: no such file or directory (ENOENT)`,
      hint: "correct its source",
    });
    expect(await fail({ contents: [{ source: "/dev/null", target: "/a" }] })).toMatchObject({
      message: "contents[0]: /dev/null is no file, directory or symlink",
      hint: "correct its source",
    });
  });

  it("reads users through links into the store as the image has them", async () => {
    symlinkSync(`${MESSAGE}/share/greeting/message`, join(directory, "passwd"));
    const message = join(store.storeRoot, `${MESSAGE}/share/greeting/message`);
    chmodSync(message, 0o644);
    writeFileSync(message, "bob:x:1001:100::/:/bin/sh\n");
    const found = await listing({
      contents: [
        { source: join(directory, "passwd"), target: "/etc/passwd" },
        { source: content("notes", ""), target: "/notes", user: "bob", group: "root" },
      ],
    });
    expect(found.get("/notes")?.what).toBe("file 644 1001:0");
  });

  it("puts all that a pattern stands for into its target", async () => {
    mkdirSync(join(directory, "conf"));
    content("conf/a.conf", "");
    content("conf/b.conf", "");
    const found = await listing({ contents: [{ source: join(directory, "conf/*.conf"), target: "/etc/conf.d" }] });
    expect([...found.keys()].filter((path) => path.startsWith("/etc"))).toEqual([
      "/etc",
      "/etc/conf.d",
      "/etc/conf.d/a.conf",
      "/etc/conf.d/b.conf",
    ]);
  });

  it("goes through symlinks that are there", async () => {
    symlinkSync("../usr/bin", join(directory, "bin"));
    const found = await listing({
      contents: [
        { source: join(directory, "bin"), target: "/system/bin" },
        { source: content("sh", "", 0o755), target: "/system/bin/sh" },
      ],
    });
    expect(found.get("/usr/bin/sh")?.what).toBe("file 755 0:0");
  });

  it.each([
    ["a target that is taken", "conflict", ["/a", "/a"], /goes to \/a, where there is what comes from .*one already/],
    ["a target below a file", "conflict", ["/a", "/a/b"], /goes to \/a\/b, but a on the way is a file/],
    [
      "a target in a store path",
      "conflict",
      [`${GREETING}/new`],
      /on the way is a store path, which cannot be changed/,
    ],
    ["a directory that is taken", "conflict", ["/a/b", "/a"], /goes to \/a, where there is a directory for what else/],
  ])("refuses %s", async (_, code, targets, message) => {
    const contents = targets.map((target) => ({ source: content("one", ""), target }));
    await expect(listing({ contents })).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it.each([
    ["a source that is not there", { source: "/nonexistent/file", target: "/a" }, /cannot read \/nonexistent\/file/],
    [
      "a pattern that stands for nothing",
      { source: "/nonexistent/*", target: "/a" },
      /contents\[0\]: nothing is called/,
    ],
    [
      "a user that nobody is",
      { source: "/dev/../etc/hostname", target: "/a", user: "carol", group: "0" },
      /contents\[0\]: user "carol" is not in the image's \/etc\/passwd/,
    ],
  ])("refuses %s", async (_, item, message) => {
    await expect(listing({ contents: [item] })).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringMatching(message),
    });
  });

  it("does not take symlinks that lead to each other for users", async () => {
    symlinkSync("group", join(directory, "passwd"));
    symlinkSync("passwd", join(directory, "group"));
    const contents = ["passwd", "group"].map((name) => ({ source: join(directory, name), target: `/etc/${name}` }));
    const file = { source: content("one", ""), target: "/one", user: "root", group: "root" };
    expect((await listing({ contents: [...contents, file] })).get("/one")?.what).toBe("file 644 0:0");
  });

  describe("with a system or a channel that is none", () => {
    const closure = () => ({ graph: store.closureFile, storeRoot: store.storeRoot });

    it.each([
      [
        "toplevel",
        { toplevel: GREETING },
        `toplevel: ${GREETING} is no NixOS system: it has no file nixos-version; found bin, etc`,
      ],
      [
        "channel",
        { channel: MESSAGE },
        `channel: ${MESSAGE} has no directory nixos, which a channel's expressions are in; found share`,
      ],
    ])("says what it found: %s", async (_, spec, message) => {
      await expect(listing({ closure: closure(), ...spec })).rejects.toMatchObject({
        code: "invalid-input",
        message,
        hint: expect.stringContaining("other store paths go to closure.roots"),
      });
    });

    it("takes no file for the directory nixos", async () => {
      inStore(`${MESSAGE}/nixos`);
      await expect(listing({ closure: closure(), channel: MESSAGE })).rejects.toMatchObject({
        message: expect.stringMatching(/has no directory nixos,.*; found nixos, share$/),
      });
    });

    it("ships them where they are store paths like others", async () => {
      const spec = { closure: closure(), toplevel: GREETING, channel: MESSAGE, onlyNixStore: true };
      expect((await listing(spec)).size).toBeGreaterThan(1);
      const unused = { closure: closure(), channel: MESSAGE, copyChannel: false };
      expect((await listing(unused)).has("/root")).toBe(false);
    });
  });

  it("says of an image that there is no room for its files", async () => {
    const tar = await packTar([["file", "contents"]]);
    const fixture = new LayoutFixture();
    const layout = fixture.add(fixture.image({ layers: [{ tar }] }), "1").write(join(directory, "layout"));
    const nowhere = { directory: join(directory, "nowhere") };
    await expect(makeRootTree({ fromImage: `oci:${layout}:1` }, nowhere)).rejects.toMatchObject({
      code: "output",
      message: `cannot unpack oci:${layout}:1: no such file or directory (ENOENT)`,
      hint: "its files wait in TMPDIR, which needs room for all of them",
    });
  });

  it("refuses store paths that are missing", async () => {
    rmSync(join(store.storeRoot, MESSAGE), { recursive: true });
    await expect(listing({})).rejects.toMatchObject({ code: "not-found", message: expect.stringContaining(MESSAGE) });
  });
});
