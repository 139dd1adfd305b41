import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Corpus } from "./corpus.mjs";
import { type Environment, output, succeeds } from "./measure.mjs";

/** The part of the bench that a command belongs to; `reference` is always measured, as the ratios are to it. */
export type Group = "stream" | "digests" | "rebuild" | "copy" | "compress" | "reference";

export interface Program {
  readonly id: string;
  readonly group: Group;
  /** Bash; runs in the corpus's directory, where paths, spec.json and the other inputs lie. */
  readonly script: string;
  /** Run once, before anything is measured. */
  readonly prepare?: string;
  /** Prints the bytes of what {@link script} makes; run once, and not measured. */
  readonly size?: string;
}

export interface Absent {
  readonly id: string;
  readonly why: string;
}

/**
 * The same store paths that our program streams, in one archive without times: pax, as ours falls back to pax for what plain headers
 * cannot say.
 */
export const TAR =
  "tar --sort=name --format=pax --pax-option=delete=atime,delete=ctime --mtime=@1 --owner=root:0 --group=root:0 " +
  '-C "$STORE_ROOT" --files-from="$PWD/paths" -cf -';

/** Runs a program that insists on /nix/store: in a mount namespace of its own, where the corpus's store lies there. */
const IN_NIX_STORE =
  'unshare -m bash -c \'mount --make-rprivate / && mount --bind "$STORE_ROOT/nix/store" /nix/store && exec "$@"\' -';

const STREAM = "oci-nix stream spec.json --progress=none --quiet";

/** What can be measured on a corpus; and what cannot, and why. */
export async function programsFor(
  groups: ReadonlySet<Group>,
  environment: Environment,
): Promise<{ readonly programs: readonly Program[]; readonly absent: readonly Absent[] }> {
  const programs: Program[] = [];
  const absent: Absent[] = [];
  const commands = await output("oci-nix --help", environment);
  const hasCommand = (name: string) => new RegExp(`^\\s+${name}\\b`, "m").test(commands);

  if (groups.has("stream")) programs.push({ id: "stream", group: "stream", script: `${STREAM} | cat >/dev/null` });
  if (groups.has("digests")) {
    programs.push({ id: "digests", group: "digests", script: "digest-layers spec.json >/dev/null" });
  }
  if (groups.has("rebuild")) {
    const build = "oci-nix build spec.json --to oci:rebuilt:bench --progress=none --quiet";
    if (hasCommand("build")) programs.push({ id: "unchanged", group: "rebuild", script: build, prepare: build });
    else absent.push({ id: "unchanged", why: "this version has no build command" });
  }
  programs.push(
    { id: "tar-cat", group: "reference", script: `${TAR} | cat >/dev/null` },
    { id: "tar-openssl", group: "reference", script: `${TAR} | openssl dgst -sha256 >/dev/null` },
    {
      id: "tar-tee-openssl-cat",
      group: "reference",
      // Bash does not wait for >(…) by itself, and what is not waited for is not counted.
      script: `${TAR} | { tee >(openssl dgst -sha256 >/dev/null); s=$?; wait $! && exit $s; } | cat >/dev/null`,
    },
    { id: "tar-sha256sum", group: "reference", script: `${TAR} | sha256sum >/dev/null` },
  );
  if (groups.has("copy")) await addCopy(programs, absent, hasCommand("copy"), environment);
  if (groups.has("compress")) await addCompress(programs, absent, environment);
  await addDockertools(programs, absent, environment);
  await addNix2container(programs, absent, environment);
  return { programs, absent };
}

/**
 * skopeo does not do what `stream` does: it never looks at a store. It does what `copy` does: read an archive, hash its layers, write
 * them one by one.
 */
async function addCopy(programs: Program[], absent: Absent[], ours: boolean, environment: Environment): Promise<void> {
  const prepare = `${STREAM} > image.tar`;
  if (await succeeds("skopeo --version", environment)) {
    const script = "rm -rf copied && skopeo copy --insecure-policy --quiet docker-archive:image.tar dir:copied";
    programs.push({ id: "skopeo-copy", group: "copy", script, prepare });
  } else {
    absent.push({ id: "skopeo-copy", why: "skopeo is not installed" });
  }
  const script = "rm -rf copied && oci-nix copy docker-archive:image.tar oci:copied:bench --progress=none --quiet";
  if (ours) programs.push({ id: "copy", group: "copy", script, prepare });
  else absent.push({ id: "copy", why: "this version has no copy command" });
}

/**
 * The same layers, one file each, packed one after the other. Ours hashes what it packs besides, as a build does, and starts once where
 * the others start for every layer.
 */
