#!/usr/bin/env node
// Builds a real Nix store out of Debian packages, for tests, benchmarks and people who have no Nix store at hand.
//
//   node scripts/make-real-store.mjs small|nix|system|large|big   builds it, or finds it built; prints its description as JSON
//   node scripts/make-real-store.mjs small --plan           prints what would be downloaded and built, and builds nothing
//
// Every package becomes one derivation that unpacks the package into its output and writes down the outputs of the packages it
// depends on, so Nix's own scanner finds true references. The store is a directory of its own (`local?root=DIR`): logical
// /nix/store/x lies in DIR/nix/store/x, and neither this machine's store nor its package database is touched.
//
// Needs Debian (apt-get, apt-cache, dpkg-deb), nix-build and flock. Nothing is installed.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** @type {Readonly<Record<string, readonly string[]>>} kind of store → the packages whose dependency closure it holds */
const SEEDS = {
  small: ["bash", "busybox-static", "coreutils", "curl", "git", "gnupg", "python3", "sqlite3", "tzdata", "vim"],
  nix: [
    ...["bash", "busybox-static", "ca-certificates", "coreutils", "curl", "git", "libxml2-utils", "nix-bin", "sqlite3"],
  ],
  system: [
    ...[
      "busybox-static",
      "coreutils",
      "efibootmgr",
      "grub2-common",
      "grub-common",
      "grub-pc-bin",
      "grub-efi-amd64-bin",
    ],
    ...["nix-bin", "systemd-boot"],
  ],
  large: [
    ...["bash", "busybox-static", "coreutils", "golang", "rustc", "rust-doc", "ghc", "gcc-arm-none-eabi"],
    ...["libboost1.74-dev", "linux-headers-amd64", "fonts-noto-extra"],
  ],
  big: [
    ...["bash", "busybox-static", "coreutils", "curl", "git", "python3", "sqlite3", "tzdata", "vim"],
    ...["build-essential", "cmake", "golang", "openjdk-17-jdk-headless", "php-cli"],
    ...["ffmpeg", "imagemagick", "postgresql", "python3-scipy", "python3-matplotlib", "ruby"],
    ...["texlive-latex-extra", "texlive-fonts-recommended", "linux-headers-amd64", "perl-doc", "ansible", "emacs-nox"],
    ...["adwaita-icon-theme", "papirus-icon-theme", "fonts-noto-core", "r-base-core", "qtbase5-dev"],
  ],
};

const BUILDER = `
set -eu
export PATH=/usr/bin:/bin LC_ALL=C
echo "$sha256  $deb" | sha256sum --check --quiet
mkdir -p "$out"
dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --no-same-permissions -C "$out"
if [ -n "$deps" ]; then
  mkdir -p "$out/nix-support"
  printf '%s\\n' "$deps" > "$out/nix-support/propagated-build-inputs"
fi
`;

/** Where the builder finds the packages, inside Nix's sandbox. */
const DEBS_IN_SANDBOX = "/debs";

const self = fileURLToPath(import.meta.url);

/** @typedef {{name: string, version: string, architecture: string, file: string, sha256: string, size: number, installedKiB: number, depends: string[][]}} Package */

