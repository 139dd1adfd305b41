import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { planImage } from "../../../src/build/plan/plan-image.js";
import { storePathsAnnotations } from "../../../src/build/recorded-store-paths.js";
import { checkSpec } from "../../../src/build/spec/spec.js";
import { toJson } from "../../../src/core/json.js";
import { layersOf } from "../../support/layers.js";
import { makeTreeStore, type Tree } from "../../support/trees.js";
import type { TreeVectorEntry } from "../../support/vectors.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const A = path("a", "a");
const B = path("b", "b");
const C = path("c", "c");
const BASH = path("d", "bash-5.2p37");
const INTERACTIVE = path("f", "bash-interactive-5.2p37");
const COREUTILS = path("g", "coreutils-9.7");
const CACERT = path("h", "nss-cacert-3.108");

let remove: (() => void) | undefined;
afterEach(() => {
  remove?.();
  remove = undefined;
});

function closureOf(
  trees: Readonly<Record<string, Tree | readonly TreeVectorEntry[]>>,
  references: Readonly<Record<string, readonly string[]>> = {},
) {
  const store = makeTreeStore(trees, references);
  remove = store.remove;
  return store.closure;
}

/** The entries of the top layer. */
async function customised(spec: object): Promise<readonly string[] | undefined> {
  return (await layersOf(spec)).at(-1);
}

