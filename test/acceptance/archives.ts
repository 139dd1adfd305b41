import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { RUN_OPTIONS } from "../support/daemons.js";
import { dynamicPrograms } from "../support/nix-system.js";
import { REAL_STORE_TOOLS, realStore } from "../support/real-store.js";
import { requireTools, tool } from "../support/tools.js";

/** The acceptance points about archives of several images, and of none. */
export function archivePoints(host: Acceptance): void {
  it("23: merged images all load: of any compression, with a tag or without, with their owners", async () => {
    const image = (name: string, uid: number) => ({
      contents: [host.path("busybox"), host.path("hello")],
      uid,
      config: { Env: [`NAME=${name}`] },
    });
    const plain = await host.archive("merged-plain", image("plain", 0));
    const gzip = host.file("merged-gzip.tar.gz");
    await runOk(tool("gzip"), ["-c", await host.archive("merged-gzip", image("gzip", 1000))], { stdoutFile: gzip });
    const zstd = host.file("merged-untagged.tar.zst");
    const untagged = { ...image("zstd", 2000), name: undefined, tag: undefined };
    await runOk(tool("zstd"), ["-c", await host.archive("merged-untagged", untagged)], { stdoutFile: zstd });
    const all = host.file("merged.tar");
    const sources = [plain, gzip, zstd].map((file) => `docker-archive:${file}`);
    expectOk(await runCli(["merge", ...sources, "--to", `docker-archive:${all}`]), "merge");
    const loaded = await host.docker.ok(["load"], { stdin: { file: all } });
    // Of the last image, which has no name.
    const id = loaded.trimEnd().split(" ").at(-1) as string;
    for (const [image, name, owner] of [
      ["merged-plain:1", "plain", 0],
      ["merged-gzip:1", "gzip", 1000],
      [id, "zstd", 2000],
    ] as const) {
      expect(await host.run(image, "sh", "-c", "hello; echo $NAME; stat -c %u /bin/hello")).toBe(
        `Hello, world!\n${name}\n${owner}\n`,
      );
    }
  });

  it.skipIf(requireTools(...REAL_STORE_TOOLS))(
    "25: the exported file system has ./bin/bash, which runs",
    async () => {
      const store = await realStore("nix");
      const bash = store.packages.bash as string;
      const { files, env } = dynamicPrograms(store);
      const archive = await host.archive("bash", {
        closure: { storeRoot: store.storeRoot },
        copyToRoot: [bash],
        files,
      });
      const exported = host.file("bash-root.tar");
      expectOk(await runCli(["export", `docker-archive:${archive}`, "-o", exported]), "export");
      expect((await runOk("tar", ["-tf", exported])).split("\n")).toContain("./bin/bash");
      await host.docker.ok(["import", exported, "exported:1"]);
      const options = [...RUN_OPTIONS, ...env.flatMap((variable) => ["--env", variable])];
      expect(await host.docker.ok([...options, "exported:1", "/bin/bash", "-c", "echo $BASH"])).toBe("/bin/bash\n");
    },
    600_000,
  );
}
