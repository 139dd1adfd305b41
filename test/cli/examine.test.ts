import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../support/cli.js";
import { type CommandResult, expectOk } from "../support/command.js";
import { packImage, packTar } from "../support/confs.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-examine-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

type Members = Parameters<typeof packTar>[0];

/** Writes a docker-archive of one image with the given layers; gives its name as a source. */
async function archive(name: string, layers: readonly Members[], config: unknown = {}): Promise<string> {
  const packed = await Promise.all(layers.map(async (layer, i) => ({ name: `${i}.tar`, tar: await packTar(layer) })));
  writeFileSync(join(directory, name), await packImage(packed, config));
  return `docker-archive:${join(directory, name)}`;
}

const run = (...args: readonly string[]) => runCli(args, { cwd: directory });
const jsonOf = (result: CommandResult) => JSON.parse(String(result.stdout));

function expectError(result: CommandResult, status: number, message: string): void {
  expect(result.stderr).toContain(message);
  expect(result.status).toBe(status);
}

describe("inspect", () => {
  it("shows an image to people and to programs, without its layers being sound", async () => {
    const source = await archive("a.tar", [[["a", "1"]]], { Env: ["A=\u001b[1m"], Cmd: ["sh"] });
    const file = join(directory, "a.tar");
    const text = String(expectOk(await run("inspect", source), "inspect").stdout);
    expect(text).toMatch(/^platform +linux\/amd64$/m);
    expect(text).toMatch(/^Cmd +\["sh"\]$/m);
    // Nothing that an image holds reaches the terminal as a control sequence.
    expect(text).toMatch(/^Env +A=\\x1b\[1m$/m);
    const { images } = jsonOf(expectOk(await run("inspect", source, "--json"), "inspect"));
    expect(images).toMatchObject([
      { names: [], manifest: null, layers: [{ compression: "none", codec: null, size: 2048 }] },
    ]);
    const bytes = readFileSync(file);
    bytes[bytes.indexOf("ustar") + 600] = 1;
    writeFileSync(file, bytes);
    expectOk(await run("inspect", source), "inspect");
  });

  it("shows all images of a layout, with the codec and level of each layer", async () => {
    const source = await archive("a.tar", [[["a", "1"]]]);
    for (const compression of ["gzip:9", "zstd:3", "none"]) {
      const to = `oci:layout:${compression.replace(":", "-")}`;
      expectOk(await run("copy", source, to, "--compression", compression, "--no-cache"), "copy");
    }
    const { images } = jsonOf(expectOk(await run("inspect", "oci:layout", "--json"), "inspect"));
    const shown = images.map(({ names, layers }: { names: string[]; layers: { codec: string | null }[] }) => [
      names.join(),
      layers[0]?.codec?.replace(/ .*/, "") ?? null,
    ]);
    expect(shown).toEqual([
      ["gzip-9", "gzip:9"],
      ["zstd-3", "zstd:3"],
      ["none", null],
    ]);
    const text = String(expectOk(await run("inspect", "oci:layout:gzip-9"), "inspect").stdout);
    expect(text).toMatch(/^ {2}1 .* gzip:9 .*tar\+gzip$/m);
  });

  it.each([
    [["inspect"], 2, "one image must be named, not 0"],
    [["diff", "oci:a"], 2, "2 images must be named, not 1"],
    [["diff", "-", "-"], 2, "standard input is named twice"],
    [["inspect", "layout"], 2, '"layout" names no transport'],
    [["inspect", "oci:absent"], 1, "cannot read absent: no such file or directory"],
    [["validate", "docker-archive:absent"], 1, "cannot read absent: no such file or directory"],
    [["inspect", "oci:absent", "--platform", "x"], 2, '--platform: "x" is not a platform'],
  ])("and its like say what is wrong with a call: %s", async (args, status, message) => {
    expectError(await run(...args), status, message);
  });
});

describe("validate", () => {
  it("says that an image is sound, from standard input too", async () => {
    await archive("a.tar", [[["a", "1"]], [["b", "2"]]]);
    const result = await runCli(["validate", "-"], { stdin: { file: join(directory, "a.tar") } });
    const line = "image 1: valid: 2 layers, 2 entries, 4.10 kB unpacked, all digests agree\n";
    expect(String(expectOk(result, "validate").stdout)).toBe(line);
  });

  it("ends with 3 where an image is not, with the findings on standard output", async () => {
    const source = await archive("a.tar", [
      [["a", { symlink: "/" }]],
      [["a/b", "1"]],
      [["c\n"]].map(([name]) => [name as string, "1"]),
    ]);
    const result = await run("validate", source);
    expectError(result, 3, `error: ${source} is not valid: 1 error`);
    expect(String(result.stdout)).toBe(
      "error    layer 2: a/b lies in a, a symlink in a lower layer [under-symlink] (docker, podman/skopeo, containerd)\n" +
        "image 1: not valid: 3 layers, 3 entries, 5.63 kB unpacked, all digests agree\n",
    );
    const json = await run("validate", source, "--json");
    expect(json.status).toBe(3);
    expect(jsonOf(json)).toMatchObject({
      valid: false,
      errors: 1,
      warnings: 0,
      notes: 0,
      findings: [],
      images: [
        {
          layers: 3,
          entries: 3,
          valid: false,
          findings: [{ severity: "error", code: "under-symlink", where: "layer 2" }],
        },
      ],
    });
  });

  it("speaks of a layout that cannot be opened as of one that is not valid", async () => {
    expectOk(await run("copy", await archive("a.tar", [[["a", "1"]]]), "oci:layout:a", "--no-cache"), "copy");
    const blobs = join(directory, "layout", "blobs", "sha256");
    for (const name of readdirSync(blobs)) {
      const file = join(blobs, name);
      const bytes = readFileSync(file);
      if (bytes[0] === 0x7b) writeFileSync(file, Buffer.concat([bytes, Buffer.from(" ")]));
    }
    const result = await run("validate", "oci:layout:a", "--json");
    expect(result.status).toBe(3);
    expect(jsonOf(result)).toMatchObject({
      valid: false,
      errors: 1,
      findings: [{ code: "unreadable", where: "source" }],
      images: [],
    });
  });
});

describe("diff", () => {
  it("ends with 0 for equal images, and with 3 and the differences for others", async () => {
    const a = await archive("a.tar", [[["same", "1"]], [["f", "1"]]], { Cmd: ["a"] });
    const b = await archive(
      "b.tar",
      [
        [["same", "1"]],
        [
          ["f", "22"],
          ["g", "1"],
        ],
      ],
      { Cmd: ["b"] },
    );
    expect(String(expectOk(await run("diff", a, a), "diff").stdout)).toBe("the images are the same\n");
    const result = await run("diff", a, b);
    expect([result.status, result.stderr]).toEqual([3, ""]);
    const diffIds = "sha256:[0-9a-f]{64}";
    expect(String(result.stdout)).toMatch(
      new RegExp(
        [
          '^config  ~ config\\.Cmd: \\["a"\\] -> \\["b"\\]',
          `layer   - 2: ${diffIds}, 2.05 kB`,
          `layer   \\+ 2: ${diffIds}, 3.07 kB`,
          "layer   = 1 layer is in both",
          "files added: 1, 1 B",
          "file    \\+ /g, 1 B",
          "files changed: 1, \\+1 B",
          "file    ~ /f: size 1 -> 2, content",
          "the images differ\n$",
        ].join("\n"),
      ),
    );
  });

  it("lists fifty files of a kind, or all", async () => {
    const a = await archive("a.tar", [[["f", "1"]]]);
    const many = Array.from({ length: 60 }, (_, i) => [`n${i}`, "1"] as const);
    const b = await archive("b.tar", [[["f", "1"], ...many]]);
    const lines = async (...flags: string[]) =>
      String((await run("diff", a, b, ...flags)).stdout)
        .split("\n")
        .filter((line) => line.startsWith("file  "));
    const some = await lines();
    expect([some.length, some.at(-1)]).toEqual([51, "file    + and 10 more (--all lists them)"]);
    expect(await lines("--all")).toHaveLength(60);
    expect(jsonOf(await run("diff", a, b, "--json")).files.added).toHaveLength(60);
  });

  it("wants one image of each source", async () => {
    const source = await archive("a.tar", [[["a", "1"]]]);
    for (const tag of ["x", "y"]) {
      expectOk(
        await run("copy", source, `oci:layout:${tag}`, "--compression", tag === "x" ? "gzip" : "none", "--no-cache"),
        "copy",
      );
    }
    const result = await run("diff", "oci:layout", source);
    expectError(result, 2, "oci:layout holds 2 images");
    expect(result.stderr).toContain("hint: name one of them after a colon: x, y");
    expect(String(expectOk(await run("diff", "oci:layout:x", source), "diff").stdout)).toMatch(
      /the blobs differ, the contents do not\n$/,
    );
  });
});

describe("export", () => {
  it("names the image that cannot be unpacked, and the layer of it", async () => {
    const place = await archive("evil.tar", [[["a", "1"]], [["../evil", "1"]]]);
    expectError(await run("export", place), 1, `error: layer 2 of ${place}: ../evil has a component ".."`);
  });
});
