import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { unpackTar } from "../support/confs.js";
import { RUN_OPTIONS } from "../support/daemons.js";
import { nixSystem } from "../support/nix-system.js";
import { REAL_STORE_TOOLS, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

/** The acceptance points about what is in the store of an image. */
export function storePoints(host: Acceptance): void {
  const storeOf = async (image: string) =>
    (await host.run(image, "find", "/nix/store", "-mindepth", "1", "-maxdepth", "1")).trimEnd().split("\n").sort();

  it("1: an image with its store paths runs", async () => {
    await host.call("streamLayeredImage", "with-store", { contents: [host.path("hello")], config: { Cmd: ["hello"] } });
    expect(await host.run("with-store:1")).toBe("Hello, world!\n");
  });

  it("1: an image without its store paths has nothing in the store, and runs where one is mounted", async () => {
    const image = { contents: [host.path("hello")], config: { Cmd: ["hello"] }, includeStorePaths: false };
    const archive = await host.callForBase("streamLayeredImage", "without-store", image);
    const exported = expectOk(await runCli(["export", `docker-archive:${archive}`]), "export");
    const names = [...(await unpackTar(exported.stdout)).keys()];
    expect(names).toContain("./bin/hello");
    expect(names.filter((name) => name.includes("nix/store/"))).toEqual([]);
    expect((await host.docker.run([...RUN_OPTIONS, "without-store:1"])).status).not.toBe(0);
    const volume = ["--volume", `${host.storeRoot}/nix/store:/nix/store:ro`];
    expect(await host.runWith(volume, "without-store:1")).toBe("Hello, world!\n");
  });

  it.skipIf(requireTools(...REAL_STORE_TOOLS))(
    "5: Nix takes the database for its own, and all files are as registered",
    async () => {
      const system = nixSystem(await realStore("nix"));
      await host.load("nix", { ...system.spec, nixDatabase: { enable: true }, maxLayers: 5 });
      const requisites = await host.run("nix:1", "nix-store", "--query", "--requisites", system.bash);
      expect(requisites.trimEnd().split("\n").sort()).toEqual(await system.requisites(system.bash));
      // Containers have no users who build.
      const options = [...RUN_OPTIONS, "--env", "NIX_CONFIG=build-users-group ="];
      const verified = await host.docker.run([...options, "nix:1", "nix-store", "--verify", "--check-contents"]);
      expect(verified.status, verified.stderr).toBe(0);
      expect(verified.stderr.replace(/^(reading|checking) .*\.\.\.\n/gm, "")).toBe("");
      expect(verified.stderr).toContain("checking store hashes");
    },
    600_000,
  );

  it("6: the store's directories are open to a user who is not root", async () => {
    await host.load("modes", { contents: [host.path("hello"), host.path("busybox")], helpers: ["fakeNss"] });
    expect(await host.run("modes:1", "stat", "-c", "%a %u:%g %n", "/nix", "/nix/store")).toBe(
      "755 0:0 /nix\n755 0:0 /nix/store\n",
    );
    expect(await host.runWith(["--user", "nobody"], "modes:1", "sh", "-c", "id -un; hello")).toBe(
      "nobody\nHello, world!\n",
    );
  });

  it("7: symlinks in store paths lead where they led", async () => {
    const busybox = host.path("busybox");
    await host.load("links", { closure: { roots: [busybox] } });
    const program = `${busybox}/bin/busybox`;
    expect(await host.run("links:1", program, "readlink", `${busybox}/bin/cat`)).toBe("busybox\n");
    expect(await host.run("links:1", `${busybox}/bin/readlink`, "-f", `${busybox}/bin/cat`)).toBe(`${program}\n`);
  });

  it.each(["dockertools-auto", "dockertools-popularity", "closure-cost", "popularity"])(
    "16: the layer of all that has none of its own misses no store path (%s)",
    async (strategy) => {
      const [name, chain, busybox] = [`bulk-${strategy}`, host.path("chain"), host.path("busybox")];
      const image = { contents: [busybox], config: { Env: [`CHAIN=${chain}`] }, maxLayers: 2 };
      await host.loadInput([...host.arguments("streamLayeredImage", name, image), "--strategy", strategy]);
      expect((await host.inspect(`${name}:1`)).RootFS.Layers).toHaveLength(2);
      expect(await storeOf(`${name}:1`)).toEqual(await host.requisites(chain, busybox));
    },
  );

  it("18: only what is referred to is in the store", async () => {
    const [busybox, hello] = [host.path("busybox"), host.path("hello")];
    await host.load("minimal", {
      contents: [busybox],
      config: { Cmd: [`${hello}/bin/hello`] },
      closure: { roots: [hello] },
    });
    expect(await host.run("minimal:1")).toBe("Hello, world!\n");
    expect(await storeOf("minimal:1")).toEqual(await host.requisites(busybox, hello));
  });

  it("20: a store path that is a symlink is one in the image", async () => {
    const symlink = host.path("symlink");
    await host.load("symlink", { contents: [host.path("busybox")], closure: { roots: [symlink] } });
    expect(await host.run("symlink:1", "readlink", symlink)).toBe(`${host.path("hello")}\n`);
    expect(await host.run("symlink:1", `${symlink}/bin/hello`)).toBe("Hello, world!\n");
  });
}
