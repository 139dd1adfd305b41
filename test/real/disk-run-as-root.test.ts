import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiskTools } from "../../src/disk/tools.js";
import { layerOfChanges } from "../../src/disk/vm/changes.js";
import { type RootRunResult, runAsRoot } from "../../src/disk/vm/run-as-root.js";
import { EntryCursor, type EntryList } from "../../src/tar/entry-list.js";
import { runOk } from "../support/command.js";
import { entriesOf, type TreeFile, treeFile } from "../support/ext4.js";
import { requireTools, tool } from "../support/tools.js";

const LIMIT_MS = 120_000;
const APPLETS = ["sh", "cat", "chmod", "chown", "env", "ln", "ls", "mkdir", "mknod", "mv", "rm", "touch", "id"];

const file = (path: string, text: string, rest: Partial<TreeFile> = {}) =>
  treeFile(path, "file", { mode: 0o644, contents: Buffer.from(text), ...rest });
const directory = (path: string, rest: Partial<TreeFile> = {}) => treeFile(path, "directory", rest);

function tree(): EntryList {
  return entriesOf([
    directory("", { mode: 0o751 }),
    directory("bin"),
    treeFile("bin/busybox", "file", { contents: readFileSync(tool("busybox")) }),
    ...APPLETS.map((name) => treeFile(`bin/${name}`, "symlink", { mode: 0o777, target: "busybox" })),
    directory("etc"),
    file("etc/changed", "before"),
    file("etc/gone", "x"),
    file("etc/owned", "x"),
    file("etc/same", "same"),
    directory("nix"),
    directory("nix/store"),
    directory("nix/store/a", { mode: 0o555 }),
    file("nix/store/a/tool", "#!/bin/sh\necho from the store\n", { mode: 0o555 }),
    directory("opaque"),
    file("opaque/new", "before"),
    file("opaque/old", "x"),
    directory("opaque/sub"),
    file("opaque/sub/deep", "x"),
    directory("replaced"),
    file("replaced/inside", "x"),
    directory("whole"),
    directory("whole/sub"),
    file("whole/sub/file", "x"),
  ]);
}

