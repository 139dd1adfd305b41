import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { hexSha256, packImage, packTar } from "../support/confs.js";
import { REGISTRY_TOOLS, startRegistry } from "../support/registry.js";
import { requireTools } from "../support/tools.js";

const VM_TOOLS = ["qemu-system-x86_64", "mke2fs", "busybox"];

/** The acceptance points about images on top of others. */
export function basePoints(host: Acceptance): void {
  const layersOf = async (image: string) => (await host.inspect(image)).RootFS.Layers;
  const text = (target: string, line: string) => ({ target, text: `${line}\n` });

  it.skipIf(requireTools(...REGISTRY_TOOLS))(
    "8: an image that was pulled by its digest is the base of another",
    async () => {
      const registry = await startRegistry();
      try {
        const name = `${registry.host}/pulled`;
        const base = { name, contents: [host.path("busybox")], files: [text("/etc/base", "pulled")] };
        const config = { Env: ["ORIGIN=registry"], WorkingDir: "/etc" };
        const digest = await push(host.spec("pulled", { ...base, config }), `docker://${name}:1`);
        await host.docker.ok(["pull", `${name}@${digest}`]);
        await push(host.spec("pulled-later", base), `docker://${name}:1`);
        const layout = `oci:${host.file("pulled")}:1`;
        expectOk(await runCli(["copy", `docker://${name}@${digest}`, layout]), "copy");
        await host.load("on-pulled", { fromImage: layout, contents: [host.path("hello")], config: { Cmd: ["hello"] } });
        expect(await host.run("on-pulled:1")).toBe("Hello, world!\n");
        const below = await layersOf(`${name}@${digest}`);
        expect((await layersOf("on-pulled:1")).slice(0, below.length)).toEqual(below);
        expect(await host.run("on-pulled:1", "sh", "-c", "cat base; pwd; echo $ORIGIN")).toBe(
          "pulled\n/etc\nregistry\n",
        );
      } finally {
        await registry.stop();
      }
    },
  );

  const push = async (spec: string, place: string) =>
    expectOk(await runCli(["push", spec, place]), "push")
      .stdout.toString()
      .trim();

  it("9: an image on top of another has an entrypoint of its own, and the file that extraCommands made", async () => {
    const base = { copyToRoot: [host.path("busybox")], config: { Cmd: ["ls"] } };
    const fromImage = await host.callForArchive("buildImage", "entrypoint-base", base);
    const Entrypoint = [`${host.path("hello")}/bin/hello`];
    const extraCommands = "echo made > extraCommands";
    await host.call("buildImage", "entrypoint", { fromImage, extraCommands, config: { Entrypoint } });
    expect(await host.run("entrypoint:1")).toBe("Hello, world!\n");
    const options = ["--entrypoint", "/bin/cat"];
    expect(await host.runWith(options, "entrypoint:1", "/extraCommands")).toBe("made\n");
  });

  it.skipIf(requireTools(...VM_TOOLS))("9: a command runs as root on the file system of the base", async () => {
    const base = { copyToRoot: [host.path("busybox")], extraCommands: "echo base > below; echo gone > unwanted" };
    const fromImage = await host.callForArchive("buildImage", "root-base", base);
    const Entrypoint = [`${host.path("hello")}/bin/hello`];
    const runAsRoot = "#!/bin/sh\nset -e\ncat /below > /seen\nchown 12:34 /seen\nrm /unwanted\nid -u > /user\n";
    const extraCommands = "cat seen > extraCommands";
    await host.call("buildImage", "root", { fromImage, runAsRoot, extraCommands, config: { Entrypoint } });
    expect(await host.run("root:1")).toBe("Hello, world!\n");
    const options = ["--entrypoint", "/bin/sh"];
    const look = "cat /seen /user /extraCommands; stat -c %u:%g /seen; ls /unwanted 2>/dev/null || echo none";
    expect(await host.runWith(options, "root:1", "-c", look)).toBe("base\n0\nbase\n12:34\nnone\n");
  });

  it("11: an image of several layers is the base of one that is itself a base", async () => {
    const greeting = { contents: [host.path("hello")], config: { Cmd: ["hello"] } };
    const first = await host.callForBase("buildLayeredImage", "layered", {
      ...greeting,
      extraCommands: "echo 1 > first",
    });
    const second = await host.callForBase("buildLayeredImage", "on-layered", {
      ...{ fromImage: first, contents: [host.path("busybox")], extraCommands: "echo 2 > second" },
    });
    await host.call("buildImage", "on-on-layered", {
      ...{ fromImage: second, copyToRoot: [host.path("stranger")], extraCommands: "echo 3 > third" },
    });
    expect(await host.run("on-on-layered:1", "sh", "-c", "hello; stranger")).toBe("Hello, world!\nNobody knows me.\n");
    expect(await host.run("on-on-layered:1", "cat", "/first", "/second", "/third")).toBe("1\n2\n3\n");
    const names = ["layered:1", "on-layered:1", "on-on-layered:1"];
    const [bottom, middle, top] = (await Promise.all(names.map(layersOf))) as [string[], string[], string[]];
    expect(bottom.length).toBeGreaterThan(1);
    expect(middle.slice(0, bottom.length)).toEqual(bottom);
    expect(top.slice(0, -1)).toEqual(middle);
  });

  it("12: two images share the layer of what they have in common", async () => {
    await host.load("sharing-1", { closure: { roots: [host.path("hello")] }, strategy: "per-path" });
    await host.load("sharing-2", { closure: { roots: [host.path("stranger")] }, strategy: "per-path" });
    const [one, two] = [await layersOf("sharing-1:1"), await layersOf("sharing-2:1")];
    const shared = one.filter((layer) => two.includes(layer));
    expect(shared).toHaveLength((await host.requisites(host.path("busybox"))).length);
    expect(one).not.toEqual(two);
  });

  it("13: of three layers the one above has the last word, in an engine and unpacked", async () => {
    const write = (word: string, files: string) =>
      `mkdir -p order; for i in ${files}; do echo ${word} > order/$i; done`;
    const busybox = { copyToRoot: [host.path("busybox")] };
    const first = await host.callForBase("buildImage", "order-1", {
      ...busybox,
      extraCommands: write("first", "1 2 3"),
    });
    const second = await host.callForBase("buildImage", "order-2", {
      fromImage: first,
      extraCommands: write("second", "2 3"),
    });
    const third = await host.callForBase("buildImage", "order-3", {
      fromImage: second,
      extraCommands: write("third", "3"),
    });
    expect(await layersOf("order-3:1")).toHaveLength(3);
    expect(await host.run("order-3:1", "cat", "/order/1", "/order/2", "/order/3")).toBe("first\nsecond\nthird\n");
    const unpacked = host.file("order-unpacked");
    await host.unpack(`docker-archive:${third}`, unpacked);
    const words = [1, 2, 3].map((i) => readFileSync(join(unpacked, "order", `${i}`), "utf8"));
    expect(words).toEqual(["first\n", "second\n", "third\n"]);
  });

  it.skipIf(requireTools(...VM_TOOLS))(
    "13: a command that runs as root finds the base unpacked in this order",
    async () => {
      const runAsRoot = "#!/bin/sh\ncat /order/1 /order/2 /order/3 > /found\n";
      await host.call("buildImage", "order-root", { fromImage: host.file("order-3.tar"), runAsRoot });
      expect(await host.run("order-root:1", "cat", "/found")).toBe("first\nsecond\nthird\n");
    },
  );

  it("14: layers of a base that are there twice stay", async () => {
    const [a, b] = [await packTar([["order", "a"]]), await packTar([["order", "b"]])];
    const file = host.file("repeated-base.tar");
    const layers = [a, b, a, b].map((tar, i) => ({ name: `${i}/layer.tar`, tar }));
    writeFileSync(file, await packImage(layers));
    await host.load("repeated", { fromImage: `docker-archive:${file}`, contents: [host.path("busybox")] });
    const found = await layersOf("repeated:1");
    expect(found.slice(0, 4)).toEqual([a, b, a, b].map((tar) => `sha256:${hexSha256(tar)}`));
    expect(await host.run("repeated:1", "cat", "/order")).toBe("b");
  });

  it.each(["buildImage", "buildLayeredImage"] as const)(
    "15: variables are inherited, the own one wins, and each is there once (%s)",
    async (called) => {
      const name = `variables-${called.toLowerCase()}`;
      const parent = { Env: ["PATH=/bin", "FROM_PARENT=true", "LAST_LAYER=parent"] };
      const base = { contents: [host.path("busybox")], config: parent };
      const fromImage = await host.callForArchive(called, `${name}-base`, base);
      await host.call(called, name, { fromImage, config: { Env: ["FROM_CHILD=true", "LAST_LAYER=child"] } });
      const { Env } = (await host.inspect(`${name}:1`)).Config;
      expect(Env).toEqual(["PATH=/bin", "FROM_PARENT=true", "LAST_LAYER=child", "FROM_CHILD=true"]);
      const seen = (await host.run(`${name}:1`, "env")).trimEnd().split("\n");
      expect(seen.filter((line) => /^(PATH|FROM_\w+|LAST_\w+)=/.test(line)).sort()).toEqual([...(Env ?? [])].sort());
    },
  );

  it("17: the layers of the base count: with four at most there are four", async () => {
    const fromImage = await host.callForBase("buildLayeredImage", "limit-base", { contents: [host.path("busybox")] });
    expect(await layersOf("limit-base:1")).toHaveLength(2);
    const config = { Cmd: ["hello"], Env: [`CHAIN=${host.path("chain")}`] };
    await host.call("buildLayeredImage", "limit", { fromImage, contents: [host.path("hello")], config, maxLayers: 4 });
    expect(await layersOf("limit:1")).toHaveLength(4);
    expect(await host.run("limit:1")).toBe("Hello, world!\n");
  });
}