describe("contents", () => {
  it("are joined by symlinks into directories of mode 0755", async () => {
    const closure = closureOf({
      [A]: { "bin/": "", "bin/a": ["#!", 0o555], "etc/": "", "etc/a": "1", "etc/empty/": "" },
      [B]: { "bin/": "", "bin/b": ["#!", 0o555], top: "2" },
    });
    expect(await customised({ closure, contents: [B, A] })).toEqual([
      "d 0755 0:0 bin/",
      `l bin/a -> ${A}/bin/a`,
      `l bin/b -> ${B}/bin/b`,
      "d 0755 0:0 etc/",
      `l etc/a -> ${A}/etc/a`,
      "d 0755 0:0 etc/empty/",
      `l top -> ${B}/top`,
    ]);
  });

  it("are shipped with what they refer to, though no root does", async () => {
    const closure = closureOf({ [A]: { a: "1" }, [B]: { b: "2" }, [C]: { c: "3" } }, { [A]: [B] });
    const [store] = await layersOf({ closure: { ...closure, roots: [C] }, contents: [A], maxLayers: 2 });
    expect(store?.filter((line) => line.startsWith("-"))).toEqual([
      `- 0444 0:0 ${A.slice(1)}/a = 1`,
      `- 0444 0:0 ${B.slice(1)}/b = 2`,
      `- 0444 0:0 ${C.slice(1)}/c = 3`,
    ]);
  });

  it("stay at their own place where they are copied to the root, too", async () => {
    const closure = closureOf({ [A]: { "d/": "" }, [B]: { b: "2" } });
    const spec = { closure: { ...closure, roots: [B] }, copyToRoot: [A] };
    const own = `d 0555 0:0 ${A.slice(1)}/d/`;
    expect((await layersOf(spec)).flat()).not.toContain(own);
    const lines = (await layersOf({ ...spec, contents: [A] })).flat();
    expect(lines).toContain(own);
    expect(lines.filter((line) => line === "d 0555 0:0 d/")).toHaveLength(2);
  });

  it("keep symlinks that lead to a place in the same tree, as lndir does, so that those to directories have in them what all bring", async () => {
    const tree = (name: string): Tree => ({ "bin/": "", [`bin/${name}`]: ["#!", 0o555], sbin: { to: "bin" } });
    const closure = closureOf({
      [A]: { ...tree("a"), "lib/": "", "lib/x": "1", "lib/y": { to: "../bin/a" }, "lib/z": { to: "./x" } },
      [B]: tree("b"),
    });
    expect(await customised({ closure, contents: [A, B] })).toEqual([
      "d 0755 0:0 bin/",
      `l bin/a -> ${A}/bin/a`,
      `l bin/b -> ${B}/bin/b`,
      "d 0755 0:0 lib/",
      `l lib/x -> ${A}/lib/x`,
      "l lib/y -> ../bin/a",
      "l lib/z -> ./x",
      "l sbin -> bin",
    ]);
  });

  it("lead to other symlinks by their place in the store, as these lead elsewhere from the root", async () => {
    const closure = closureOf({
      [A]: {
        "d/": "",
        "d/up": { to: "../../x" },
        "d/through": { to: "dir/../x" },
        dir: { to: "d" },
        "nix-support/": "",
        metadata: { to: "nix-support" },
        "d/metadata": { to: "../nix-support/x" },
        outside: { to: "/etc/x" },
        up: { to: ".." },
      },
    });
    expect(await customised({ closure, contents: [A] })).toEqual([
      "d 0755 0:0 d/",
      `l d/metadata -> ${A}/d/metadata`,
      `l d/through -> ${A}/d/through`,
      `l d/up -> ${A}/d/up`,
      "l dir -> d",
      `l metadata -> ${A}/metadata`,
      "l outside -> /etc/x",
      `l up -> ${A}/up`,
    ]);
    expect(await customised({ closure, contents: [`${A}/d`] })).toContain(`l metadata -> ${A}/d/metadata`);
  });

  it("leave out nix-support of a store path, which nearly all have", async () => {
    const tree = (text: string): Tree => ({ "nix-support/": "", "nix-support/propagated-build-inputs": text });
    const closure = closureOf({
      [A]: { ...tree("1"), "nix-support-not": "1" },
      [B]: { ...tree("2"), "etc/": "", "etc/nix-support": "2" },
    });
    expect(await customised({ closure, contents: [A, B] })).toEqual([
      "d 0755 0:0 etc/",
      `l etc/nix-support -> ${B}/etc/nix-support`,
      `l nix-support-not -> ${A}/nix-support-not`,
    ]);
    expect(await customised({ closure, contents: [`${A}/nix-support`] })).toEqual([
      `l propagated-build-inputs -> ${A}/nix-support/propagated-build-inputs`,
    ]);
  });

  it.each([
    ["a file", { "etc/": "", "etc/x": "1" }, { "etc/": "", "etc/x": "2" }, "/etc/x"],
    ["a file of another mode", { x: "1" }, { x: ["1", 0o555] }, "/x"],
    ["a file and a directory", { "etc/": "", "etc/x": "1" }, { etc: "2" }, "/etc"],
    ["a symlink and a directory", { "lib/": "", "lib/x": "1" }, { "y/": "", lib: { to: "y" } }, "/lib"],
    ["a symlink that leads elsewhere", { x: { to: "/etc/1" } }, { x: { to: "/etc/2" } }, "/x"],
    ["symlinks to one directory, by other targets", { "1/": "", x: { to: "1" } }, { x: { to: `${A}/1` } }, "/x"],
    ["a symlink to another directory", { "1/": "", x: { to: "1" } }, { "2/": "", x: { to: "2" } }, "/x"],
  ] as const)("name both store paths that want a place for %s, whichever comes first", async (_, one, two, place) => {
    const closure = closureOf({ [A]: one as Tree, [B]: two as Tree });
    const errors = await Promise.all(
      [
        [A, B],
        [B, A],
      ].map((contents) =>
        customised({ closure, contents }).then(
          () => undefined,
          (error) => error,
        ),
      ),
    );
    expect(errors[0]).toMatchObject({ code: "conflict" });
    expect(errors[0].message).toContain(`${place} comes from both ${A} (`);
    expect(errors[0].message).toContain(`and ${B} (`);
    expect(errors[1].message).toBe(errors[0].message);
  });

  it("may have the same file: by way of a symlink, by relative links, or with equal contents", async () => {
    const closure = closureOf(
      {
        [A]: { "bin/": "", "bin/coreutils": ["#!", 0o555], "bin/ls": { to: "coreutils" }, license: "MIT" },
        [B]: { "bin/": "", "bin/ls": { to: `${A}/bin/coreutils` }, "bin/coreutils": { to: `${A}/bin/coreutils` } },
        [C]: { license: "MIT", nowhere: { to: "/proc/mounts" } },
      },
      { [B]: [A] },
    );
    const joined = await customised({ closure, contents: [C, B, A] });
    expect(joined).toEqual([
      "d 0755 0:0 bin/",
      `l bin/coreutils -> ${A}/bin/coreutils`,
      `l bin/ls -> ${A}/bin/coreutils`,
      `l license -> ${A}/license`,
      "l nowhere -> /proc/mounts",
    ]);
    expect(await customised({ closure, contents: [A, B, C, A] })).toEqual(joined);
  });

  it("do not look at this machine where a symlink leads out of the store", async () => {
    const closure = closureOf({
      [A]: { x: { to: "/etc/1" } },
      [B]: { x: { to: "../../../etc/2" } },
      [C]: { x: { to: "/etc/1" } },
    });
    mkdirSync(join(closure.storeRoot, "etc"));
    for (const name of ["1", "2"]) writeFileSync(join(closure.storeRoot, "etc", name), "equal");
    await expect(customised({ closure, contents: [A, B] })).rejects.toMatchObject({ code: "conflict" });
    expect(await customised({ closure, contents: [C, A] })).toEqual(["l x -> /etc/1"]);
  });

  it("have no names that delete others from an image", async () => {
    const closure = closureOf({ [A]: { "etc/": "", "etc/.wh.passwd": "1", "etc/a.wh.": "1" } });
    await expect(customised({ closure, contents: [A] })).rejects.toMatchObject({
      code: "unsupported",
      message: `/etc/.wh.passwd of ${A}: in a layer, .wh. before a name deletes it`,
    });
    await expect(customised({ closure, files: [{ target: "/.wh..opq", text: "" }] })).rejects.toThrow(
      "files[0] of the spec",
    );
  });

  it("end in an error, not a loop, where symlinks go round in a circle", async () => {
    const closure = closureOf({ [A]: { x: { to: "y" }, y: { to: "x" } }, [B]: { x: { to: "x" } } });
    await expect(customised({ closure, contents: [A, B] })).rejects.toMatchObject({ code: "conflict" });
  });

  it("have names that are bytes", async () => {
    const bytes = Buffer.from([0x78, 0xff, 0xe9]);
    const tree: TreeVectorEntry[] = [
      { path: "", type: "directory", mode: 0o555 },
      { pathB64: bytes.toString("base64"), type: "file", text: "1", mode: 0o444 },
      { path: "é\n", type: "file", text: "2", mode: 0o444 },
    ];
    const closure = closureOf({ [A]: tree, [B]: tree.slice(0, 2).map((entry) => ({ ...entry, text: "other" })) });
    const plan = await planImage(checkSpec(toJson({ closure, contents: [A] }), "the spec"));
    const top = plan.layers.at(-1);
    const listed =
      top?.kind === "store" ? Buffer.from(top.plan.listed?.chunks[0] as SharedArrayBuffer) : Buffer.alloc(0);
    expect(listed.includes(Buffer.concat([bytes, Buffer.from(`${A}/`), bytes]))).toBe(true);
    expect(listed.includes(Buffer.from(`é\n${A}/é\n`))).toBe(true);
    await expect(customised({ closure, contents: [A, B] })).rejects.toThrow(
      `/x\\xff\\xe9 comes from both ${A} (a link to ${A}/x\\xff\\xe9)`,
    );
  });

  it("may be directories in store paths, and symlinks that lead to one", async () => {
    const closure = closureOf(
      {
        [A]: { "share/": "", "share/tree/": "", "share/tree/x": "1", other: "2", here: { to: "share/tree" } },
        [B]: [{ path: "", type: "symlink", target: A }],
      },
      { [B]: [A] },
    );
    for (const contents of [[`${A}/share/tree`], [`${A}/share/tree/`], [`${B}/here`], [`${B}/here`, `${A}/here`]]) {
      expect(await customised({ closure, contents })).toEqual([`l x -> ${A}/share/tree/x`]);
    }
    expect(await customised({ closure, contents: [B] })).toContain(`l other -> ${A}/other`);
  });

  it.each([
    [`${A}/file`, "invalid-input", `contents: ${A}/file is a file`],
    [`${A}/out`, "invalid-input", `contents: ${A}/out leads out of the store`],
    [`${A}/missing`, "not-found", `contents: ${A}/missing is not there`],
    [`${A}/file/x`, "not-found", `contents: ${A}/file/x is not there`],
    ["/etc", "invalid-input", 'contents: "/etc" is neither a store path nor in one'],
    [`${A}/../${"b".repeat(32)}-b`, "invalid-input", "is neither a store path nor in one"],
    [path("e", "bad"), "invalid-input", "is neither a store path nor in one"],
    [path("0", "unknown"), "not-found", `${path("0", "unknown")} is not in the closure`],
  ])("%s is refused", async (content, code, message) => {
    const closure = closureOf({ [A]: { file: "1", out: { to: "/etc" } } });
    await expect(customised({ closure, contents: [content] })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it("must be in the image, as links would lead nowhere otherwise", async () => {
    const closure = closureOf({ [A]: { a: "1" }, [B]: { b: "2" } });
    const message = `contents: ${A} is not in the image, where links would lead to it`;
    await expect(customised({ closure, contents: [A], exclude: [A] })).rejects.toMatchObject({
      code: "invalid-input",
      message,
    });
  });

  it("belong to the image's owner", async () => {
    const closure = closureOf({ [A]: { "etc/": "", "etc/a": "1" } });
    const owner = { uid: 1000, gid: 100, uname: "user", gname: "users" };
    expect(await customised({ closure, contents: [A], ...owner })).toEqual([
      "d 0755 1000(user):100(users) etc/",
      `l 1000(user):100(users) etc/a -> ${A}/etc/a`,
    ]);
  });

  it("make one layer of those allowed, below the Nix database's", async () => {
    const closure = closureOf({ [A]: { a: "1" }, [B]: { b: "2" }, [C]: { c: "3" } });
    const narHash = `sha256:${"0".repeat(52)}`;
    const objects = [A, B, C].map((path) => ({ path, narHash, narSize: 1, references: [] }));
    writeFileSync(closure.graph, JSON.stringify(objects));
    const spec = { closure, contents: [A], nixDatabase: {}, maxLayers: 4, strategy: "per-path" };
    await expect(layersOf(spec)).rejects.toMatchObject({ code: "limit" });
    const layers = await layersOf({ ...spec, maxLayers: 5 });
    expect(layers).toHaveLength(5);
    expect(layers[3]).toEqual([`l a -> ${A}/a`]);
    expect(layers[4]?.some((line) => line.includes("db.sqlite"))).toBe(true);
    await expect(layersOf({ ...spec, strategy: "single", maxLayers: 2 })).rejects.toMatchObject({ code: "limit" });
  });

  it("are recorded as a layer without store paths, so that the next image keeps the others", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const { layers } = await planImage(checkSpec(toJson({ closure, contents: [A] }), "the spec"));
    expect(storePathsAnnotations(layers)).toEqual([
      { "dev.oci-nix.store-paths": A.slice("/nix/store/".length) },
      { "dev.oci-nix.store-paths": "" },
    ]);
  });

  it("meet what is copied to the root: directories coincide, with the copied ones' mode, all else is a conflict", async () => {
    const closure = closureOf({
      [A]: { "etc/": "", "etc/a": "1" },
      [B]: { "etc/": ["", 0o700], "etc/b": "2" },
      [C]: { etc: "3" },
    });
    const spec = { closure: { ...closure, roots: [C] }, contents: [A] };
    expect(await customised({ ...spec, copyToRoot: [B] })).toEqual(["d 0700 0:0 etc/", `l etc/a -> ${A}/etc/a`]);
    await expect(customised({ ...spec, copyToRoot: [C] })).rejects.toThrow(
      `/etc and ${A}, as a file and as a directory`,
    );
  });
});

describe("files", () => {
  it("are texts, copies, directories and symlinks, with modes and owners", async () => {
    const closure = closureOf({ [A]: { "bin/": "", "bin/sh": ["#!", 0o555] }, [B]: { b: "2" } });
    const copied = join(closure.storeRoot, "copied");
    writeFileSync(copied, "copied", { mode: 0o600 });
    const files = [
      { target: "/etc/motd", text: "hé\n" },
      { target: "/etc/secret", path: copied, mode: "0600", uid: 1000, gid: 100, uname: "user", gname: "users" },
      { target: "/tmp", directory: true, mode: "1777" },
      { target: "/home/user", directory: true, uid: 1000 },
      { target: "/bin/sh", link: `${A}/bin/sh` },
      { target: "/etc/empty", text: "" },
      { target: "/etc/relative", link: "motd" },
    ];
    const layers = await layersOf({ closure: { ...closure, roots: [B] }, files });
    expect(layers.at(-1)).toEqual([
      "d 0755 0:0 bin/",
      `l bin/sh -> ${A}/bin/sh`,
      "d 0755 0:0 etc/",
      "- 0644 0:0 etc/empty = ",
      `- 0644 0:0 etc/motd = ${Buffer.from("hé\n").toString("latin1")}`,
      "l etc/relative -> motd",
      "- 0600 1000(user):100(users) etc/secret = copied",
      "d 0755 0:0 home/",
      "d 0755 1000():0(root) home/user/",
      "d 1777 0:0 tmp/",
    ]);
    // What a symlink leads to is shipped.
    expect(layers.flat()).toContain(`- 0555 0:0 ${A.slice(1)}/bin/sh = #!`);
  });

  it("give directories of contents, and those that are copied to the root, their mode and owner", async () => {
    const closure = closureOf({ [A]: { "tmp/": "", "tmp/a": "1" }, [B]: { "tmp/": "", "tmp/b": "2" } });
    const files = [{ target: "/tmp", directory: true, mode: "1777", gid: 5, gname: "g" }];
    const layers = await layersOf({ closure: { ...closure, roots: [A] }, files, contents: [A], copyToRoot: [B] });
    const found = layers.flat().filter((line) => line.endsWith(" tmp/"));
    expect(found).toEqual(["d 1777 0(root):5(g) tmp/", "d 1777 0(root):5(g) tmp/"]);
    const perms = [{ path: B, regex: "/tmp$", mode: "0700" }];
    await expect(layersOf({ closure: { ...closure, roots: [A] }, files, copyToRoot: [B], perms })).rejects.toThrow(
      /^\/tmp comes from .* as 0700 0:0 and from files\[0\] of the spec as 1777 0:5$/,
    );
  });

  it("leave the directories above the Nix database to its owner", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const object = { path: A, narHash: `sha256:${"0".repeat(52)}`, narSize: 1, references: [] };
    writeFileSync(closure.graph, JSON.stringify([object]));
    const files = [{ target: "/nix/var/nix/profiles/default", link: A }];
    const nixDatabase = { uid: 1000, gid: 1000 };
    const lines = await customised({ closure, files, nixDatabase });
    expect(lines).toContain("d 0755 1000:1000 nix/var/nix/");
    const layers = await layersOf({ closure, files, nixDatabase });
    expect(layers.at(-2)).toContain("d 0755 1000:1000 nix/var/nix/");
    const taken = [{ target: "/nix/var/nix/db/schema", text: "11" }];
    await expect(customised({ closure, files: taken, nixDatabase })).rejects.toMatchObject({ code: "conflict" });
  });

  it.each([
    ["contents", { contents: [A] }, [{ target: "/etc/a", text: "1" }], `/etc/a comes from both ${A}`],
    ["a symlink that leads elsewhere", { contents: [A] }, [{ target: "/etc/a", link: "/b" }], "a link to /b"],
    ["what is to be a directory", { contents: [A] }, [{ target: "/etc", text: "" }], "/etc comes from both"],
    [
      "what is above it",
      {},
      [
        { target: "/a", text: "" },
        { target: "/a/b", text: "" },
      ],
      "/a comes from both files[0] of the spec",
    ],
    [
      "another mode",
      {},
      [
        { target: "/a", directory: true },
        { target: "/a", directory: true, mode: "0700" },
      ],
      "a directory of mode 0700",
    ],
    ["a helper", { helpers: ["fakeNss"] }, [{ target: "/etc/passwd", text: "" }], "the helper fakeNss"],
    [
      "a file with other contents",
      {},
      [
        { target: "/a", text: "1" },
        { target: "/a", text: "2" },
      ],
      "files[1] of the spec (a file of mode 0644 and owner 0:0), with other contents",
    ],
  ])("do not hide %s", async (_, others, files, message) => {
    const closure = closureOf({ [A]: { "etc/": "", "etc/a": "1" } });
    await expect(customised({ closure, files, ...others })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(message),
    });
  });

  it("coincide where they are equal, and else are told to go elsewhere", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const copied = join(closure.storeRoot, "copied");
    writeFileSync(copied, "text\n");
    const files = [
      { target: "/a", text: "text\n", mode: "0600", uid: 5 },
      { target: "/a", path: copied, mode: "0600", uid: 5 },
    ];
    expect(await customised({ closure, files })).toEqual(["- 0600 5():0(root) a = text\n"]);
    const [first, second] = files;
    for (const other of [
      { ...second, uid: 6 },
      { ...second, mode: "0644" },
      { target: "/a", text: "x" },
    ]) {
      await expect(customised({ closure, files: [first, other] })).rejects.toMatchObject({
        code: "conflict",
        hint: "drop one of the two, or give it another place",
      });
    }
  });

  it("may link to what contents link to", async () => {
    const closure = closureOf({ [A]: { "bin/": "", "bin/sh": { to: "bash" }, "bin/bash": ["#!", 0o555] } });
    const files = [{ target: "/bin/sh", link: `${A}/bin/bash` }];
    expect(await customised({ closure, contents: [A], files })).toContain(`l bin/sh -> ${A}/bin/bash`);
  });

  it("are not larger than what is held in memory", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const large = join(closure.storeRoot, "large");
    writeFileSync(large, "");
    truncateSync(large, 40 * 1024 * 1024);
    const files = ["/1", "/2"].map((target) => ({ target, path: large }));
    await expect(customised({ closure, files })).rejects.toMatchObject({
      code: "limit",
      message: `files[1] of the spec: with ${large} there are more than 67108864 bytes to copy into the image`,
    });
  });

  it("are regular files, of which the content is copied, not the link", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const link = join(closure.storeRoot, "link");
    symlinkSync(`.${A}/a`, link);
    expect(await customised({ closure, files: [{ target: "/a", path: link }] })).toEqual(["- 0644 0:0 a = 1"]);
    for (const [path, code] of [
      [closure.storeRoot, "invalid-input"],
      ["/dev/zero", "invalid-input"],
      [`${link}.missing`, "not-found"],
    ]) {
      await expect(customised({ closure, files: [{ target: "/a", path }] })).rejects.toMatchObject({ code });
    }
  });

  it.each([
    [{ target: "/a" }, /one of "text", "path", "link" and "directory": true/],
    [{ text: "" }, /an object with "target"/],
    [{ target: "/a", text: "", link: "b" }, /one of "text"/],
    [{ target: "/a", directory: false }, /one of "text"/],
    [{ target: "a", text: "" }, /files\[0\]: target must be an absolute path/],
    [{ target: "/", directory: true }, /must be an absolute path/],
    [{ target: "/a/", directory: true }, /must be an absolute path/],
    [{ target: "/a/../b", text: "" }, /must be an absolute path/],
    [{ target: "/a\0", text: "" }, /control characters/],
    [{ target: "/a", text: "\ud800" }, /text must be text/],
    [{ target: "/a", text: "", mode: 644 }, /mode must be octal digits/],
    [{ target: "/a", link: "b", mode: "0777" }, /without mode/],
    [{ target: "/a", text: "", user: "x" }, /unknown key "user"/],
  ])("%j is refused", (file, message) => {
    expect(() => checkSpec(toJson({ closure: { roots: [A] }, files: [file] }), "the spec")).toThrow(message);
  });

  it("do not go into the store", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    for (const target of [`${A}/b`, "/nix/store", "/nix/store/x"]) {
      await expect(customised({ closure, files: [{ target, text: "" }] })).rejects.toMatchObject({
        code: "invalid-input",
        message: `files[0] of the spec: ${target} is in the store, which holds store paths only`,
      });
    }
  });
});