async function addCompress(programs: Program[], absent: Absent[], environment: Environment): Promise<void> {
  const none = (await output("oci-nix build --help", environment)).includes("--compression")
    ? "--compression none"
    : "";
  const prepare = `rm -rf unpacked && oci-nix build spec.json --to oci:unpacked:bench ${none} --progress=none --quiet`;
  const layers = "unpacked/blobs/sha256";
  const tools = [
    { ours: "compress-gzip", codec: "gzip:6", id: "pigz", tool: "pigz", command: "pigz -p2 -6 -n -c" },
    { ours: "compress-zstd", codec: "zstd:3", id: "zstd", tool: "zstd", command: "zstd -q -T2 -3 -c" },
  ];
  for (const { ours, codec, id, tool, command } of tools) {
    const own = `compress-layers ${codec} ${layers}`;
    programs.push({ id: ours, group: "compress", script: `${own} >/dev/null`, prepare, size: own });
    if (await succeeds(`${tool} --version`, environment)) {
      const all = (to: string) => `for file in ${layers}/*; do ${command} "$file" ${to} || exit; done`;
      programs.push({ id, group: "compress", script: all(">/dev/null"), prepare, size: `{ ${all("")}; } | wc -c` });
    } else {
      absent.push({ id, why: `${tool} is not installed` });
    }
  }
}

async function addDockertools(programs: Program[], absent: Absent[], environment: Environment): Promise<void> {
  const file = process.env.BENCH_DOCKERTOOLS;
  const why = await whyNotInNixStore("BENCH_DOCKERTOOLS", "nixpkgs' stream_layered_image.py", environment);
  if (file === undefined || why !== undefined) {
    absent.push({ id: "dockertools", why: why ?? "" });
    return;
  }
  const script = `${IN_NIX_STORE} python3 "$BENCH_DOCKERTOOLS" conf.json 2>/dev/null | cat >/dev/null`;
  programs.push({ id: "dockertools", group: "reference", script });
}

async function addNix2container(programs: Program[], absent: Absent[], environment: Environment): Promise<void> {
  const file = process.env.BENCH_NIX2CONTAINER;
  const why = await whyNotInNixStore("BENCH_NIX2CONTAINER", "nix2container's program", environment);
  if (file === undefined || why !== undefined) {
    absent.push({ id: "nix2container", why: why ?? "" });
    return;
  }
  const command = 'layers-from-reproducible-storepaths n2c-layers.json graph.json --max-layers "$MAX_LAYERS"';
  const script = `${IN_NIX_STORE} "$BENCH_NIX2CONTAINER" ${command} >/dev/null 2>&1`;
  programs.push({ id: "nix2container", group: "reference", script });
}

async function whyNotInNixStore(
  variable: "BENCH_DOCKERTOOLS" | "BENCH_NIX2CONTAINER",
  what: string,
  environment: Environment,
): Promise<string | undefined> {
  const file = process.env[variable];
  if (!file) return `${variable} does not name ${what}`;
  if (!existsSync(file)) return `${variable} names ${file}, which does not exist`;
  if (process.getuid?.() !== 0) return "only root can put the store where it wants it, at /nix/store";
  if (!existsSync("/nix/store")) return "it wants its store at /nix/store, and this machine has no such directory";
  return (await succeeds(`${IN_NIX_STORE} true`, environment)) ? undefined : "a mount namespace cannot be made here";
}

/** The number of layers that everybody may use; our own default. */
const MAX_LAYERS = 100;

/**
 * Makes a directory with what the commands of one corpus read:
 * `spec.json` (ours), `paths` (tar), `conf.json` and its customisation layer (nixpkgs), `graph.json` (nix2container).
 */
export async function prepareCorpus(corpus: Corpus, parent: string, bin: string): Promise<Environment> {
  const cwd = join(parent, corpus.name);
  mkdirSync(cwd, { recursive: true });
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    LC_ALL: "C",
    XDG_CACHE_HOME: join(cwd, "cache"),
    NODE_OPTIONS: undefined,
    STORE_ROOT: corpus.storeRoot,
    MAX_LAYERS: String(MAX_LAYERS),
  };
  const environment = { cwd, env };
  const file = (name: string, content: unknown) => writeFileSync(join(cwd, name), JSON.stringify(content));

  const { storeRoot, roots, graph } = corpus;
  file("spec.json", { name: "bench", tag: "1", closure: { storeRoot, roots, graph }, maxLayers: MAX_LAYERS });
  const closure = JSON.parse(await output("oci-nix closure spec.json", environment)) as readonly {
    readonly path: string;
    readonly references: readonly string[];
  }[];
  writeFileSync(join(cwd, "paths"), closure.map(({ path }) => `${path.slice(1)}\n`).join(""));
  file(
    "graph.json",
    closure.map(({ path, references }) => ({ path, references })),
  );

  const { layers } = JSON.parse(await output("oci-nix plan spec.json --json", environment)) as {
    readonly layers: readonly { readonly storePaths: readonly string[] }[];
  };
  const customisation = join(cwd, "customisation");
  mkdirSync(customisation, { recursive: true });
  await output(
    "tar -cf customisation/layer.tar -T /dev/null && sha256sum < customisation/layer.tar | cut -c-64 > customisation/checksum",
    environment,
  );
  const time = "1970-01-01T00:00:01+00:00";
  file("conf.json", {
    ...{ architecture: "amd64", os: "linux", config: {}, created: time, mtime: time },
    ...{ uid: "0", gid: "0", uname: "root", gname: "root", store_dir: "/nix/store", from_image: null },
    store_layers: layers.map(({ storePaths }) => storePaths),
    customisation_layer: customisation,
    repo_tag: "bench:1",
  });
  return environment;
}
