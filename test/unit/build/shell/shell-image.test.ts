import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { ShellOptions } from "../../../../src/build/shell/options.js";
import { shellImageSpec } from "../../../../src/build/shell/shell-image.js";
import { makeTreeStore } from "../../../support/trees.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const BASH = path("b", "bash-5.2");
const COREUTILS = path("c", "coreutils-9.7");
const OUTPUT = path("0", "app-out");

const removals: (() => void)[] = [];
afterEach(() => {
  for (const remove of removals.splice(0)) remove();
});

interface Wanted {
  readonly name?: string;
  readonly system?: string;
  readonly output?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly inputs?: Readonly<Record<string, readonly string[]>>;
  readonly sources?: readonly string[];
  readonly programs?: readonly string[];
}

const list = (items: readonly string[]) => `[${items.join(",")}]`;
const texts = (items: readonly string[]) => list(items.map((item) => JSON.stringify(item)));

function derivationText({ system = "x86_64-linux", output = OUTPUT, env = {}, inputs = {}, sources }: Wanted): string {
  const drvs = Object.entries(inputs).map(([drv, outputs]) => `(${JSON.stringify(drv)},${texts(outputs)})`);
  const pairs = Object.entries(env).map((pair) => `(${texts(pair).slice(1, -1)})`);
  const outputs = `("out",${JSON.stringify(output)},"","")`;
  const builder = `"${BASH}/bin/bash",["-e","it's"]`;
  return `Derive([${outputs}],${list(drvs)},${texts(sources ?? [BASH, COREUTILS])},"${system}",${builder},${list(pairs)})`;
}

/** A store with bash, coreutils, other programs and a derivation, and the spec of its image. */
async function specOf(wanted: Wanted = {}, options: Partial<ShellOptions> = {}) {
  const derivation = path("d", `${wanted.name ?? "app-1.0"}.drv`);
  const program = (file: string) => {
    const parts = file.split("/");
    const above = parts.slice(0, -1).map((_, i) => [`${parts.slice(0, i + 1).join("/")}/`, ""]);
    return { ...Object.fromEntries(above), [file]: ["program", 0o555] as const };
  };
  const store = makeTreeStore({
    [BASH]: program("bin/bash"),
    [COREUTILS]: program("bin/env"),
    ...Object.fromEntries(
      (wanted.programs ?? []).map((file) => [
        file.slice(0, file.indexOf("/", 44)),
        program(file.slice(file.indexOf("/", 44) + 1)),
      ]),
    ),
  });
  removals.push(store.remove);
  writeFileSync(join(store.closure.storeRoot, derivation), derivationText(wanted));
  const { image, ...others } = options;
  return await shellImageSpec(derivation, { image: { ...image, closure: { ...store.closure } }, ...others });
}

const environmentOf = ({ config }: Awaited<ReturnType<typeof specOf>>) => config?.get("Env") as readonly string[];