describe("helpers", () => {
  const bin = (name: string): Tree => ({ "bin/": "", [`bin/${name}`]: ["#!", 0o555] });
  const certificates: Tree = { "etc/": "", "etc/ssl/": "", "etc/ssl/certs/": "", "etc/ssl/certs/ca-bundle.crt": "C" };

  it("fakeNss has root and nobody, with lines in between", async () => {
    const closure = closureOf({ [A]: { a: "1" } });
    const lines = (passwd: string, group: string) => [
      "d 0755 0:0 etc/",
      `- 0644 0:0 etc/group = root:x:0:\n${group}nobody:x:65534:\n`,
      "- 0644 0:0 etc/nsswitch.conf = hosts: files dns\n",
      `- 0644 0:0 etc/passwd = root:x:0:0:root user:/var/empty:/bin/sh\n${passwd}nobody:x:65534:65534:nobody:/var/empty:/bin/sh\n`,
      "d 0755 0:0 var/",
      "d 0755 0:0 var/empty/",
    ];
    expect(await customised({ closure, helpers: ["fakeNss"] })).toEqual(lines("", ""));
    const passwd = "app:x:1000:1000::/home/app:/bin/sh";
    const helpers = [{ fakeNss: { extraPasswdLines: [passwd], extraGroupLines: ["app:x:1000:", "b:x:1:"] } }];
    expect(await customised({ closure, helpers })).toEqual(lines(`${passwd}\n`, "app:x:1000:\nb:x:1:\n"));
  });

  it("binSh, usrBinEnv and caCertificates lead to the packages of the image", async () => {
    const closure = closureOf({ [BASH]: bin("bash"), [COREUTILS]: bin("env"), [CACERT]: certificates });
    expect(await customised({ closure, helpers: ["caCertificates", "usrBinEnv", "binSh"] })).toEqual([
      "d 0755 0:0 bin/",
      `l bin/sh -> ${BASH}/bin/bash`,
      "d 0755 0:0 etc/",
      "d 0755 0:0 etc/pki/",
      "d 0755 0:0 etc/pki/tls/",
      "d 0755 0:0 etc/pki/tls/certs/",
      `l etc/pki/tls/certs/ca-bundle.crt -> ${CACERT}/etc/ssl/certs/ca-bundle.crt`,
      "d 0755 0:0 etc/ssl/",
      "d 0755 0:0 etc/ssl/certs/",
      `l etc/ssl/certs/ca-bundle.crt -> ${CACERT}/etc/ssl/certs/ca-bundle.crt`,
      `l etc/ssl/certs/ca-certificates.crt -> ${CACERT}/etc/ssl/certs/ca-bundle.crt`,
      "d 0755 0:0 usr/",
      "d 0755 0:0 usr/bin/",
      `l usr/bin/env -> ${COREUTILS}/bin/env`,
    ]);
  });

  it("may be what contents have already", async () => {
    const closure = closureOf({ [BASH]: { ...bin("bash"), "bin/sh": { to: "bash" } } });
    expect(await customised({ closure, contents: [BASH], helpers: ["binSh"] })).toEqual([
      "d 0755 0:0 bin/",
      `l bin/bash -> ${BASH}/bin/bash`,
      `l bin/sh -> ${BASH}/bin/bash`,
    ]);
  });

  it("take the bash that one can type into, where both are there", async () => {
    const closure = closureOf({ [BASH]: bin("bash"), [INTERACTIVE]: bin("bash") });
    expect(await customised({ closure, helpers: ["binSh"] })).toContain(`l bin/sh -> ${INTERACTIVE}/bin/bash`);
  });

  it("look at the file, as outputs have the same name", async () => {
    const man = path("0", "bash-5.2p37-man");
    const closure = closureOf({ [BASH]: bin("bash"), [man]: { "share/": "" } });
    expect(await customised({ closure, helpers: ["binSh"] })).toContain(`l bin/sh -> ${BASH}/bin/bash`);
  });

  it("say what is missing, and which package lacks it", async () => {
    const debian = path("0", "coreutils-9.1-1");
    const closure = closureOf({ [A]: { a: "1" }, [debian]: { "usr/": "", "usr/bin/": "", "usr/bin/env": "" } });
    await expect(customised({ closure, helpers: ["binSh"] })).rejects.toMatchObject({
      code: "not-found",
      message: "the helper binSh needs bin/bash of bash-interactive or bash, which is not in the image",
      hint: expect.stringContaining('files: {"target": "/bin/sh", "link"'),
    });
    await expect(customised({ closure, helpers: ["usrBinEnv"] })).rejects.toThrow(
      `needs bin/env of coreutils or coreutils-full, which is not in the image (${debian} has none)`,
    );
  });

  it("do not take what is excluded", async () => {
    const closure = closureOf({ [A]: { a: "1" }, [BASH]: bin("bash") });
    await expect(customised({ closure, helpers: ["binSh"], exclude: [BASH] })).rejects.toMatchObject({
      code: "not-found",
    });
  });

  it("name all packages that could be meant", async () => {
    const other = path("0", "bash-5.2p26");
    const closure = closureOf({ [BASH]: bin("bash"), [other]: bin("bash") });
    await expect(customised({ closure, helpers: ["binSh"] })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(`several store paths of the image have it: ${other}, ${BASH}`),
      hint: expect.stringContaining('"target": "/bin/sh"'),
    });
  });

  it("shadowSetup makes what is needed to change users, and leaves alone what is there", async () => {
    const closure = closureOf({ [BASH]: bin("bash") });
    const rest = [
      "- 0644 0:0 etc/login.defs = ",
      "d 0755 0:0 etc/pam.d/",
      "- 0644 0:0 etc/pam.d/other = account sufficient pam_unix.so\nauth sufficient pam_rootok.so\npassword requisite pam_unix.so nullok sha512\nsession required pam_unix.so\n",
    ];
    const alone = await customised({ closure, helpers: ["shadowSetup"] });
    expect([...(alone ?? [])].sort()).toEqual(
      [
        "d 0755 0:0 etc/",
        ...rest,
        `- 0644 0:0 etc/passwd = root:x:0:0::/root:${BASH}/bin/bash\n`,
        "- 0600 0:0 etc/shadow = root:!x:::::::\n",
        "- 0644 0:0 etc/group = root:x:0:\n",
        "- 0600 0:0 etc/gshadow = root:x::\n",
      ].sort(),
    );
    const both = await customised({ closure, helpers: ["shadowSetup", "fakeNss"] });
    expect(both).toEqual(expect.arrayContaining(rest));
    expect(both?.filter((line) => /shadow|root:\//.test(line))).toEqual([]);
  });

  it.each([
    [["binsh"], /one of fakeNss, binSh, .*, not "binsh" \(did you mean binSh\?\)/],
    [["binSh", "binSh"], /without binSh twice/],
    [[{ binSh: { extraPasswdLines: [] } }], /helpers\[0\]: binSh: unknown key "extraPasswdLines"/],
    [[{ fakeNss: { extraPasswdLine: [] } }], /did you mean|unknown key "extraPasswdLine"/],
    [[{ fakeNss: { extraPasswdLines: ["a\nb"] } }], /control characters/],
    [
      [{ fakeNss: { extraPasswdLines: ["a:x:1:1::/:/bin/sh", "a:x:1:1::/"] } }],
      /extraPasswdLines\[1\] must be a line of the form name:x:uid:gid:comment:home:shell/,
    ],
    [[{ fakeNss: { extraPasswdLines: [":x:1:1::/:"] } }], /extraPasswdLines\[0\] must be a line/],
    [
      [{ fakeNss: { extraGroupLines: ["a:x:1"] } }],
      /extraGroupLines\[0\] must be a line of the form name:x:gid:members/,
    ],
    [[{ fakeNss: {}, binSh: {} }], /a name, or/],
    [[1], /a name, or/],
    ["fakeNss", /must be an array/],
  ])("%j are refused", (helpers, message) => {
    expect(() => checkSpec(toJson({ closure: { roots: [A] }, helpers }), "the spec")).toThrow(message);
  });
});
