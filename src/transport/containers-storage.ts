import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeErrno, OciNixError } from "../core/errors.js";
import { runProgram } from "../core/process.js";
import type { ImageTarget } from "./image.js";
import { openOciLayoutTarget } from "./oci-layout.js";

/** What podman goes by: whose storage it is, where, and how it reaches it. */
const ENVIRONMENT = [
  "HOME",
  "USER",
  "LOGNAME",
  "TMPDIR",
  "XDG_RUNTIME_DIR",
  "XDG_DATA_HOME",
  "XDG_CONFIG_HOME",
  "DBUS_SESSION_BUS_ADDRESS",
  "CONTAINERS_CONF",
  "CONTAINERS_STORAGE_CONF",
  "CONTAINERS_REGISTRIES_CONF",
  "STORAGE_DRIVER",
  "STORAGE_OPTS",
  "CONTAINER_HOST",
] as const;

/** The image's name in the layout that podman reads. */
const REF = "image";

/**
 * Writes one image into podman's storage: podman reads it from an OCI layout in a temporary directory, which is removed afterwards.
 * @param ref the image's name in full
 * @throws OciNixError `not-found` where podman is missing; `output` where the temporary directory cannot be made
 */
export function openContainersStorageTarget(
  ref: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ImageTarget {
  // Podman names what it reads after the directory, so the name must do as one of an image.
  const directory = join(tmpdir(), `oci-nix-${randomBytes(8).toString("hex")}`);
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    throw new OciNixError("output", `cannot make a directory in ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory that can be written to",
      cause: error,
    });
  }
  const podman = (...args: readonly string[]) =>
    runProgram({ program: "podman", args, debianPackage: "podman" }, { environment: ENVIRONMENT, signal });
  const layout = openOciLayoutTarget(directory, REF, { signal });
  return {
    ...layout,
    title: `containers-storage:${ref}`,
    async finish(images) {
      if (images.length !== 1) {
        throw new OciNixError("usage", `containers-storage:${ref} takes one image, not ${images.length}`, {
          hint: "choose one: docker-archive:FILE:NAME:TAG",
        });
      }
      await layout.finish(images);
      const id = (await podman("pull", "--quiet", `oci:${directory}:${REF}`)).trim();
      await podman("tag", id, ref);
      await podman("untag", id, `localhost${directory}:latest`);
    },
    async close() {
      await layout.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
