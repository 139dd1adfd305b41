import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runOk } from "../support/command.js";
import { createPodman, ENGINE_TOOLS, RUN_OPTIONS } from "../support/daemons.js";
import { requireTools, tool } from "../support/tools.js";

/** The acceptance points about names, times and what else engines are told of an image. */
export function configPoints(host: Acceptance): void {
  const greeting = () => ({ contents: [host.path("hello")], config: { Cmd: ["hello"] } });

  it("2: an image is of one second after the epoch, or of now", async () => {
    await host.load("epoch", greeting());
    expect((await host.inspect("epoch:1")).Created).toBe("1970-01-01T00:00:01Z");
    const before = Math.floor(Date.now() / 1000) * 1000;
    await host.load("now", { ...greeting(), created: "now" });
    const created = Date.parse((await host.inspect("now:1")).Created);
    expect(created).toBeGreaterThanOrEqual(before);
    expect(created).toBeLessThanOrEqual(Date.now());
  });

  it("3: the tag that is told is the one that Docker has", async () => {
    const { repoTags } = await host.load("tagged", { ...greeting(), tag: "x1lkw3c9" });
    const known = await host.docker.ok(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "tagged"]);
    expect(known.trim().split("\n")).toEqual(repoTags);
    expect(repoTags).toEqual(["tagged:x1lkw3c9"]);
  });

  it.each(["none", "gzip"])("4: an archive loads, compressed by %s as a whole", async (compressor) => {
    const file = await packed(compressor);
    await host.docker.ok(["load"], { stdin: { file } });
    expect(await host.run(`packed-${compressor}:1`)).toBe("Hello, world!\n");
  });

  it.skipIf(requireTools(...ENGINE_TOOLS.podman))("4: an archive loads, compressed by zstd as a whole", async () => {
    // Docker's daemon knows zstd since version 23.
    const podman = await createPodman();
    try {
      await podman.ok(["load", "--input", await packed("zstd")]);
      expect(await podman.ok([...RUN_OPTIONS, "packed-zstd:1"])).toBe("Hello, world!\n");
    } finally {
      await podman.stop();
    }
  });

  const packed = async (compressor: string) => {
    const archive = await host.archive(`packed-${compressor}`, greeting());
    if (compressor === "none") return archive;
    await runOk(tool(compressor), ["-c", archive], { stdoutFile: `${archive}.packed` });
    return `${archive}.packed`;
  };

  it("19: an image for other machines says so", async () => {
    await host.load("cross", { ...greeting(), architecture: "arm64" });
    expect((await host.inspect("cross:1")).Architecture).toBe("arm64");
    await host.load("native", greeting());
    expect((await host.inspect("native:1")).Architecture).toBe("amd64");
  });

  it("21: a name may begin with a registry", async () => {
    await host.load("registry-1.docker.io/library/prefixed", greeting());
    expect(await host.run("registry-1.docker.io/library/prefixed:1")).toBe("Hello, world!\n");
  });

  it("29: all that is made belongs to a user who is not root, by number and name", async () => {
    const { layers } = await host.load("owned", {
      ...{ uid: 1000, gid: 100, uname: "user", gname: "users" },
      contents: [host.path("hello"), host.path("busybox")],
      config: { User: "1000:100" },
    });
    expect(layers.length).toBeGreaterThan(1);
    const places = ["/nix", "/nix/store", host.path("hello"), `${host.path("hello")}/bin/hello`, "/bin/hello"];
    const owners = (await host.run("owned:1", "stat", "-c", "%u:%g", ...places)).trimEnd().split("\n");
    expect(owners).toEqual(places.map(() => "1000:100"));
    expect(await host.run("owned:1", "sh", "-c", "id -u; id -g; hello")).toBe("1000\n100\nHello, world!\n");
  });
}
