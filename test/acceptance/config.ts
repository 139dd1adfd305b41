import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { createPodman, ENGINE_TOOLS, RUN_OPTIONS } from "../support/daemons.js";
import { requireTools } from "../support/tools.js";

/** How packed bytes begin. */
const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** The acceptance points about names, times and what else engines are told of an image. */
export function configPoints(host: Acceptance): void {
  const greeting = () => ({ contents: [host.path("hello")], config: { Cmd: ["hello"] } });

  it("2: an image is of one second after the epoch, or of now", async () => {
    await host.call("streamLayeredImage", "epoch", greeting());
    expect((await host.inspect("epoch:1")).Created).toBe("1970-01-01T00:00:01Z");
    const before = Math.floor(Date.now() / 1000) * 1000;
    await host.call("streamLayeredImage", "now", { ...greeting(), created: "now" });
    const created = Date.parse((await host.inspect("now:1")).Created);
    expect(created).toBeGreaterThanOrEqual(before);
    expect(created).toBeLessThanOrEqual(Date.now());
  });

  it("3: the tag that is told is the one that Docker has, made of the arguments where they have none", async () => {
    const known = async (name: string) =>
      (await host.docker.ok(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name])).trim().split("\n");
    const given = await host.call("streamLayeredImage", "tagged", { ...greeting(), tag: "given" });
    expect(given.repoTags).toEqual(["tagged:given"]);
    expect(await known("tagged")).toEqual(given.repoTags);
    const made = await host.call("streamLayeredImage", "untagged", { ...greeting(), tag: null });
    expect(made.repoTags[0]).toMatch(/^untagged:[0-9a-z]{32}$/);
    expect(await known("untagged")).toEqual(made.repoTags);
  });

  it.each(["none", "gz"])("4: an archive loads, compressed by %s as a whole", async (compressor) => {
    const file = await host.callForBase("buildLayeredImage", `packed-${compressor}`, { ...greeting(), compressor });
    expect(readFileSync(file).subarray(0, 2).equals(GZIP)).toBe(compressor === "gz");
    expect(await host.run(`packed-${compressor}:1`)).toBe("Hello, world!\n");
  });

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))("4: an archive loads, compressed by zstd as a whole", async () => {
    const image = { ...greeting(), compressor: "zstd" };
    const file = await host.callForArchive("buildLayeredImage", "packed-zstd", image);
    expect(readFileSync(file).subarray(0, 4).equals(ZSTD)).toBe(true);
    // Docker's daemon knows zstd since version 23.
    const podman = await createPodman();
    try {
      await podman.ok(["load", "--input", file]);
      expect(await podman.ok([...RUN_OPTIONS, "packed-zstd:1"])).toBe("Hello, world!\n");
    } finally {
      await podman.stop();
    }
  });

  it("19: an image for other machines says so", async () => {
    await host.call("buildLayeredImage", "cross", { ...greeting(), architecture: "arm64" });
    expect((await host.inspect("cross:1")).Architecture).toBe("arm64");
    await host.call("buildLayeredImage", "native", greeting());
    expect((await host.inspect("native:1")).Architecture).toBe("amd64");
  });

  it.each(["buildImage", "buildLayeredImage"] as const)("21: a name may begin with a registry (%s)", async (called) => {
    const name = `registry-1.docker.io/${called.toLowerCase()}`;
    await host.call(called, name, greeting());
    expect(await host.run(`${name}:1`)).toBe("Hello, world!\n");
  });

  it("29: the store belongs to a user who is not root, by number and name", async () => {
    const { layers } = await host.call("buildLayeredImage", "owned", {
      ...{ uid: 1000, gid: 100, uname: "user", gname: "users" },
      contents: [host.path("hello"), host.path("busybox")],
      config: { User: "1000:100" },
    });
    expect(layers.length).toBeGreaterThan(1);
    const places = ["/nix", "/nix/store", host.path("hello"), `${host.path("hello")}/bin/hello`];
    const owners = (await host.run("owned:1", "stat", "-c", "%u:%g", ...places)).trimEnd().split("\n");
    expect(owners).toEqual(places.map(() => "1000:100"));
    expect(await host.run("owned:1", "sh", "-c", "id -u; id -g; hello")).toBe("1000\n100\nHello, world!\n");
  });
}
