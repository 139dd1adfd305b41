import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
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

/**
 * Writes one image into podman's storage: podman reads it from an OCI layout in a temporary directory, which is removed afterwards.
 * @param ref the image's name in full
 * @throws OciNixError `not-found` where podman is missing; `output` where the temporary directory cannot be made
 */
export function openContainersStorageTarget(
  ref: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ImageTarget {
  // Podman names what it reads after the layout's path as it is given, or, in newer versions, after the name in the layout. Either has
  // to do as an image's name, which a temporary directory's may not: so it is one relative path and name that nobody else has.
  const passing = `oci-nix-${randomBytes(8).toString("hex")}`;
  const parent = resolve(tmpdir());
  const directory = join(parent, passing);
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    throw new OciNixError("output", `cannot make a directory in ${tmpdir()}: ${describeErrno(error)}`, {
      hint: "set TMPDIR to a directory that can be written to",
      cause: error,
    });
  }
  const podman = (...args: readonly string[]) =>
    runProgram(
      { program: "podman", args, debianPackage: "podman" },
      { environment: ENVIRONMENT, directory: parent, signal },
    );
  const layout = openOciLayoutTarget(directory, passing, { signal });
  return {
    ...layout,
    title: `containers-storage:${ref}`,
    takesOne: true,
    async finish(images) {
      await layout.finish(images);
      const id = (await podman("pull", "--quiet", `oci:${passing}:${passing}`)).trim();
      await podman("tag", id, ref);
      const names = await podman("image", "inspect", "--format", '{{join .RepoTags "\\n"}}', id);
      const ours = names.split("\n").filter((name) => name.includes(passing));
      if (ours.length > 0) await podman("untag", id, ...ours);
    },
    async close() {
      await layout.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