describe("the spec of a Nix shell's image", () => {
  it("holds inputs, a user who owns the store, and where the user is", async () => {
    const spec = await specOf();
    expect(spec).toMatchObject({
      name: "app-1.0-env",
      tag: "d".repeat(32),
      architecture: "amd64",
      nixDatabase: { uid: 1000, gid: 1000, uname: "nixbld", gname: "nixbld" },
      helpers: [
        {
          name: "fakeNss",
          extraPasswdLines: ["nixbld:x:1000:1000:Nix build user:/build:/noshell"],
          extraGroupLines: ["nixbld:!:1000:"],
        },
      ],
    });
    expect(spec.closure.roots).toEqual([BASH, COREUTILS]);
    expect(Object.fromEntries([...(spec.config ?? [])].filter(([name]) => name !== "Env"))).toEqual({
      User: "1000:1000",
      WorkingDir: "/build",
      Cmd: [`${BASH}/bin/bash`, "--rcfile", "/usr/lib/nix-shell/rc"],
    });
    const files = new Map(spec.files?.map((file) => [file.target, file]));
    expect(files.get("/build")).toMatchObject({ directory: true, uid: 1000, gid: 1000 });
    expect(files.get("/bin/sh")).toMatchObject({ link: `${BASH}/bin/bash` });
    expect(files.get("/usr/bin/env")).toMatchObject({ link: `${COREUTILS}/bin/env` });
    expect(files.get("/usr/lib/nix-shell/bin/buildDerivation")).toEqual({
      target: "/usr/lib/nix-shell/bin/buildDerivation",
      text: `#!${BASH}/bin/bash\nunset IN_NIX_SHELL\nexec ${BASH}/bin/bash -e 'it'\\''s'\n`,
      mode: 0o755,
    });
  });

  it("leaves the last word to what is said of the image", async () => {
    const spec = await specOf(
      { env: { A: "1", B: "2" } },
      {
        image: {
          ...{ closure: {}, name: "mine", tag: "1", architecture: "arm64", maxLayers: 5 },
          config: new Map<string, never>([
            ["Env", ["B=3", "C=4"] as never],
            ["User", "root" as never],
          ]),
          files: [{ target: "/etc/motd", text: "hello" }],
          helpers: [{ name: "caCertificates" }, { name: "fakeNss", extraPasswdLines: ["me:x:1:1::/:/bin/sh"] }],
          nixDatabase: { enable: true, directoryMode: 0o775 },
        },
        uid: 5,
        gid: 6,
      },
    );
    expect(spec).toMatchObject({ name: "mine", tag: "1", architecture: "arm64", maxLayers: 5 });
    expect(spec.config?.get("User")).toBe("root");
    expect(environmentOf(spec)).toEqual(expect.arrayContaining(["A=1", "B=3", "C=4"]));
    expect(environmentOf(spec)).not.toContain("B=2");
    expect(spec.files?.at(-1)).toEqual({ target: "/etc/motd", text: "hello" });
    expect(spec.helpers).toEqual([
      { name: "caCertificates" },
      {
        name: "fakeNss",
        extraPasswdLines: ["me:x:1:1::/:/bin/sh", "nixbld:x:5:6:Nix build user:/build:/noshell"],
        extraGroupLines: ["nixbld:!:6:"],
      },
    ]);
    expect(spec.nixDatabase).toEqual({
      ...{ enable: true, directoryMode: 0o775, uid: 5, gid: 6, uname: "nixbld", gname: "nixbld" },
    });
  });

  it.each([
    ["Gtk+-3.0", "gtk-3.0-env"],
    ["a=b?c", "a-b-c-env"],
    ["_x_", "x-env"],
    ["++", "env"],
  ])("is named after %s as an image can be", async (name, expected) => {
    expect((await specOf({ name })).name).toBe(expected);
  });

  it.each([
    ["aarch64-linux", { architecture: "arm64" }],
    ["armv7l-linux", { architecture: "arm", variant: "v7" }],
    ["i686-linux", { architecture: "386" }],
  ])("is for the machine of %s", async (system, machine) => {
    expect(await specOf({ system })).toMatchObject(machine);
  });

  it("takes programs from what is added first, and of inputs from bash-interactive", async () => {
    const interactive = path("f", "bash-interactive-5.2");
    const other = path("g", "bash-4.4");
    const cacert = path("h", "nss-cacert-3");
    const programs = [`${interactive}/bin/bash`, `${other}/bin/bash`, `${cacert}/etc/ssl/certs/ca-bundle.crt`];
    const shellOf = async (extra: readonly string[], sources: readonly string[], given?: string) => {
      const spec = await specOf({ programs, sources: [COREUTILS, ...sources] }, { extra, shell: given });
      const certificates = environmentOf(spec).filter((entry) => entry.includes("SSL"));
      const command = spec.config?.get("Cmd") as readonly string[] | undefined;
      return [command?.[0], certificates];
    };
    const certificates = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].map((name) => `${name}=${programs[2]}`);
    expect(await shellOf([], [BASH, interactive])).toEqual([programs[0], []]);
    expect(await shellOf([other, cacert], [BASH, interactive])).toEqual([programs[1], certificates]);
    expect(await shellOf([], [BASH, other, cacert], `${BASH}/bin/bash`)).toEqual([`${BASH}/bin/bash`, certificates]);
    await expect(shellOf([], [BASH, other])).rejects.toMatchObject({
      code: "conflict",
      message: `several inputs have bin/bash: ${BASH}, ${other}`,
    });
  });

  it("has files of any bytes of what passAsFile names", async () => {
    const spec = await specOf({ env: { passAsFile: "x", x: "a" } });
    expect(spec.files).toContainEqual({ target: "/usr/lib/nix-shell/attributes/x", bytes: "a" });
  });

  it("has no environment that Linux starts nothing with, and names what is too large in it", async () => {
    const value = "v".repeat(2 ** 17 - 3);
    await expect(specOf({ env: { x: value } })).resolves.toBeDefined();
    await expect(specOf({ env: { x: `${value}v` } })).rejects.toMatchObject({
      code: "limit",
      message: expect.stringMatching(
        /^\/nix\/store\/d{32}-app-1\.0\.drv: the attribute x has 131072 bytes .* more than 131071$/,
      ),
      hint: 'hand it on as a file: passAsFile = [ "x" ]',
    });
    await expect(specOf({ env: { x: `${value}v`, passAsFile: "x" } })).resolves.toBeDefined();
    await expect(specOf({ env: { shellHook: value } })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining("shellHook ="),
    });
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`v${i}`, "v".repeat(100_000 + i)]));
    await expect(specOf({ env: many })).rejects.toMatchObject({
      code: "limit",
      message: expect.stringMatching(/the environment has 20\d{5} bytes, of which v19 has most \(100023\)/),
      hint: 'hand it on as a file: passAsFile = [ "v19" ]',
    });
    const { v19: _, ...fewer } = many;
    await expect(specOf({ env: fewer })).resolves.toBeDefined();
  });

  it.each([
    [
      { system: "aarch64-darwin" },
      {},
      "unsupported",
      "^/nix/store/d{32}-app-1.0.drv: the derivation is for the system aarch64-darwin",
    ],
    [{ system: "builtin" }, {}, "unsupported", "the derivation is for the system builtin"],
    [{ env: { __json: "{}" } }, {}, "unsupported", "has structured attributes"],
    [{ output: "" }, {}, "unsupported", "the output out of /nix/store/d{32}-app-1.0.drv is content-addressed"],
    [{ sources: [] }, {}, "not-found", "has no inputs"],
    [{ sources: [BASH] }, {}, "not-found", "no input of the derivation is coreutils or coreutils-full with bin/env"],
    [{ sources: [path("z", "gone")] }, {}, "not-found", "z{32}-gone, a source, is an input of the derivation"],
    [{ inputs: { [path("z", "a.drv")]: ["out"] } }, {}, "not-found", "z{32}-a.drv: .* tells where an input is"],
    [{ inputs: { [path("d", "app-1.0.drv")]: ["dev"] } }, {}, "invalid-input", "d{32}-app-1.0.drv has no output dev"],
    [{}, { image: { closure: {}, includeStorePaths: false } }, "invalid-input", "there can be no Nix database"],
    [
      {},
      { image: { closure: {}, oneLayer: true, maxLayers: 3 } },
      "invalid-input",
      "oneLayer and maxLayers contradict",
    ],
    [{}, { command: "a", run: "b" }, "usage", "both command and run"],
    [{}, { run: "a\0b" }, "usage", "run is no text"],
    [{}, { home: "build" }, "usage", 'the home directory "build" is not an absolute path'],
    [{}, { home: "/a:b" }, "usage", "the home directory"],
    [{}, { home: "/a/../b" }, "usage", 'the home directory "/a/../b" has a component . or ..'],
    [{}, { home: "/home/.." }, "usage", "has a component . or .."],
    [{}, { home: "/nix/store" }, "usage", "the home directory /nix/store is in the store"],
    [{}, { home: `${BASH}/home` }, "usage", "is in the store"],
    [{}, { uid: -1 }, "usage", "the uid -1 is not a whole number from 0"],
    [{}, { gid: 2 ** 32 - 1 }, "usage", "the gid 4294967295 is not"],
    [{}, { shell: "/bin/bash" }, "usage", "is no file of a store path"],
    [{}, { shell: BASH }, "usage", "is no file of a store path"],
    [{}, { shell: `${BASH}/bin/a b` }, "usage", "is no file of a store path"],
    [{}, { shell: `${BASH}/bin/zsh` }, "not-found", "is not there, or no program"],
    [{}, { image: { closure: {}, tag: "a b" } }, "invalid-input", "is not an image tag"],
  ] as const)("is refused of %j with %j", async (wanted: Wanted, options: Partial<ShellOptions>, code, message) => {
    await expect(specOf(wanted, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