try {
  main(process.argv.slice(2));
} catch (error) {
  log(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

/** @param {string[]} args */
function main(args) {
  const [kind, option] = args;
  const seeds = kind === undefined ? undefined : SEEDS[kind];
  if (kind === undefined || seeds === undefined || (option !== undefined && option !== "--plan")) {
    fail(`usage: make-real-store.mjs ${Object.keys(SEEDS).join("|")} [--plan]`);
  }
  if (option === "--plan") {
    const packages = resolve(seeds);
    const sum = (/** @type {(p: Package) => number} */ of) => packages.reduce((total, p) => total + of(p), 0);
    const totals = {
      packages: packages.length,
      download: sum((p) => p.size),
      installed: sum((p) => p.installedKiB) * 1024,
    };
    print({ ...totals, names: packages.map((p) => p.name) });
    return;
  }
  const cache = cacheDirectory();
  const recipe = [seeds, BUILDER, nixExpression, resolve, build, ...(kind === "system" ? [buildSystem] : [])].join(
    "\n",
  );
  const key = createHash("sha256").update(recipe).digest("hex").slice(0, 12);
  const directory = join(cache, `store-${kind}-${key}`);
  const description = join(directory, "store.json");
  if (!existsSync(description)) {
    // World-readable, so that a test may read the store as another user.
    mkdirSync(cache, { recursive: true, mode: 0o755 });
    if (process.env.MAKE_REAL_STORE_LOCKED !== "1") {
      const env = { ...process.env, MAKE_REAL_STORE_LOCKED: "1" };
      const again = spawnSync("flock", [join(cache, "lock"), process.execPath, self, ...args], {
        stdio: "inherit",
        env,
      });
      if (again.error !== undefined) fail(`cannot run flock: ${again.error.message}`);
      process.exitCode = again.status ?? 1;
      return;
    }
    for (const name of readdirSync(cache)) {
      if (name.startsWith(`store-${kind}-`) && isAbandoned(join(cache, name))) removeStore(join(cache, name));
    }
    const started = Date.now();
    const built = build(cache, directory, seeds);
    const system = kind === "system" ? { toplevel: buildSystem(cache, built.storeRoot, directory) } : {};
    const seconds = Math.round((Date.now() - started) / 100) / 10;
    writeFileSync(`${description}.tmp`, `${JSON.stringify({ kind, ...built, ...system, seconds }, undefined, 2)}\n`);
    renameSync(`${description}.tmp`, description);
  }
  utimesSync(description, new Date(), new Date());
  process.stdout.write(readFileSync(description));
}

/**
 * Whether a store was never finished, or has not been asked for in a day. One that another recipe made yesterday may still be
 * read by somebody at work on another branch.
 *
 * @param {string} directory
 */
function isAbandoned(directory) {
  const description = statSync(join(directory, "store.json"), { throwIfNoEntry: false });
  return description === undefined || Date.now() - description.mtimeMs > 24 * 60 * 60 * 1000;
}

/** Where packages and stores are kept between runs. Root's home directory is private, and the store should not be. */
function cacheDirectory() {
  if (process.env.OCI_NIX_TEST_CACHE) return process.env.OCI_NIX_TEST_CACHE;
  if (process.getuid?.() === 0) return "/var/cache/oci-nix-test";
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "oci-nix-test");
}

/** @param {string} directory */
function removeStore(directory) {
  // Nix makes its store read-only, which stops anybody but root from removing it.
  if (existsSync(directory)) run("chmod", ["-R", "u+w", directory]);
  rmSync(directory, { recursive: true, force: true });
}

/** @param {string} cache @param {string} directory @param {readonly string[]} seeds */
function build(cache, directory, seeds) {
  const debs = join(cache, "debs");
  mkdirSync(debs, { recursive: true });
  const packages = resolveAndDownload(seeds, debs);

  mkdirSync(directory, { mode: 0o755 });
  const storeRoot = join(directory, "root");
  const expression = join(directory, "store.nix");
  writeFileSync(expression, nixExpression(packages));
  const options = [
    ...["--store", `local?root=${storeRoot}`, "--option", "build-users-group", "", "--option", "substituters", ""],
    ...["--option", "sandbox", "false", "--option", "max-jobs", "auto"],
    // A store below a root of its own is always built in a chroot, which holds nothing of the machine unless told so.
    ...["--option", "sandbox-paths", `/bin /usr /lib? /lib64? ${DEBS_IN_SANDBOX}=${debs}`],
  ];
  // Nix's configuration on this machine must not change what is built.
  const env = { ...process.env, NIX_CONF_DIR: "/nonexistent", NIX_USER_CONF_FILES: "", NIX_CONFIG: "", NIX_PATH: "" };
  log(`building ${packages.length} store paths`);
  run("nix-build", [...options, "--no-out-link", "--quiet", "--quiet", "-A", "all", expression], env);
  const evaluated = run(
    "nix-instantiate",
    [...options, "--eval", "--strict", "--json", "-A", "paths", expression],
    env,
  );
  /** @type {Record<string, string>} */
  const paths = JSON.parse(evaluated);
  const roots = seeds.map((name) => /** @type {string} */ (paths[name]));
  const closure = run("nix-store", [...options, "--query", "--requisites", ...roots], env)
    .trim()
    .split("\n");
  const sizes = run("nix-store", [...options, "--query", "--size", ...closure], env)
    .trim()
    .split("\n");
  return {
    storeRoot,
    roots,
    packages: paths,
    busybox: `${paths["busybox-static"]}/bin/busybox`,
    dynamicBash: dynamicBash(storeRoot, paths, packages),
    storePaths: closure.length,
    narSize: sizes.reduce((total, size) => total + Number(size), 0),
    entries: closure.reduce((total, path) => total + countEntries(storeRoot + path), 0),
  };
}

/**
 * Builds a system that is used as one of NixOS is: `activate` makes what its programs look for outside of the store, and `switch-to-configuration`
 * runs /etc/boot-installer, with all packages on its PATH. There is nothing in it to start: kernel and initrd are the installer's business.
 *
 * @param {string} cache @param {string} storeRoot @param {string} directory
 * @returns {string} its logical store path
 */
function buildSystem(cache, storeRoot, directory) {
  const script = `
set -eu
export PATH=/usr/bin:/bin LC_ALL=C
mkdir -p "$out/bin"
path= libraries=
for each in $packages; do
  for bin in bin sbin usr/bin usr/sbin; do
    if [ -d "$each/$bin" ]; then path=$path:$each/$bin; fi
  done
  for lib in lib usr/lib; do
    for directory in "$each/$lib/nix" "$each/$lib/x86_64-linux-gnu" "$each/$lib/x86_64-linux-gnu/systemd"; do
      if [ -d "$directory" ]; then libraries=$libraries:$directory; fi
    done
  done
done
cat >"$out/activate" <<END
#!$busybox/bin/busybox sh
busybox=$busybox/bin/busybox
for each in bin etc lib64 run; do \\$busybox mkdir -p /\\$each; done
\\$busybox ln -sfn \\$busybox /bin/sh
\\$busybox ln -sfn $libc/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2
\\$busybox ln -sfn $out /run/current-system
[ "\\$IN_NIXOS_ENTER" = 1 ]
END
cat >"$out/bin/switch-to-configuration" <<END
#!$busybox/bin/busybox sh
set -eu
[ "\\$1 \\$NIXOS_INSTALL_BOOTLOADER" = "boot 1" ]
export PATH=\${path#:} LD_LIBRARY_PATH=\${libraries#:}
grub=$grub
grub_efi=$grubEfi
systemd_boot=$systemdBoot
. /etc/boot-installer
END
printf 25.11 >"$out/nixos-version"
chmod 755 "$out/activate" "$out/bin/switch-to-configuration"
`;
  const expression = join(directory, "system.nix");
  writeFileSync(
    expression,
    `let p = (import ./store.nix).paths; in derivation {
  name = "nixos-system-test";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" ${quote(script)} ];
  packages = builtins.attrValues p;
  busybox = p.busybox-static;
  libc = p.libc6;
  grub = p.grub-pc-bin;
  grubEfi = p.grub-efi-amd64-bin;
  systemdBoot = p.systemd-boot-efi;
}
`,
  );
  const debs = join(cache, "debs");
  const options = [
    ...["--store", `local?root=${storeRoot}`, "--option", "build-users-group", "", "--option", "substituters", ""],
    ...["--option", "sandbox", "false"],
    ...["--option", "sandbox-paths", `/bin /usr /lib? /lib64? ${DEBS_IN_SANDBOX}=${debs}`],
  ];
  const env = { ...process.env, NIX_CONF_DIR: "/nonexistent", NIX_USER_CONF_FILES: "", NIX_CONFIG: "", NIX_PATH: "" };
  return run("nix-build", [...options, "--no-out-link", "--quiet", "--quiet", expression], env).trim();
}

/**
 * The command that runs bash, which is linked dynamically, with nothing but the store: the C library's loader gets the
 * libraries' directories by option, as Debian's programs look for them in /lib.
 *
 * @param {string} storeRoot @param {Record<string, string>} paths @param {Package[]} packages
 */
function dynamicBash(storeRoot, paths, packages) {
  const libraries = packages
    .filter((p) => ["libc6", "libtinfo6"].includes(p.name))
    .flatMap((p) =>
      ["lib", "usr/lib"].flatMap((lib) =>
        list(join(`${storeRoot}${paths[p.name]}`, lib))
          .filter((name) => name.includes("-linux-gnu"))
          .map((name) => `${paths[p.name]}/${lib}/${name}`),
      ),
    );
  const loaders = libraries.flatMap((directory) =>
    list(storeRoot + directory)
      .filter((name) => /^ld-linux.*\.so\.\d+$/.test(name))
      .map((name) => `${directory}/${name}`),
  );
  if (loaders[0] === undefined) fail("found no dynamic loader in libc6");
  return [loaders[0], "--library-path", libraries.join(":"), `${paths.bash}/bin/bash`];
}

/** @param {string} directory */
function list(directory) {
  return existsSync(directory) ? readdirSync(directory).sort() : [];
}

/** @param {string} path @returns {number} */
function countEntries(path) {
  return 1 + readdirSync(path, { withFileTypes: true, recursive: true }).length;
}

/** @param {Package[]} packages in an order in which dependencies come first */
function nixExpression(packages) {
  const known = new Set(packages.map((p) => p.name));
  const definitions = packages.map((p) => {
    const deps = p.depends
      .flat()
      .filter((name) => known.has(name))
      .map((name) => `p.${quote(name)}`);
    // Nix allows fewer characters in names than Debian in versions (epochs, tildes).
    const name = `${p.name}-${p.version.replace(/^\d+:/, "").replace(/[^0-9a-zA-Z+._?=-]/g, "-")}`;
    const deb = `${DEBS_IN_SANDBOX}/${p.file}`;
    return `    ${quote(p.name)} = package ${quote(name)} ${quote(deb)} ${quote(p.sha256)} [ ${deps.join(" ")} ];`;
  });
  return `# Made by scripts/make-real-store.mjs.
let
  package = name: deb: sha256: deps: derivation {
    inherit name deb sha256 deps;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" ${quote(BUILDER)} ];
  };
  p = {
${definitions.join("\n")}
  };
in
{
  all = builtins.attrValues p;
  paths = builtins.mapAttrs (name: drv: drv.outPath) p;
}
`;
}

/** @param {string} text a Nix string literal */
function quote(text) {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/\$\{/g, "\\${").replace(/\n/g, "\\n")}"`;
}

