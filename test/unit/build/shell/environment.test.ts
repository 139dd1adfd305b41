import { describe, expect, it } from "vitest";
import { derivationEnvironment, shellEnvironment } from "../../../../src/build/shell/environment.js";
import type { Derivation } from "../../../../src/nix/derivation.js";
import type { StorePath } from "../../../../src/nix/store-path.js";

const OUT = `/nix/store/${"a".repeat(32)}-x` as StorePath;

function environmentOf(env: Readonly<Record<string, string>>, outputs = [{ name: "out", path: OUT }]) {
  const derivation: Derivation = {
    ...{ outputs, inputDerivations: [], inputSources: [], system: "x86_64-linux", builder: "/bin/sh", args: [] },
    env: new Map(Object.entries(env)),
  };
  const { variables, files } = derivationEnvironment(derivation, "/files");
  return { variables: Object.fromEntries(variables), files: Object.fromEntries(files) };
}

const latin1 = (text: string) => Buffer.from(text).toString("latin1");

describe("a derivation's environment", () => {
  it("is its attributes, as text, and its outputs", () => {
    expect(environmentOf({ text: latin1("ü\n\"$'"), empty: "", "with=sign": "1", out: "other" })).toEqual({
      variables: { text: "ü\n\"$'", empty: "", "with=sign": "1", out: OUT },
      files: {},
    });
  });

  it("names files of what passAsFile names, instead of holding it", () => {
    expect(environmentOf({ passAsFile: "a  b\nnone", a: latin1("ä\n"), b: "", c: "c", aPath: "lost" })).toEqual({
      variables: { passAsFile: "a  b\nnone", aPath: "/files/a", bPath: "/files/b", c: "c", out: OUT },
      files: { "/files/a": latin1("ä\n"), "/files/b": "" },
    });
  });

  it("holds any bytes in files", () => {
    const { files } = environmentOf({ passAsFile: "a", a: "\xff\0\xfe" });
    expect(files).toEqual({ "/files/a": "\xff\0\xfe" });
  });

  it("gives every attribute a file of its own below the directory, whatever its name", () => {
    const names = ["..", "a/b", ".wh.a", "x".repeat(300), latin1("ü"), "a.b'c-d"];
    const { variables, files } = environmentOf({
      passAsFile: names.join(" "),
      ...Object.fromEntries(names.map((name) => [name, `of ${name}`])),
    });
    const byName = names.map((name) => files[variables[`${Buffer.from(name, "latin1")}Path`] ?? ""]);
    expect(byName).toEqual(names.map((name) => `of ${name}`));
    expect(Object.keys(files)).toHaveLength(names.length);
    for (const file of Object.keys(files)) expect(file).toMatch(/^\/files\/(?!\.wh\.)(?!\.\.?$)[^/]{1,255}$/);
  });

  it.each([
    [{ bad: "\xff" }, "the attribute bad with bytes that are no UTF-8"],
    [{ bad: "a\0b" }, "the attribute bad with a NUL byte"],
    [{ "\xff": "" }, "the attribute \\xff with bytes that are no UTF-8"],
    [{ passAsFile: "other", bad: "\xff" }, "the attribute bad with bytes that are no UTF-8"],
    [{ "": "x" }, "an attribute without a name"],
  ])("is refused where the config of an image cannot hold it: %j", (env, message) => {
    expect(() => environmentOf(env)).toThrow(`the derivation has ${message}, which`);
  });
});

describe("a shell's environment", () => {
  const of = (variables: Readonly<Record<string, string>>, certificates?: string) =>
    shellEnvironment(new Map(Object.entries(variables)), {
      ...{ path: "/shell/bin:/own", home: "/home/me", storeDir: "/gnu/store", certificates },
    });

  it("has what a sandbox sets, sorted", () => {
    expect(of({})).toEqual([
      "HOME=/home/me",
      "NIX_BUILD_CORES=1",
      "NIX_BUILD_TOP=/build",
      "NIX_STORE=/gnu/store",
      "PATH=/shell/bin:/own",
      "PWD=/build",
      "TEMP=/build",
      "TEMPDIR=/build",
      "TERM=xterm-256color",
      "TMP=/build",
      "TMPDIR=/build",
    ]);
  });

  it("leaves to the derivation what Nix does, and no more", () => {
    const own = of(
      { HOME: "/h", NIX_BUILD_CORES: "8", SSL_CERT_FILE: "/no-cert-file.crt", TMPDIR: "/t", PATH: "/p" },
      "/c",
    );
    expect(own).toEqual(
      expect.arrayContaining([
        "HOME=/h",
        "NIX_BUILD_CORES=8",
        "SSL_CERT_FILE=/no-cert-file.crt",
        "NIX_SSL_CERT_FILE=/c",
      ]),
    );
    expect(own).toEqual(expect.arrayContaining(["TMPDIR=/build", "PATH=/shell/bin:/own:/p"]));
  });
});
