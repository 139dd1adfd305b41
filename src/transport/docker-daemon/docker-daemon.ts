import { closeSync } from "node:fs";
import { fileSink } from "../../core/byte-sink.js";
import { OciNixError } from "../../core/errors.js";
import { isJsonObject } from "../../core/json.js";
import { archiveTarget } from "../archive.js";
import { streamOutput } from "../archive-output.js";
import { readOpenArchive } from "../archive-reader.js";
import type { FinishedImage, ImageSource, ImageTarget } from "../image.js";
import type { ImageChoice } from "../oci-layout-reader.js";
import { openNameless } from "../unpacked-file.js";
import { type DockerEngine, type DockerEngineOptions, type EngineLoad, openDockerEngine } from "./engine.js";
import { dockerHost, type Environment } from "./host.js";
import { reasonOf } from "./http.js";
import { EngineLayers } from "./layers.js";

export interface DockerDaemonOptions extends DockerEngineOptions {
  /** What says where the daemon is; by default the process's own. */
  readonly environment?: Environment | undefined;
}

/** A target that counts. */
export interface DockerDaemonTarget extends ImageTarget {
  /** Bytes that went to the daemon. */
  readonly sent: number;
}

/**
 * Loads one image into a Docker daemon, or a podman service: see `dockerHost` for which. It goes as an archive into one request, without
 * the lowest layers where the daemon has them unpacked. Where it cannot do without them after all, the whole archive follows.
 * @param names `name:tag` each; the image gets all of them
 * @throws OciNixError `usage` for a name that Docker gives no image; as `dockerHost` and `openDockerEngine`
 */
export async function openDockerDaemonTarget(
  names: readonly [string, ...string[]],
  { environment, ...options }: DockerDaemonOptions = {},
): Promise<DockerDaemonTarget> {
  checkAreNames(names);
  const engine = await openDockerEngine(dockerHost(environment), options);
  const title = `docker-daemon:${names[0]}`;
  const layers = new EngineLayers(engine, names);
  let archive = beginArchive(engine, names, title);
  let sentBefore = 0;
  let leavesOut = false;
  let isSecond = false;

  /** @returns what is wrong; undefined where the daemon has the image */
  const load = async (image: FinishedImage): Promise<string | undefined> => {
    const refused = await archive.end(image);
    if (refused !== undefined) return `refuses the image: ${refused}`;
    if (leavesOut && !(await layers.isWhole(names[0], image))) return "has not all layers of the image";
    for (const name of names) {
      const wrong = await wrongName(engine, name, image);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };

  return {
    ...archive.target,
    title,
    get sent() {
      return sentBefore + archive.load.sent;
    },
    async countHeld(diffIds) {
      const count = isSecond ? 0 : await layers.countHeld(diffIds);
      leavesOut = count > 0;
      return count;
    },
    has: (blob) => archive.target.has(blob),
    begin: (known) => archive.target.begin(known),
    async finish(images, writeAgain) {
      const [image] = images as readonly [FinishedImage];
      let wrong = await load(image);
      if (wrong !== undefined && leavesOut && writeAgain !== undefined) {
        // Layers may have been removed since it was asked for them.
        sentBefore = archive.load.sent;
        archive = beginArchive(engine, names, title);
        isSecond = true;
        await writeAgain();
        wrong = await load(image);
      }
      if (wrong !== undefined) throw new OciNixError("output", `${title}: ${engine.title} ${wrong}`);
    },
    async close() {
      archive.load.abort();
      engine.close();
    },
  };
}

/** What Docker takes for an image's ID is no name. */
function checkAreNames(names: readonly string[]): void {
  const id = names.find((name) => name.startsWith("sha256:"));
  if (id === undefined) return;
  throw new OciNixError("usage", `docker-daemon:${id}: an image cannot be given an ID`, {
    hint: "name it: docker-daemon:NAME:TAG",
  });
}

interface LoadedArchive {
  readonly target: ImageTarget;
  readonly load: EngineLoad;
  /** @returns what the daemon has against it */
  end(image: FinishedImage): Promise<string | undefined>;
}

function beginArchive(engine: DockerEngine, names: readonly string[], title: string): LoadedArchive {
  const load = engine.load();
  const members = streamOutput(load);
  let refused: string | undefined;
  const output = {
    ...members,
    async end() {
      await members.end();
      refused = await load.end();
    },
    close: () => load.abort(),
  };
  const target = archiveTarget(output, { kind: "docker-archive", names, title });
  return {
    target,
    load,
    async end(image) {
      await target.finish([image]);
      return refused;
    },
  };
}

/** Docker's image ID is the config's digest, or the manifest's with containerd's store. */
async function wrongName(engine: DockerEngine, name: string, image: FinishedImage): Promise<string | undefined> {
  const answer = await engine.get(`/images/${name}/json`);
  if (answer.status !== 200) return `has taken the image, but has no ${name}: ${reasonOf(answer)}`;
  const id = isJsonObject(answer.json) ? answer.json.get("Id") : undefined;
  const { config, manifest } = image;
  if (id === config.digest || id === manifest.digest) return undefined;
  return `calls another image ${name}: ${String(id)}, not ${config.digest}`;
}

/**
 * Reads an image from a Docker daemon: it is saved to a temporary file without a name.
 * @param name `name:tag`
 * @throws OciNixError as {@link openDockerDaemonTarget} and `readArchive`; `not-found` where the daemon has no such image
 */
export async function readDockerDaemon(
  name: string,
  { environment, platform, takesDamaged, ...options }: DockerDaemonOptions & Omit<ImageChoice, "ref"> = {},
): Promise<ImageSource> {
  const engine = await openDockerEngine(dockerHost(environment), options);
  const fd = openNameless();
  const file = { fd, close: () => closeSync(fd) };
  try {
    const sink = fileSink(fd, "a temporary file");
    for await (const piece of engine.save(name)) sink.write(piece);
  } catch (error) {
    file.close();
    throw error;
  } finally {
    engine.close();
  }
  return await readOpenArchive(file, `docker-daemon:${name}`, { platform, takesDamaged, signal: options.signal });
}