/** @param {readonly string[]} seeds @param {string} debs @returns {Package[]} */
function resolveAndDownload(seeds, debs) {
  try {
    const packages = resolve(seeds);
    download(packages, debs);
    return packages;
  } catch (error) {
    // Package lists that are absent, or so old that the mirror no longer has what they name.
    if (process.getuid?.() !== 0) throw error;
    log(`${error instanceof Error ? error.message : error}; updating the package lists`);
    run("apt-get", ["update", "-qq"]);
    const packages = resolve(seeds);
    download(packages, debs);
    return packages;
  }
}

/** @param {Package[]} packages @param {string} debs */
function download(packages, debs) {
  const missing = packages.filter((p) => !existsSync(join(debs, p.file)));
  if (missing.length === 0) return;
  const mebibytes = Math.ceil(missing.reduce((total, p) => total + p.size, 0) / 2 ** 20);
  log(`downloading ${missing.length} packages, ${mebibytes} MiB`);
  // What apt leaves behind when interrupted must not look like a package.
  const partial = join(debs, "partial");
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial);
  const names = missing.map((p) => `${p.name}=${p.version}`);
  run("apt-get", ["download", "-qq", "-o", "APT::Sandbox::User=root", ...names], process.env, partial);
  for (const p of missing) renameSync(join(partial, p.file), join(debs, p.file));
  rmSync(partial, { recursive: true });
}

