import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDerivation } from "../../src/nix/derivation.js";
import type { StorePath } from "../../src/nix/store-path.js";
import { runOk } from "../support/command.js";
import { requireTools } from "../support/tools.js";

const EXPRESSION = `
let
  file = builtins.toFile "file" "x";
  first = derivation { name = "first"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ]; };
  fixed = derivation {
    name = "fixed"; system = "x86_64-linux"; builder = "/bin/sh"; outputHashMode = "recursive"; outputHashAlgo = "sha256";
    outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  };
in derivation {
  name = "all"; system = "x86_64-linux"; builder = file; args = [ "-c" "a\\"b\\\\c\\n\\t\\r\${first.dev} \${first}" "" ];
  text = "ü \\$ '' \${fixed}"; empty = ""; flag = true; list = [ "a" 1 ];
}`;

/** As \`nix show-derivation\` prints it. */
interface Shown {
  readonly outputs: Readonly<Record<string, { readonly path?: string }>>;
  readonly inputSrcs: readonly string[];
  readonly inputDrvs: Readonly<Record<string, readonly string[]>>;
  readonly system: string;
  readonly builder: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

describe.skipIf(requireTools("nix-instantiate", "nix"))("derivations that Nix wrote", { timeout: 60_000 }, () => {
  let directory: string;
  let env: Readonly<Record<string, string>>;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-derivation-"));
    writeFileSync(join(directory, "all.nix"), EXPRESSION);
    env = { NIX_STORE_DIR: "/nix/store", NIX_REMOTE: `local?root=${directory}/root` };
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("are read as Nix reads them", async () => {
    const drv = (await runOk("nix-instantiate", [join(directory, "all.nix")], { env })).trim() as StorePath;
    const shown = await runOk("nix", ["--extra-experimental-features", "nix-command", "show-derivation", "-r", drv], {
      env,
    });
    const all = Object.entries(JSON.parse(shown) as Readonly<Record<string, Shown>>);
    expect(all).toHaveLength(3);
    const text = (bytes: string) => Buffer.from(bytes, "latin1").toString("utf8");
    for (const [path, derivation] of all) {
      const { outputs, inputDerivations, inputSources, system, builder, args, env } = readDerivation(
        path as StorePath,
        join(directory, "root"),
      );
      expect({
        outputs: Object.fromEntries(outputs.map(({ name, path }) => [name, path])),
        inputSrcs: inputSources,
        inputDrvs: Object.fromEntries(inputDerivations.map(({ path, outputs }) => [path, outputs])),
        ...{ system, builder, args },
        env: Object.fromEntries([...env].map(([name, value]) => [name, text(value)])),
      }).toEqual({
        outputs: Object.fromEntries(Object.entries(derivation.outputs).map(([name, { path }]) => [name, path])),
        inputSrcs: derivation.inputSrcs,
        inputDrvs: derivation.inputDrvs,
        ...{ system: derivation.system, builder: derivation.builder, args: derivation.args },
        env: derivation.env,
      });
    }
  });
});
