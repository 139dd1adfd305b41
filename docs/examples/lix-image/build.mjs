#!/usr/bin/env node
// Writes an image with Nix in it, as the Lix project's image is made, to standard output:
//
//   node docs/examples/lix-image/build.mjs | docker load
//
//   --user-owned     Nix belongs to a user (1000:1000) instead of root
//   --max-layers N   layers at most, by default 100
//   --spec           prints the spec file instead, for `oci-nix stream` and others
//
// README.md tells what is in the image and what this needs.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkSpec, fdSink, OciNixError, planImage, streamPlannedImage, toJson } from "oci-nix";

const HERE = import.meta.dirname;
const PROJECT = join(HERE, "../../..");

const OPTIONS = /** @type {const} */ ({
  "user-owned": { type: "boolean", default: false },
  "max-layers": { type: "string", default: "100" },
  spec: { type: "boolean", default: false },
});

/** Packages in the default profile; what they need comes along. */
const INSTALLED = ["bash", "coreutils", "curl", "git", "libxml2-utils", "nix-bin", "sqlite3"];

const ROOT = { name: "root", uid: 0, gid: 0, home: "/root" };
const USER = { name: "user", uid: 1000, gid: 1000, home: "/home/user" };
const PROFILES = "/nix/var/nix/profiles";
const CERTIFICATES = "/etc/ssl/certs/ca-bundle.crt";

/** @typedef {typeof ROOT} Owner */

try {
  const { values } = parseArgs({ options: OPTIONS });
  if (!values.spec && process.stdout.isTTY) throw new Error("an image is no text: add `| docker load` or `> FILE`");
  const spec = makeSpec(values["user-owned"] ? USER : ROOT, Number(values["max-layers"]));
  if (values.spec) process.stdout.write(`${JSON.stringify(spec, undefined, 2)}\n`);
  else await stream(spec);
} catch (error) {
  console.error(`lix-image: ${error instanceof Error ? error.message : error}`);
  if (error instanceof OciNixError && error.hint !== undefined) console.error(`hint: ${error.hint}`);
  process.exitCode = 1;
}

/** @param {ReturnType<typeof makeSpec>} spec */
async function stream(spec) {
  const plan = await planImage(checkSpec(toJson(spec), "lix-image"));
  const { imageId, bytes } = await streamPlannedImage(plan, fdSink(1, "standard output"));
  console.error(`lix-image: ${plan.repoTags[0]}, ${plan.layers.length} layers, ${bytes} bytes, ${imageId}`);
}

/** The image, in the form of a spec file. @param {Owner} owner of Nix in the image @param {number} maxLayers */
function makeSpec(owner, maxLayers) {
  const { storeRoot, packages } = JSON.parse(
    run(process.execPath, [join(PROJECT, "scripts/make-real-store.mjs"), "nix"]),
  );
  const { baseSystem, channels } = buildBaseSystem(storeRoot, packages, owner);
  const version = packages["nix-bin"].replace(/^.*?-nix-bin-/, "");
  /** @type {(comment: string, ...deps: string[]) => object} */
  const layer = (comment, ...deps) => ({ deps, history: { created_by: "docs/examples/lix-image", comment } });
  const { home } = owner;
  const bin = [`${home}/.nix-profile`, `${PROFILES}/default`].flatMap((at) => [`${at}/bin`, `${at}/usr/bin`]);
  return {
    name: owner === ROOT ? "nix" : "nix-user",
    closure: { storeRoot },
    maxLayers,
    // Bottom first, each without what those before it hold.
    layers: [
      layer("coreutils", packages.coreutils),
      layer("curl, libxml2 and sqlite", packages.curl, packages["libxml2-utils"], packages.sqlite3),
      layer("git", packages.git),
      layer("the channel", channels),
    ],
    copyToRoot: [baseSystem],
    perms: permissions(owner).map((rule) => ({ path: baseSystem, ...rule })),
    nixDatabase: ownership(owner),
    config: {
      Cmd: [`${packages.bash}/bin/bash`],
      User: `${owner.uid}:${owner.gid}`,
      WorkingDir: home,
      Env: [
        `USER=${owner.name}`,
        `HOME=${home}`,
        `PATH=${[...bin, "/bin", "/usr/bin"].join(":")}`,
        `MANPATH=${home}/.nix-profile/usr/share/man:${PROFILES}/default/usr/share/man`,
        `SSL_CERT_FILE=${CERTIFICATES}`,
        `GIT_SSL_CAINFO=${CERTIFICATES}`,
        `NIX_SSL_CERT_FILE=${CERTIFICATES}`,
        `NIX_PATH=${PROFILES}/per-user/root/channels:${home}/.nix-defexpr/channels`,
      ],
      Labels: {
        "org.opencontainers.image.title": "Nix",
        "org.opencontainers.image.description": "Nix and what it needs, from Debian's packages",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.url": "https://nixos.org",
        "org.opencontainers.image.documentation": "https://nixos.org/manual/nix/stable",
        "org.opencontainers.image.source": "https://github.com/NixOS/nix",
        "org.opencontainers.image.licenses": "LGPL-2.1-or-later",
      },
    },
    architecture: { x64: "amd64" }[process.arch] ?? process.arch,
  };
}