/** The same with nix-env of this machine, and the libraries that it is linked to. */
async function nixTree(): Promise<EntryList> {
  const linked = await runOk(tool("ldd"), [tool("nix-env")]);
  const sources = [...linked.matchAll(/(?:=> |^\t)(\/\S+) \(/gm)].map(([, path]) => path as string);
  const files = [tool("nix-env"), ...sources].map((source) =>
    file(source.slice(1), "", { mode: 0o755, contents: readFileSync(source) }),
  );
  const directories = new Set(["bin", "etc", "root", ...files.flatMap(({ path }) => parents(path))]);
  return entriesOf([
    ...[...directories].sort().map((path) => directory(path)),
    ...files,
    treeFile("bin/busybox", "file", { contents: readFileSync(tool("busybox")) }),
    ...APPLETS.map((name) => treeFile(`bin/${name}`, "symlink", { mode: 0o777, target: "busybox" })),
    file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    file("etc/group", "root:x:0:\nnixbld:x:30000:\n"),
  ]);
}

function parents(path: string): readonly string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

const LONG = `${"long/".repeat(30)}${"n".repeat(200)}`;

const SCRIPT = `#!/bin/sh
set -e
/nix/store/a/tool >/etc/made
echo after >/etc/changed
rm /etc/gone
chown 12:34 /etc/owned
chmod 644 /etc/same; cat /etc/same >/etc/copy; cat /etc/copy >/etc/same; touch /bin/busybox /nix/store/a
rm -r /opaque; mkdir /opaque; echo after >/opaque/new
rm -r /replaced; echo file >/replaced
rm -r /whole
mkdir -p /var/empty "/srv/with space"; chmod 1777 /var/empty
mknod /srv/device c 1 3; mknod /srv/pipe p
ln -s ../etc /srv/link; ln /etc/made /srv/hard
echo x >"/srv/with space/$(printf 'new\\nline\\351')"
mkdir -p "/${LONG}"; echo deep >"/${LONG}/file"
echo kept nowhere >/tmp/x; ls -d /lost+found && exit 1
ls / >&2
`;

/** Path → what it is, without the directories of the long name. */
function summary(list: EntryList): Record<string, string> {
  const rows: Record<string, string> = {};
  const cursor = new EntryCursor(list);
  while (cursor.next()) {
    const { path, type, mode, owner, size, linkTarget, source, contents, device } = cursor;
    if (path.startsWith("long") && type === "directory") continue;
    const text = type !== "file" || size === 0 ? "" : contents === undefined ? readFileSync(source, "utf8") : "";
    const rest = [
      linkTarget,
      text.trim(),
      device === undefined || type !== "character" ? "" : `${device.major},${device.minor}`,
    ];
    rows[path] = [type, mode.toString(8), `${owner.uid}:${owner.gid}`, ...rest].filter((word) => word !== "").join(" ");
  }
  return rows;
}

describe.skipIf(requireTools("qemu-system-x86_64", "busybox", "mke2fs"))(
  "a script that runs as root",
  { timeout: LIMIT_MS },
  () => {
    let tools: DiskTools;
    beforeEach(() => {
      tools = new DiskTools();
    });
    afterEach(() => tools.close());
    const run = (script: string, rest = {}): Promise<RootRunResult> =>
      runAsRoot(
        { tree: tree(), script, diskMiB: 32, memoryMiB: 192, deadlineMs: 90_000, accelerators: ["tcg"], ...rest },
        tools,
      );

    it("gives what it changed, and nothing else, as a layer", async () => {
      const result = await run(SCRIPT);
      expect(result.removed, result.log).toEqual(["etc/gone", "opaque/old", "opaque/sub", "whole"]);
      expect(summary(layerOfChanges(result))).toEqual({
        ".wh.whole": "file 644 0:0",
        etc: "directory 755 0:0",
        "etc/.wh.gone": "file 644 0:0",
        "etc/changed": "file 644 0:0 after",
        "etc/copy": "file 644 0:0 same",
        "etc/made": "file 644 0:0 from the store",
        "etc/owned": "file 644 12:34 x",
        [`${LONG}/file`]: "file 644 0:0 deep",
        opaque: "directory 755 0:0",
        "opaque/.wh.old": "file 644 0:0",
        "opaque/.wh.sub": "file 644 0:0",
        "opaque/new": "file 644 0:0 after",
        replaced: "file 644 0:0 file",
        srv: "directory 755 0:0",
        "srv/device": "character 644 0:0 1,3",
        "srv/hard": "file 644 0:0 from the store",
        "srv/link": "symlink 777 0:0 ../etc",
        "srv/pipe": "fifo 644 0:0",
        "srv/with space": "directory 755 0:0",
        "srv/with space/new\nline\xe9": "file 644 0:0 x",
        var: "directory 755 0:0",
        "var/empty": "directory 1777 0:0",
      });
      const again = await run(SCRIPT, { diskMiB: 40, memoryMiB: 256 });
      expect(summary(layerOfChanges(again))).toEqual(summary(layerOfChanges(result)));
      expect(Object.keys(summary(layerOfChanges(result, { isBelow: (path) => path !== "etc/gone" })))).not.toContain(
        "etc/.wh.gone",
      );
    });

    it("may change nothing, or the root itself", async () => {
      expect(await run("touch /etc/same; ls /")).toMatchObject({ entries: [], removed: [] });
      const { entries } = await run("chmod 700 /; echo x >/new");
      expect(entries.map(({ path, mode }) => [path, mode])).toEqual([
        ["", 0o700],
        ["new", 0o644],
      ]);
    });

    it.skipIf(requireTools("nix-env", "ldd"))("that runs nix-env leaves no trace of the caller's home", async () => {
      const before = { ...process.env };
      Object.assign(process.env, { HOME: "/home/canary", NIX_PATH: "canary", USER: "canary" });
      try {
        const result = await run("nix-env --query && env >/env; ls -a /root", {
          tree: await nixTree(),
          memoryMiB: 384,
        });
        const found = summary(layerOfChanges(result));
        expect(found, result.log).toHaveProperty(["root/.nix-defexpr"]);
        expect(found.env).toMatch(
          /^file 644 0:0 (?:SHLVL=\d\n|HOME=\/root\n?|PATH=.*\n?|LC_ALL=C\n?|PWD=\/\n?|TZ=UTC\n?)+$/,
        );
        expect(JSON.stringify(found)).not.toContain("canary");
        expect(Object.keys(found).filter((path) => path.startsWith("home"))).toEqual([]);
      } finally {
        for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
        Object.assign(process.env, before);
      }
    });

    it("is an error where it fails, where there is no room, and where it makes what no layer can hold", async () => {
      await expect(run("echo why >&2; exit 3")).rejects.toMatchObject({
        code: "invalid-input",
        message: expect.stringMatching(/the script that runs as root failed \(exit 3\).*\n(?:.*\n)*why/),
      });
      await expect(run("cat /dev/zero >/full")).rejects.toMatchObject({ code: "limit" });
      await expect(run("echo x >/etc/.wh.x")).rejects.toThrow("the script made etc/.wh.x");
    });
  },
);
