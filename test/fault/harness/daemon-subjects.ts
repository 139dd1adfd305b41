import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type CommandResult, type RunningCommand, runCommand, runOk } from "../../support/command.js";
import { startDocker } from "../../support/daemons.js";
import { tool } from "../../support/tools.js";
import { checkSaved, configOf } from "./images.js";
import { buildArgs, KEEP, type Made, ok, reference, stateOf } from "./subject.js";
import type { Place, World } from "./world.js";

/** What is common to commands whose image is loaded into the place's own daemon as `app:1`. */
async function atDaemon(world: World): Promise<Pick<Made, "prepare" | "dispose" | "state" | "read" | "checkRival">> {
  const old = await reference(world, "old-loaded.tar", async (file) => {
    // Several subjects ask for it at the same time.
    rmSync(file, { force: true });
    await ok(world, ["copy", `oci:${world.source}:old`, `docker-archive:${file}:app:1`, "--quiet"]);
  });
  const digests = { old: configOf(world.source, "old"), new: configOf(world.source, "new") };
  const docker = ({ id }: Place) => {
    const found = world.daemons.get(id);
    if (found === undefined) throw new Error(`${id} has no daemon`);
    return found;
  };
  const idOf = async (place: Place, name: string) =>
    (await docker(place).ok(["image", "inspect", "--format", "{{.Id}}", name])).trim();
  return {
    async prepare(place) {
      const daemon = await startDocker();
      world.daemons.set(place.id, daemon);
      symlinkSync(daemon.host.replace("unix://", ""), place.dockerSocket);
      await daemon.ok(["load", "--quiet", "--input", old]);
    },
    async dispose({ id }) {
      await world.daemons.get(id)?.stop();
      world.daemons.delete(id);
    },
    state: async (place) => stateOf(await idOf(place, "app:1"), digests),
    async read(place) {
      const names = await docker(place).ok(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
      for (const name of names.trim().split("\n")) {
        if (name === "<none>:<none>") continue;
        const directory = join(place.directory, "saved");
        mkdirSync(directory);
        // By its ID: the daemon may still be loading what a killed client had sent whole, and then gives the name to that.
        const id = await idOf(place, name);
        await docker(place).ok(["save", "--output", join(directory, "image.tar"), id]);
        await runOk("tar", ["-xf", "image.tar"], { cwd: directory });
        checkSaved(directory, id);
        rmSync(directory, { recursive: true });
      }
    },
    async checkRival(place) {
      if ((await idOf(place, "other:1")) !== digests.old) throw new Error("the rival's image is another");
    },
  };
}

export async function buildDaemon(world: World): Promise<Made> {
  const { oldRoot, newRoot } = world.store;
  const args = (place: Place, root: string, name: string) => [
    ...["build", ...buildArgs(place, root), "--to", `docker-daemon:${name}:1`, ...KEEP],
  ];
  return {
    ...{ inputs: "store", writes: "daemon", hasCache: true, ...(await atDaemon(world)) },
    args: (place) => args(place, newRoot, "app"),
    rival: (place) => args(place, oldRoot, "other"),
  };
}

/** `oci-nix stream … | docker load` */
export async function streamLoad(world: World): Promise<Made> {
  const { checkRival: _, ...common } = await atDaemon(world);
  const args = (place: Place) => ["stream", ...buildArgs(place, world.store.newRoot)];
  return {
    ...{ inputs: "store", writes: "daemon", hasCache: true, ...common },
    args,
    rival: args,
    receive: load,
  };
}

async function load({ stdout }: RunningCommand, { dockerSocket, directory }: Place): Promise<CommandResult> {
  const args = ["--config", directory, "--host", `unix://${dockerSocket}`, "load", "--quiet"];
  const result = await runCommand(tool("docker"), args, { stdin: stdout });
  // As a pipe does of which nobody reads any more.
  stdout.destroy();
  return { ...result, stderr: `error: ${result.stderr}` };
}
