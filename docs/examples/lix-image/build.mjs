#!/usr/bin/env node
// Writes an image with Nix in it, as the Lix project's image is made, to standard output:
//
//   node docs/examples/lix-image/build.mjs | docker load
//
//   --user-owned   Nix belongs to a user (1000:1000) instead of root
//   --spec         prints the spec file instead, for `oci-nix stream` and others
//
// README.md tells what is in the image and what this needs.

import { spawnSync } from "node:child_process";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { checkSpec, fdSink, OciNixError, planImage, streamPlannedImage, toJson } from "oci-nix";

const HERE = import.meta.dirname;
const PROJECT = join(HERE, "../../..");
const OPTIONS = /** @type {const} */ ({ "user-owned": { type: "boolean" }, spec: { type: "boolean" } });

const INSTALLED = ["bash", "coreutils", "curl", "git", "libxml2-utils", "nix-bin", "sqlite3"];
const USER = { name: "user", uid: 1000, gid: 1000 };

try {
  const options = parseArgs({ options: OPTIONS }).values;
  const spec = specOf(makeStore(), options["user-owned"] ? USER : undefined);
  if (options.spec) process.stdout.write(`${JSON.stringify(spec, undefined, 2)}\n`);
  else await stream(spec);
} catch (error) {
  console.error(`lix-image: ${error instanceof Error ? error.message : error}`);
  if (error instanceof OciNixError && error.hint !== undefined) console.error(`hint: ${error.hint}`);
  process.exitCode = 1;
}

/** @param {object} spec */
async function stream(spec) {
  const plan = await planImage(checkSpec(toJson(spec), "lix-image"));
  const { imageId, bytes } = await streamPlannedImage(plan, fdSink(1, "standard output"));
  console.error(`lix-image: ${plan.repoTags[0]}, ${plan.layers.length} layers, ${bytes} bytes, ${imageId}`);
}

/**
 * A store that real Nix built: Debian's packages, as scripts/make-real-store.mjs keeps them, and what base-system.nix adds to them.
 *
 * @returns {{storeRoot: string, packages: Record<string, string>, build: (attribute: string, user: object | undefined) => string}}
 */
function makeStore() {
  const { storeRoot, packages } = JSON.parse(
    run(process.execPath, [join(PROJECT, "scripts/make-real-store.mjs"), "nix"]),
  );
  const nix = ["--store", `local?root=${storeRoot}`, "--option", "build-users-group", "", "--option", "substituters", ""];
  // Nix's configuration on this machine must not change what is built.
  const env = { ...process.env, NIX_CONF_DIR: "/nonexistent", NIX_USER_CONF_FILES: "", NIX_CONFIG: "", NIX_PATH: "" };
  const quoted = (text) => JSON.stringify(text);
  const set = Object.entries(packages).map(([name, path]) => `${quoted(name)} = ${quoted(path)};`);
  const build = (attribute, user) => {
    const args = [
      ...["--arg", "packages", `{ ${set.join(" ")} }`, "--arg", "installed", `[ ${INSTALLED.map(quoted).join(" ")} ]`],
      ...["--arg", "user", user === undefined ? "null" : `{ uid = ${user.uid}; gid = ${user.gid}; }`],
    ];
    const options = [...nix, "--no-out-link", "--quiet", "--quiet", ...args, "-A", attribute];
    return run("nix-build", [...options, join(HERE, "base-system.nix")], env).trim();
  };
  return { storeRoot, packages, build };
}

function specOf({ storeRoot, packages, build }, user) {
  const baseSystem = build("base", user);
  const version = basename(packages["nix-bin"]).replace(/^.*?-nix-bin-/, "");
  const home = user === undefined ? "/root" : `/home/${user.name}`;
  const profiles = "/nix/var/nix/profiles";
  const bin = [`${home}/.nix-profile`, `${profiles}/default`].flatMap((profile) => [
    `${profile}/bin`,
    `${profile}/usr/bin`,
  ]);
  const certificates = "/etc/ssl/certs/ca-bundle.crt";
  const history = (what) => ({ created_by: "docs/examples/lix-image", comment: what });
  const owner =
    user === undefined ? {} : { uid: user.uid, gid: user.gid, uname: user.name, gname: user.name };
  const writable = user === undefined ? [] : [{ regex: "/nix/var/nix/(gcroots|profiles)(/per-user)?$", mode: "0755" }, { regex: `${home}($|/)`, mode: "0755" }];
  return {
    name: "nix",
    tag: version.replace(/[^A-Za-z0-9_.-]/g, "-"),
    closure: { storeRoot },
    maxLayers: 100,
    // Each without what those before it hold.
    layers: [
      { deps: [packages.coreutils], history: history("coreutils") },
      {
        deps: [packages.curl, packages["libxml2-utils"], packages.sqlite3],
        history: history("curl, libxml2 and sqlite"),
      },
      { deps: [packages.git], history: history("git") },
      { deps: [build("channels", user)], history: history("the channel") },
    ],
    copyToRoot: [baseSystem],
    perms: [
      { path: baseSystem, regex: "(/var)?/tmp$", mode: "1777" },
      { path: baseSystem, regex: "/etc/shadow$", mode: "0600" },
      ...writable.map((rule) => ({ path: baseSystem, ...rule, ...owner })),
    ],
    nixDatabase: { enable: true, ...owner },
    config: {
      Cmd: [`${packages.bash}/bin/bash`],
      ...(user === undefined ? {} : { User: `${user.uid}:${user.gid}` }),
      WorkingDir: home,
      Env: [
        `USER=${user?.name ?? "root"}`,
        `HOME=${home}`,
        `PATH=${[...bin, "/bin", "/usr/bin"].join(":")}`,
        `MANPATH=${home}/.nix-profile/usr/share/man:${profiles}/default/usr/share/man`,
        `SSL_CERT_FILE=${certificates}`,
        `GIT_SSL_CAINFO=${certificates}`,
        `NIX_SSL_CERT_FILE=${certificates}`,
        `NIX_PATH=${profiles}/per-user/root/channels:${home}/.nix-defexpr/channels`,
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
    architecture: { x64: "amd64", arm64: "arm64" }[process.arch] ?? process.arch,
    created: "1970-01-01T00:00:01Z",
  };
}

/** @param {string} command @param {string[]} args @returns {string} its standard output */
function run(command, args, env = process.env) {
  const { status, signal, error, stdout } = spawnSync(command, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (error !== undefined) throw new Error(`cannot run ${command}: ${error.message}; ./scripts/setup --tests installs it`);
  if (status !== 0) throw new Error(`${command} ended with ${signal ?? `exit status ${status}`}`);
  return stdout;
}
