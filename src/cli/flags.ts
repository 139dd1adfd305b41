import type { Command, Flags } from "./command.js";
import { CLOSURE_FLAGS, COMPRESSIONS, DOCKERTOOLS_FLAGS, IMAGE_FLAGS, STRATEGIES } from "./image-flags.js";

/** What is in a Nix database, where it goes and whose it is. */
export const NIX_DATABASE_FLAGS: Flags = {
  to: {
    type: "string",
    names: "directory",
    describe: "Directory that stands for the root: DIR/nix/var/nix/db and what belongs to it",
  },
  uid: { type: "number", describe: "Owner of the database and all beside it (default 0)" },
  gid: { type: "number", describe: "Its group (default 0)" },
  exclude: {
    type: "string",
    names: "path",
    repeated: true,
    describe: "Leave out this store path, which is not where the database is",
  },
  ...CLOSURE_FLAGS,
};

/** Where the cache is. */
export const CACHE_DIRECTORY_FLAGS: Flags = {
  "cache-dir": {
    type: "string",
    names: "directory",
    describe: "The cache (default oci-nix in $XDG_CACHE_HOME, or in ~/.cache)",
  },
};

/** What is remembered from one build to the next. */
export const CACHE_FLAGS: Flags = {
  ...CACHE_DIRECTORY_FLAGS,
  "no-cache": { type: "boolean", describe: "Neither use nor change the cache" },
  "blob-cache": { type: "string", describe: "Keep packed layers, at most SIZE in all: 2GB (default: none)" },
};

/** What is removed from the cache. */
export const CACHE_PRUNE_FLAGS: Flags = {
  "older-than": { type: "number", describe: "Remove what was not used for so many days" },
  "max-size": { type: "string", describe: "Remove what was least recently used until SIZE is left: 500MB, 2GiB" },
  all: { type: "boolean", describe: "Remove everything" },
  ...CACHE_DIRECTORY_FLAGS,
};

/** How registries are reached. */
const REGISTRY_FLAGS: Flags = {
  "tls-verify": {
    type: "string",
    choices: ["true", "false"],
    describe: "Whether registries must have valid certificates and are never reached over plain HTTP (default true)",
  },
  deadline: { type: "number", describe: "Seconds that all requests to a registry or daemon may take (default no end)" },
};

/** How images get into registries. */
const PUSH_FLAGS: Flags = {
  ...REGISTRY_FLAGS,
  "mount-from": {
    type: "string",
    repeated: true,
    describe: "Repository of the same registry that may have layers already",
  },
};

/** How layers are packed. */
const COMPRESSION_FLAG: Flags = {
  compression: {
    type: "string",
    suggested: COMPRESSIONS,
    describe: "Pack layers: none, gzip or zstd, with a level: zstd:19 (default gzip for registries, else none)",
  },
};

/** How layers of images that are there are packed. */
const REPACK_FLAG: Flags = {
  compression: {
    type: "string",
    suggested: COMPRESSIONS,
    describe: "Pack layers anew: none, gzip or zstd (default: as they are)",
  },
};

const DRY_RUN_FLAG: Flags = {
  "dry-run": { type: "boolean", describe: "Say what each layer would need, and change nothing" },
};

/** What `stream` has besides what describes the image. */
export const STREAM_FLAGS: Flags = { ...IMAGE_FLAGS, ...DOCKERTOOLS_FLAGS, ...CACHE_FLAGS, ...REGISTRY_FLAGS };

/** How an image is pushed, and everything that describes it. */
export const PUSH_IMAGE_FLAGS: Flags = {
  ...DRY_RUN_FLAG,
  ...COMPRESSION_FLAG,
  ...IMAGE_FLAGS,
  ...DOCKERTOOLS_FLAGS,
  ...CACHE_FLAGS,
  ...PUSH_FLAGS,
};

/** Where an image is built to, and everything that describes it. */
export const BUILD_FLAGS: Flags = {
  to: {
    type: "string",
    names: "place",
    repeated: true,
    describe:
      "Where to: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], containers-storage:NAME, docker-daemon:NAME or docker://NAME",
  },
  ...DRY_RUN_FLAG,
  ...COMPRESSION_FLAG,
  ...IMAGE_FLAGS,
  ...DOCKERTOOLS_FLAGS,
  ...CACHE_FLAGS,
  ...PUSH_FLAGS,
};

// Whoever runs the shell is --uid; what is in its image besides stays root's.
const { uname: _, gname: __, ...SHELL_BUILD_FLAGS } = BUILD_FLAGS;

/** What is in the image of a Nix shell, and where it goes. */
export const SHELL_FLAGS: Flags = {
  command: { type: "string", describe: "Commands that the interactive shell runs before it ends" },
  run: { type: "string", describe: "Commands that a shell runs which is not interactive" },
  shell: {
    type: "string",
    names: "path",
    describe: "The shell, a bash in the store (default that of bash-interactive or bash)",
  },
  with: {
    type: "string",
    names: "path",
    repeated: true,
    describe: "Store path that is shipped, too; bash, coreutils and cacert are looked for there first",
  },
  home: { type: "string", describe: "Home directory of the user (default /build); any other one is not made" },
  ...SHELL_BUILD_FLAGS,
  to: {
    type: "string",
    names: "place",
    repeated: true,
    describe: "Where to, as with build; without it a docker-archive goes to standard output",
  },
  name: { type: "string", describe: "Image name (default the derivation's, and -env)" },
  tag: { type: "string", describe: "Image tag (default the derivation's hash)" },
  architecture: { type: "string", describe: "CPU architecture (default that of the derivation's system)" },
  uid: { type: "number", describe: "User that the container runs as (default 1000)" },
  gid: { type: "number", describe: "Group of the user (default 1000)" },
};

