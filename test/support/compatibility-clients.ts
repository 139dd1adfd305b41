import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type CommandResult, expectOk, runCommand, runOk, startCommand } from "./command.js";
import { createPodman, ENGINE_TOOLS, type Engine, RUN_OPTIONS, startContainerd, startDocker } from "./daemons.js";
import { tool } from "./tools.js";

/** Something that we wrote. */
export type Medium = {
  /** The images in it, for clients that have to be told: in an OCI layout its tag. Undefined for the only one. */
  readonly refs: readonly (string | undefined)[];
} & (
  | { readonly kind: "oci"; readonly directory: string }
  | { readonly kind: "oci-archive" | "docker-archive"; readonly file: string }
  /** Comes out of a pipe, anew each time. */
  | { readonly kind: "oci-archive" | "docker-archive"; readonly open: () => Piped }
);

export interface Piped {
  readonly stdout: Readable;
  readonly ended: Promise<CommandResult>;
}

/** What a client makes of a medium. */
export type Outcome =
  | { readonly images: readonly TakenImage[] }
  /** In the client's own words. */
  | { readonly refused: string };

/** An image as a client has it. */
export interface TakenImage {
  /** What the client calls it; undefined where it takes what it is told. */
  readonly name: string | undefined;
  /** Digest of the config. */
  readonly imageId: string;
  readonly diffIds: readonly string[];
  /** What a container of it prints; undefined for a client that runs none. */
  readonly output: string | undefined;
}

/** A client, with nothing in it. */
export interface Client {
  readonly version: string;
  /** Has it take a medium, and looks at and runs what it then has; afterwards that is gone. */
  take(medium: Medium): Promise<Outcome>;
  /** For a client that something can be written into, by a program with this environment. Afterwards that is gone. */
  readonly takeWritten?: (write: (environment: Readonly<Record<string, string>>) => Promise<void>) => Promise<Outcome>;
  stop(): Promise<void>;
}

/** skopeo's copy in Docker's format, copied back. */
export const VIA_DOCKER = "skopeo, to docker-archive: and back";

/** How to start each, and what that needs. */
export const CLIENTS: Readonly<
  Record<string, { readonly tools: readonly string[]; readonly start: () => Promise<Client> }>
> = {
  dockerd: { tools: [...ENGINE_TOOLS.docker, "tar"], start: startDockerClient },
  podman: { tools: ENGINE_TOOLS.podman, start: startPodmanClient },
  containerd: { tools: [...ENGINE_TOOLS.containerd, "runc", "tar"], start: startContainerdClient },
  skopeo: { tools: ["skopeo"], start: () => startSkopeoClient(["oci:"]) },
  [VIA_DOCKER]: { tools: ["skopeo"], start: () => startSkopeoClient(["docker-archive:", "oci:"]) },
  umoci: { tools: ["umoci", "tar", "chroot", "root"], start: startUmociClient },
};

async function startDockerClient(): Promise<Client> {
  const docker = await startDocker();
  const version = await docker.ok(["version", "--format", "{{.Server.Version}}"]);
  return {
    version: versionIn(version),
    async take(medium) {
      const loaded = await load(docker, ["load"], medium);
      if (loaded.status !== 0) return { refused: loaded.stderr };
      const images = await storedImages(docker);
      await docker.ok(["image", "prune", "--all", "--force"]);
      return { images };
    },
    stop: docker.stop,
  };
}

async function startPodmanClient(): Promise<Client> {
  const podman = await createPodman();
  const look = async (): Promise<Outcome> => {
    const images = await storedImages(podman);
    await podman.ok(["rmi", "--all", "--force"]);
    return { images };
  };
  return {
    version: versionIn(await podman.ok(["--version"])),
    async take(medium) {
      const loaded = isPulled(medium)
        ? await pullAll(
            podman,
            medium.refs.map((ref) => placeOf(medium, ref)),
          )
        : await load(podman, ["load"], medium);
      return loaded.status === 0 ? await look() : { refused: loaded.stderr };
    },
    async takeWritten(write) {
      await write(podman.environment);
      return await look();
    },
    stop: podman.stop,
  };
}

