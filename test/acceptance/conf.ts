import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { runOk } from "../support/command.js";
import {
  CUSTOMISATION,
  conf,
  hexSha256,
  makeCustomisation as makeSampleCustomisation,
  readConfCases,
  writeConfCase,
} from "../support/confs.js";
import { copySampleStore } from "../support/sample-store.js";
import { tool } from "../support/tools.js";
import { makeStore, readVectors, type TreeVector } from "../support/vectors.js";

const BASE = "/nix/store/11111111111111111111111111111111-base.tar";
const CONFIG = {
  Env: ["B=own", "C=own"],
  Cmd: ["sh", "-c", "echo by default"],
  User: "12345:12345",
  WorkingDir: "/data",
};
/** In a directory that becomes the root of an image. */
const FAKE_ROOT_COMMANDS = `mkdir -p data
echo kept > data/file
chmod 0640 data/file
chown -R 12345:12345 data`;

const vectors = readVectors<TreeVector>("trees.json");

/** Images of nixpkgs' conf.json with a base, owners and fakeRootCommands, and images of specs that say the same. */
export function confTests(host: Acceptance): void {
  it.each(readConfCases())("has the image ID in Docker that nixpkgs' program gave it: $title", async (golden) => {
    const directory = mkdtempSync(host.file("case-"));
    const { storeRoot } = copySampleStore(directory);
    await makeSampleCustomisation(storeRoot);
    const input = await writeConfCase(directory, { base: golden.base, conf: golden.conf, storeRoot });
    const { repoTags } = await host.loadInput([input, "--store-root", storeRoot, "--name", "conf-case"]);
    const { Id, RootFS } = await host.inspect(repoTags[0] as string);
    expect({ Id, Layers: RootFS.Layers }).toEqual({ Id: golden.image, Layers: golden.diffIds });
  });

  it.each([4, 7, 9])(
    "loads the layers that nixpkgs' program made of tree vector %i, and gives the same image by a spec",
    async (index) => {
      const { storePaths, layers, ownership, dockertools } = vectors[index] as TreeVector;
      const store = makeStore(storePaths);
      try {
        const base = `conf-base-${index}`;
        await host.load(base, {
          contents: [host.path("busybox")],
          config: { Env: ["A=base", "B=base"], User: "1:1", Cmd: ["never"] },
        });
        await host.docker.ok(["save", "-o", join(store.root, BASE), `${base}:1`]);
        const customisation = await makeCustomisation(store.root);
        const input = join(store.root, "conf.json");
        const fields = {
          from_image: BASE,
          store_layers: layers,
          config: CONFIG,
          ...ownership,
          repo_tag: `conf-${index}:1`,
        };
        writeFileSync(input, JSON.stringify(conf(fields)));
        await host.loadInput([input, "--store-root", store.root]);
        const made = await host.inspect(`conf-${index}:1`);
        const below = (await host.inspect(`${base}:1`)).RootFS.Layers;
        expect(made.RootFS.Layers).toEqual([...below, ...dockertools, customisation]);

        const { uid, gid, ...others } = ownership;
        const graph = join(store.root, "graph.json");
        writeFileSync(graph, JSON.stringify(Object.keys(storePaths).map((path) => ({ path, references: [] }))));
        await host.load(`spec-${index}`, {
          ...{ tarProfile: "dockertools", fromImage: `docker-archive:${join(store.root, BASE)}`, config: CONFIG },
          ...{ ...others, uid: Number(uid ?? 0), gid: Number(gid ?? 0) },
          closure: { graph, storeRoot: store.root },
          layers: layers.map((deps) => ({ deps })),
          fakeRootCommands: FAKE_ROOT_COMMANDS,
        });
        const ours = await host.inspect(`spec-${index}:1`);
        expect(ours.RootFS.Layers).toEqual(made.RootFS.Layers);
        for (const key of ["Config", "Created", "Architecture"] as const) expect(ours[key]).toEqual(made[key]);

        const places = ["/data", "/data/file", "/nix/store", ...Object.keys(storePaths)];
        const script = `id -u; id -g; pwd; cat file; env; stat -c '%u:%g %a %F %n' ${places.map((place) => `'${place}'`).join(" ")}`;
        const lines = async (image: string) => {
          const output = await host.run(image, "sh", "-c", script);
          return output
            .trimEnd()
            .split("\n")
            .filter((line) => !line.startsWith("HOSTNAME="));
        };
        const found = await lines(`conf-${index}:1`);
        expect(await lines(`spec-${index}:1`)).toEqual(found);
        expect(found.slice(0, 4)).toEqual(["12345", "12345", "/data", "kept"]);
        expect(found).toEqual(expect.arrayContaining(["A=base", "B=own", "C=own"]));
        expect(found).toContain("12345:12345 640 regular file /data/file");
        expect(found).toContain(`${uid ?? 0}:${gid ?? 0} 755 directory /nix/store`);
        expect(await host.run(`conf-${index}:1`)).toBe("by default\n");
      } finally {
        store.remove();
      }
    },
  );
}

/** As nixpkgs makes it of fakeRootCommands; gives its diffID. */
async function makeCustomisation(storeRoot: string): Promise<string> {
  const [root, made] = [join(storeRoot, "old_out"), join(storeRoot, CUSTOMISATION)];
  mkdirSync(root);
  mkdirSync(made);
  const pack = "tar --sort name --exclude=./proc --numeric-owner --mtime @315532800 --hard-dereference -cf";
  const archive = join(made, "layer.tar");
  await runOk(tool("fakeroot"), ["bash", "-euc", `umask 022\n${FAKE_ROOT_COMMANDS}\n${pack} '${archive}' .`], {
    cwd: root,
  });
  const sha256 = hexSha256(readFileSync(archive));
  writeFileSync(join(made, "checksum"), `${sha256}\n`);
  return `sha256:${sha256}`;
}