/** What is to be known of a plan. */
export const PLAN_FLAGS: Flags = {
  exact: {
    type: "boolean",
    describe: "Make and pack the layers, keeping none: sizes to the byte, as push would send them",
  },
  html: {
    type: "string",
    names: "file",
    describe: "Write a page with a map of the layers to FILE, which needs nothing else",
  },
  why: { type: "string", describe: "Explain one store path, given whole or by a part of its name" },
  budget: {
    type: "string",
    repeated: true,
    describe: "Fail where it takes more: 40layers, or 500MB, to upload where there is a previous image, else in all",
  },
  compare: { type: "string", suggested: STRATEGIES, describe: "Put strategies side by side: NAME,NAME,…" },
  history: {
    type: "string",
    names: "file",
    repeated: true,
    describe: "With --compare: closure graph of an earlier release, oldest first",
  },
  compression: {
    type: "string",
    suggested: COMPRESSIONS,
    describe: "With --exact: none, gzip (default) or zstd, with a level: zstd:19",
  },
  ...IMAGE_FLAGS,
  ...DOCKERTOOLS_FLAGS,
  ...CACHE_FLAGS,
  ...REGISTRY_FLAGS,
};

/** How images are copied. */
export const COPY_FLAGS: Flags = {
  ...REPACK_FLAG,
  platform: { type: "string", describe: "OS/ARCHITECTURE[/VARIANT], where the source has several" },
  lock: {
    type: "string",
    names: "file",
    describe: "File that says which image the source's name in a registry stands for; made where it is missing",
  },
  ...DRY_RUN_FLAG,
  ...CACHE_FLAGS,
  ...PUSH_FLAGS,
};

/** Which images are merged, and how. */
export const MERGE_FLAGS: Flags = {
  to: {
    type: "string",
    names: "place",
    repeated: true,
    describe: "Where to, a place that takes several images: docker-archive:FILE, oci-archive:FILE or oci:DIR",
  },
  ...REPACK_FLAG,
  platform: { type: "string", describe: "OS/ARCHITECTURE[/VARIANT], where a source has several" },
  ...DRY_RUN_FLAG,
  ...CACHE_FLAGS,
  ...REGISTRY_FLAGS,
};

/** Which images are looked at. */
export const EXAMINE_FLAGS: Flags = {
  platform: { type: "string", describe: "Only images of this platform: OS/ARCHITECTURE[/VARIANT]" },
  ...REGISTRY_FLAGS,
};

/** What an image is compared with, and how. */
export const VERIFY_FLAGS: Flags = {
  exact: {
    type: "boolean",
    describe: "Pack the layers, too: every stored byte has to be the same, config and manifest included",
  },
  compression: {
    type: "string",
    suggested: COMPRESSIONS,
    describe: "With --exact: none, gzip or zstd, with a level (default as the spec says, else as the image is packed)",
  },
  "no-read": { type: "boolean", describe: "Believe the image's manifest and config what its layers are" },
  "trust-cache": {
    type: "boolean",
    describe: "Believe the digest cache what layers become, instead of reading the store",
  },
  all: { type: "boolean", describe: "List all files, not only the first 50 of each kind" },
  platform: { type: "string", describe: "OS/ARCHITECTURE[/VARIANT], where the image's name stands for several" },
  ...IMAGE_FLAGS,
  ...DOCKERTOOLS_FLAGS,
  ...CACHE_DIRECTORY_FLAGS,
  ...REGISTRY_FLAGS,
};

/** Which image is unpacked, and where to. */
export const EXPORT_FLAGS: Flags = {
  output: {
    type: "string",
    names: "file",
    alias: "o",
    describe: "Write to FILE, which appears whole (default standard output)",
  },
  ...EXAMINE_FLAGS,
};

/** How images are compared. */
export const DIFF_FLAGS: Flags = {
  ...EXAMINE_FLAGS,
  all: { type: "boolean", describe: "List all files, not only the first 50 of each kind" },
};

/** Flags every command has. */
export const GLOBAL_FLAGS: Flags = {
  json: { type: "boolean", describe: "Results and errors as JSON" },
  quiet: { type: "boolean", alias: "q", describe: "Print nothing but errors on standard error" },
  verbose: { type: "boolean", alias: "v", describe: "Say more about what is done" },
  progress: { type: "string", choices: ["auto", "plain", "none"], describe: "How to show progress (default auto)" },
  help: { type: "boolean", alias: "h", describe: "Show this help" },
  color: { type: "string", choices: ["auto", "always", "never"], describe: "Colour on standard error (default auto)" },
};

/** The flags of a command, those of every command included. */
export function flagsOf(command: Command): Flags {
  return { ...command.flags, ...GLOBAL_FLAGS };
}