/**
 * Mode and owner of what is copied to the root, where not as in the store: 0555 or 0444, root's. The expressions are searched for in the
 * source path: `/root$` alone would also match `…/profiles/per-user/root`.
 *
 * @param {Owner} owner
 */
function permissions(owner) {
  const base = "-base-system";
  const rules = [
    { regex: `${base}(/var)?/tmp$`, mode: "1777" },
    { regex: `${base}/root$`, mode: "0700" },
    { regex: `${base}/etc/shadow$`, mode: "0600" },
  ];
  if (owner === ROOT) return rules;
  // Nix changes profiles, and sets the mode of per-user: only their owner may do that.
  return [
    ...rules,
    { regex: `${base}/nix/var/nix/profiles(/per-user)?$`, mode: "0755", ...ownership(owner) },
    { regex: `${base}${owner.home}(/\\.nix-defexpr)?$`, mode: "0755", ...ownership(owner) },
    { regex: `${base}${owner.home}/\\.nix-channels$`, mode: "0644", ...ownership(owner) },
  ];
}

/** @param {Owner} owner */
function ownership({ name, uid, gid }) {
  return { uid, gid, uname: name, gname: name };
}

/**
 * Lets Nix build what base-system.nix adds to the packages.
 *
 * @param {string} storeRoot @param {Record<string, string>} packages store paths by name @param {Owner} owner
 */
function buildBaseSystem(storeRoot, packages, { uid, gid }) {
  /** @param {string} text */
  const quote = (text) => JSON.stringify(text);
  const set = Object.entries(packages).map(([name, path]) => `${quote(name)} = ${quote(path)};`);
  const options = [
    ...["--store", `local?root=${storeRoot}`, "--option", "build-users-group", "", "--option", "substituters", ""],
    ...["--no-out-link", "--quiet", "--quiet", "-A", "base", "-A", "channels"],
    ...["--arg", "packages", `{ ${set.join(" ")} }`, "--arg", "installed", `[ ${INSTALLED.map(quote).join(" ")} ]`],
    ...["--arg", "user", uid === 0 ? "null" : `{ uid = ${uid}; gid = ${gid}; }`],
  ];
  // Nix's configuration on this machine must not change what is built.
  const env = { ...process.env, NIX_CONF_DIR: "/nonexistent", NIX_USER_CONF_FILES: "", NIX_CONFIG: "", NIX_PATH: "" };
  const [baseSystem, channels] = run("nix-build", [...options, join(HERE, "base-system.nix")], env).split("\n");
  return { baseSystem, channels };
}

/** @param {string} command @param {string[]} args @returns {string} its standard output */
function run(command, args, env = process.env) {
  const stdio = /** @type {const} */ (["ignore", "pipe", "inherit"]);
  const { status, signal, error, stdout } = spawnSync(command, args, { stdio, env, encoding: "utf8" });
  if (error !== undefined) {
    throw new Error(`cannot run ${command}: ${error.message}; ./scripts/setup --tests installs it`);
  }
  if (status !== 0) throw new Error(`${command} ended with ${signal ?? `exit status ${status}`}`);
  return stdout;
}