/**
 * The packages the seeds depend on, seeds included, dependencies first. Of alternatives the first available one counts, of
 * packages that provide a virtual one the first by name. Cycles lose the edge that closes them, walking in sorted order; and
 * libc6, which lies in most of them, loses all of its dependencies, so that it ends at the bottom where it belongs.
 *
 * @param {readonly string[]} seeds @returns {Package[]}
 */
function resolve(seeds) {
  const { available, providers } = readAvailable();
  /** @param {string} name */
  const find = (name) => available.get(name) ?? available.get(providers.get(name)?.sort()[0] ?? "");
  /** @type {Map<string, Package>} */
  const resolved = new Map();
  const open = new Set();
  /** @param {Package} found @returns {void} */
  const visit = (found) => {
    if (resolved.has(found.name) || open.has(found.name)) return;
    open.add(found.name);
    const depends = new Set();
    for (const alternatives of found.name === "libc6" ? [] : found.depends) {
      const dependency = alternatives.map(find).find((candidate) => candidate !== undefined);
      if (dependency === undefined) throw new Error(`no package gives ${alternatives.join(" or ")} for ${found.name}`);
      if (dependency.name !== found.name) depends.add(dependency);
    }
    const names = [];
    for (const dependency of [...depends].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      visit(dependency);
      if (resolved.has(dependency.name)) names.push(dependency.name);
    }
    open.delete(found.name);
    resolved.set(found.name, { ...found, depends: names.map((name) => [name]) });
  };
  for (const seed of seeds) {
    const found = available.get(seed);
    if (found === undefined) throw new Error(`the package lists do not hold ${seed}`);
    visit(found);
  }
  return [...resolved.values()];
}

