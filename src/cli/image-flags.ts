import type { Flags } from "./command.js";

// Names are written here, too, as the library that has them would take time to load whenever help is shown.

/** Names that `--strategy` takes. */
export const STRATEGIES = [
  "closure-cost",
  "popularity",
  "dockertools-auto",
  "dockertools-popularity",
  "nix2container",
  "per-path",
  "single",
] as const;

/** Names that `--compression` takes, without levels. */
export const COMPRESSIONS = ["none", "gzip", "zstd"] as const;

const HELPERS = ["fakeNss", "binSh", "usrBinEnv", "caCertificates", "shadowSetup"] as const;

const TAR_PROFILES = ["oci", "dockertools", "nix2container"] as const;

/** Where the closure is and where its files are. */
export const CLOSURE_FLAGS: Flags = {
  closure: {
    type: "string",
    names: "file",
    describe: "Read the closure graph from FILE instead of the Nix database",
  },
  "store-root": { type: "string", names: "directory", describe: "Read /nix/store/x from DIR/nix/store/x (default /)" },
  "store-dir": {
    type: "string",
    names: "directory",
    describe: "The store directory, where it is not that of the store paths",
  },
};

/** How the closure is split into layers. */
const LAYER_FLAGS: Flags = {
  "max-layers": {
    type: "number",
    describe: "Layers of the image at most (default 100, at most 125)",
  },
  strategy: {
    type: "string",
    suggested: STRATEGIES,
    describe:
      "How to split: closure-cost (default), popularity, dockertools-auto, dockertools-popularity, nix2container, per-path or single",
  },
  "layering-pipeline": {
    type: "string",
    names: "file",
    describe: "Split as this JSON file says, a layeringPipeline of nixpkgs, instead of by a strategy",
  },
  "one-layer": { type: "boolean", describe: "Put everything into one layer, on top of those of --from-image" },
  previous: {
    type: "string",
    names: "place",
    describe: "Image that this one follows, of which closure-cost keeps unchanged layers: docker://NAME:TAG, or a file",
  },
  "from-image": {
    type: "string",
    names: "place",
    describe: "Image that this one is made on top of: docker://NAME, oci:DIR:TAG, …",
  },
  "inherit-config": {
    type: "string",
    choices: ["all", "env", "none"],
    describe: "What is taken over from its config (default all; env with --tar-profile dockertools)",
  },
  exclude: {
    type: "string",
    names: "path",
    repeated: true,
    describe: "Plan with this store path but never ship it",
  },
  "copy-to-root": {
    type: "string",
    names: "path",
    repeated: true,
    describe: "Store path whose contents go to the root of the image",
  },
  "keep-contents-dirlinks": {
    type: "string",
    choices: ["true", "false"],
    describe:
      "Copy --copy-to-root as buildImage: keep symlinks to directories, or copy those (default: keep all symlinks)",
  },
  perms: {
    type: "string",
    names: "file",
    describe: "JSON file of permission rules: [{path, regex, mode, uid, gid, uname, gname}]",
  },
  contents: {
    type: "string",
    names: "path",
    repeated: true,
    describe: "Store path, or directory in one, whose tree is joined into the root by symlinks",
  },
  helper: {
    type: "string",
    suggested: HELPERS,
    repeated: true,
    describe: "Files that programs expect: fakeNss, binSh, usrBinEnv, caCertificates or shadowSetup",
  },
  "include-store-paths": {
    type: "string",
    choices: ["true", "false"],
    describe: "Whether store paths are in the image (default true); else a store is to be mounted",
  },
  "extra-commands": {
    type: "string",
    describe: "Shell script that changes what goes to the root, in a sandbox; it starts there",
  },
  "fake-root-commands": { type: "string", describe: "Shell script that does so as root, under fakeroot" },
  "enable-fakechroot": { type: "boolean", describe: "Run --fake-root-commands with what they change as their root" },
  "command-path": {
    type: "string",
    names: "directory",
    repeated: true,
    describe: "Directory with the programs for commands (default those of this machine)",
  },
  "nix-db": { type: "boolean", describe: "Register the store paths in a Nix database in the image" },
};

/** Everything that describes an image; each is also a field of the spec file. */
export const IMAGE_FLAGS: Flags = {
  name: { type: "string", describe: "Image name, for example registry.example/app" },
  tag: { type: "string", describe: "Image tag (default latest)" },
  cmd: {
    type: "string",
    repeated: true,
    describe: 'Default command: one word each, or all as ["a","b"]',
  },
  entrypoint: { type: "string", repeated: true, describe: "Entry point, given like --cmd" },
  env: { type: "string", repeated: true, describe: "Environment variable" },
  label: { type: "string", repeated: true, describe: "Label" },
  user: { type: "string", describe: "User (and :group) that the container runs as" },
  workdir: { type: "string", describe: "Working directory" },
  expose: {
    type: "string",
    repeated: true,
    describe: "Port that the container listens on",
  },
  volume: { type: "string", repeated: true, describe: "Directory that is a volume" },
  "stop-signal": { type: "string", describe: "Signal that stops the container" },
  architecture: { type: "string", describe: "CPU architecture (default amd64)" },
  variant: { type: "string", describe: "Variant of the architecture, for example v8" },
  created: {
    type: "string",
    describe: 'Creation time in RFC 3339 or in seconds since 1970, or "now" (default 1970-01-01T00:00:01Z)',
  },
  mtime: { type: "string", describe: "Modification time of the files, like --created" },
  uid: { type: "number", describe: "Owner of the files (default 0)" },
  gid: { type: "number", describe: "Group of the files (default 0)" },
  uname: { type: "string", describe: "Owner's name (default root)" },
  gname: { type: "string", describe: "Group's name (default root)" },
  "tar-profile": {
    type: "string",
    suggested: TAR_PROFILES,
    describe: "Bytes of the layers: oci (default), dockertools or nix2container",
  },
  ...LAYER_FLAGS,
  ...CLOSURE_FLAGS,
};

/** Arguments of dockerTools instead of INPUT. */
export const DOCKERTOOLS_FLAGS: Flags = {
  "dockertools-args": {
    type: "string",
    names: "file",
    describe: "Instead of INPUT: JSON file of the arguments that one of dockerTools' functions takes",
  },
  "dockertools-function": {
    type: "string",
    choices: ["streamLayeredImage", "buildLayeredImage", "buildImage"],
    describe: "Which function that is (default the first that has all of the arguments)",
  },
};