/** `podman load` reads archives; OCI archives only of one image. */
function isPulled(medium: Medium): boolean {
  return medium.kind === "oci" || (medium.kind === "oci-archive" && medium.refs.length > 1);
}

/** The images of an engine with Docker's command line, by name. */
async function storedImages(engine: Engine): Promise<readonly TakenImage[]> {
  const list = await engine.ok(["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
  const images: TakenImage[] = [];
  for (const line of list.trim().split("\n").filter(Boolean).sort()) {
    const [name = "", imageId = ""] = line.split(" ");
    const diffIds = JSON.parse(await engine.ok(["image", "inspect", "--format", "{{json .RootFS.Layers}}", imageId]));
    const isNamed = !name.startsWith("<none>");
    const output = await engine.ok([...RUN_OPTIONS, isNamed ? name : imageId]);
    images.push({ name: isNamed ? name : "(no name)", imageId, diffIds, output });
  }
  return images;
}

async function pullAll(podman: Engine, sources: readonly string[]): Promise<CommandResult> {
  const results: CommandResult[] = [];
  for (const source of sources) results.push(await podman.run(["pull", source]));
  return results.find(({ status }) => status !== 0) ?? (results[0] as CommandResult);
}

async function startContainerdClient(): Promise<Client> {
  const containerd = await startContainerd();
  let containers = 0;
  return {
    version: versionIn(await containerd.ok(["--version"])),
    async take(medium) {
      const loaded = await load(containerd, ["image", "import"], medium, "-");
      if (loaded.status !== 0) return { refused: loaded.stderr };
      const names = (await containerd.ok(["image", "ls", "--quiet"])).trim().split("\n").filter(Boolean).sort();
      const images: TakenImage[] = [];
      for (const name of names) {
        const { imageId, diffIds } = await contentOf(containerd, name);
        const output = await containerd.ok(["run", "--rm", name, `c${++containers}`]);
        images.push({ name, imageId, diffIds, output });
      }
      await containerd.ok(["image", "rm", "--sync", ...names]);
      return { images };
    },
    stop: containerd.stop,
  };
}

async function contentOf(containerd: Engine, name: string): Promise<Pick<TakenImage, "imageId" | "diffIds">> {
  const line = (await containerd.ok(["image", "ls", `name==${name}`])).split("\n")[1] ?? "";
  const read = async (digest: string) => JSON.parse(await containerd.ok(["content", "get", digest]));
  const manifest = await read(/sha256:[0-9a-f]{64}/.exec(line)?.[0] ?? "");
  const { rootfs } = await read(manifest.config.digest);
  return { imageId: manifest.config.digest, diffIds: rootfs.diff_ids };
}

/** Copies from one place to the next, and looks at what the last one, which is a layout, then has. */
async function startSkopeoClient(places: readonly ("oci:" | "docker-archive:")[]): Promise<Client> {
  const directory = mkdtempSync(join(tmpdir(), "skopeo-"));
  const skopeo = tool("skopeo");
  const copy = ["copy", "--insecure-policy"];
  let copies = 0;
  /** Reading a pipe takes a real one: node's own "pipe" is a socket. */
  const copyFrom = async (medium: Medium, ref: string | undefined, to: string) => {
    const args = [...copy, placeOf(medium, ref), to];
    if (!("open" in medium)) return await runCommand(skopeo, args);
    const { stdout, ended } = medium.open();
    const [copied] = await Promise.all([
      runCommand("sh", ["-c", 'cat | "$@"', "sh", skopeo, ...args], { stdin: stdout }),
      ended,
    ]);
    return copied;
  };
  return {
    version: versionIn(await runOk(skopeo, ["--version"])),
    async take(medium) {
      const images: TakenImage[] = [];
      for (const ref of medium.refs) {
        const made = places.map((kind) => `${kind}${join(directory, String(++copies))}:copied:1`);
        const copied = await copyFrom(medium, ref, made[0] as string);
        if (copied.status !== 0) return { refused: copied.stderr };
        for (const [i, to] of made.slice(1).entries()) await runOk(skopeo, [...copy, made[i] as string, to]);
        const layout = made.at(-1) as string;
        const { rootfs } = JSON.parse(await runOk(skopeo, ["inspect", "--config", layout]));
        const { config } = JSON.parse(await runOk(skopeo, ["inspect", "--raw", layout]));
        images.push({ name: undefined, imageId: config.digest, diffIds: rootfs.diff_ids, output: undefined });
      }
      return { images };
    },
    stop: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

async function startUmociClient(): Promise<Client> {
  const directory = mkdtempSync(join(tmpdir(), "umoci-"));
  const umoci = tool("umoci");
  let bundles = 0;
  return {
    version: versionIn(await runOk(umoci, ["--version"])),
    async take(medium) {
      const layout = medium.kind === "oci" ? medium.directory : join(directory, `layout${++bundles}`);
      if (medium.kind !== "oci") await extract(medium, layout);
      const images: TakenImage[] = [];
      const listed = await runCommand(umoci, ["ls", "--layout", layout]);
      if (listed.status !== 0) return { refused: listed.stderr };
      for (const name of String(listed.stdout).trim().split("\n")) {
        const bundle = join(directory, `bundle${++bundles}`);
        const unpacked = await runCommand(umoci, ["unpack", "--image", `${layout}:${name}`, bundle]);
        if (unpacked.status !== 0) return { refused: unpacked.stderr };
        const { args } = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")).process;
        const output = await runOk("chroot", [join(bundle, "rootfs"), ...args]);
        const stat = JSON.parse(await runOk(umoci, ["stat", "--json", "--image", `${layout}:${name}`]));
        const diffIds = stat.history.map((entry: { readonly diff_id: string }) => entry.diff_id);
        const imageId = configOf(layout, name);
        images.push({ name, imageId, diffIds, output });
      }
      return { images };
    },
    stop: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** umoci does not tell. */
function configOf(layout: string, name: string): string {
  const read = (path: string) => JSON.parse(readFileSync(join(layout, path), "utf8"));
  const { manifests } = read("index.json") as {
    readonly manifests: readonly { readonly digest: string; readonly annotations: Readonly<Record<string, string>> }[];
  };
  const entry = manifests.find(({ annotations }) => annotations["org.opencontainers.image.ref.name"] === name);
  return read(`blobs/${entry?.digest.replace(":", "/")}`).config.digest;
}

async function extract(medium: Exclude<Medium, { readonly kind: "oci" }>, directory: string): Promise<void> {
  await runOk("mkdir", [directory]);
  if ("file" in medium) {
    await runOk("tar", ["-C", directory, "-xf", medium.file]);
    return;
  }
  const { stdout, ended } = medium.open();
  await Promise.all([runOk("tar", ["-C", directory, "-xf", "-"], { stdin: stdout }), ended]);
}

/** Gives a medium to an engine: a layout as an archive of the directory, a file by its name, a pipe as it is. */
async function load(
  engine: Engine,
  command: readonly string[],
  medium: Medium,
  standardInput?: string,
): Promise<CommandResult> {
  const flag = standardInput === undefined ? ["--input"] : [];
  if ("file" in medium) return await engine.run([...command, ...flag, medium.file]);
  const { stdout, ended } =
    medium.kind === "oci"
      ? startCommand("tar", ["-C", medium.directory, "-c", "blobs", "index.json", "oci-layout"])
      : medium.open();
  const [loaded, written] = await Promise.all([
    engine.run(standardInput === undefined ? command : [...command, standardInput], { stdin: stdout }),
    ended,
  ]);
  if (loaded.status === 0) expectOk(written, "writing into the pipe");
  return loaded;
}

/** The medium as skopeo and Podman name it. */
function placeOf(medium: Medium, ref: string | undefined): string {
  const path = medium.kind === "oci" ? medium.directory : "file" in medium ? medium.file : "/dev/stdin";
  return `${medium.kind}:${path}${ref === undefined ? "" : `:${ref}`}`;
}

function versionIn(text: string): string {
  return /\d+\.\d+(\.\d+)?/.exec(text)?.[0] ?? text.trim();
}