function readAvailable() {
  /** @type {Map<string, Package>} */
  const available = new Map();
  /** @type {Map<string, string[]>} virtual package → packages that provide it */
  const providers = new Map();
  for (const paragraph of run("apt-cache", ["dumpavail"]).split("\n\n")) {
    const fields = Object.fromEntries(
      [...paragraph.matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)].map((match) => [match[1], match[2]]),
    );
    const { Package: name, Version: version, Architecture: architecture, SHA256: sha256 } = fields;
    if (!name || !version || !architecture || !sha256 || available.has(name)) continue;
    available.set(name, {
      name,
      version,
      architecture,
      file: `${name}_${version.replace(/:/g, "%3a")}_${architecture}.deb`,
      sha256,
      size: Number(fields.Size),
      installedKiB: Number(fields["Installed-Size"] ?? 0),
      depends: [fields["Pre-Depends"], fields.Depends].flatMap((field) => parseDepends(field ?? "")),
    });
    for (const provided of parseDepends(fields.Provides ?? "").flat()) {
      providers.set(provided, [...(providers.get(provided) ?? []), name]);
    }
  }
  return { available, providers };
}

/** @param {string} field `a (>= 1), b:any | c` gives `[["a"], ["b", "c"]]` @returns {string[][]} */
function parseDepends(field) {
  return field
    .split(",")
    .map((alternatives) => alternatives.split("|").map((one) => one.trim().replace(/[\s(:[].*$/, "")))
    .filter((alternatives) => alternatives[0] !== "");
}

/** @param {string} command @param {string[]} args @returns {string} its standard output */
function run(command, args, env = process.env, cwd = process.cwd()) {
  const stdio = /** @type {const} */ (["ignore", "pipe", "inherit"]);
  const { status, signal, error, stdout } = spawnSync(command, args, {
    stdio,
    env,
    cwd,
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  if (error !== undefined) throw new Error(`cannot run ${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ended with ${signal ?? `exit status ${status}`}`);
  return stdout;
}

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** @param {string} message */
function log(message) {
  process.stderr.write(`make-real-store: ${message}\n`);
}

/** @param {string} message @returns {never} */
function fail(message) {
  log(message);
  process.exit(2);
}
