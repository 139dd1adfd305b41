import type { Command, CommandGroup } from "./command.js";
import { DISK_FLAGS, DISK_VERIFY_FLAGS } from "./disk-flags.js";
import {
  BUILD_FLAGS,
  CACHE_DIRECTORY_FLAGS,
  CACHE_PRUNE_FLAGS,
  COPY_FLAGS,
  DIFF_FLAGS,
  EXAMINE_FLAGS,
  EXPORT_FLAGS,
  MERGE_FLAGS,
  NIX_DATABASE_FLAGS,
  PLAN_FLAGS,
  PUSH_IMAGE_FLAGS,
  SHELL_FLAGS,
  STREAM_FLAGS,
  VERIFY_FLAGS,
} from "./flags.js";
import { CLOSURE_FLAGS } from "./image-flags.js";
import { N2C_FLAGS, N2C_IMAGE_FLAGS, N2C_LAYER_FLAGS } from "./n2c-flags.js";

/** All commands, in the order of the help. */
export const COMMANDS: readonly (Command | CommandGroup)[] = [
  {
    name: "stream",
    describe: "Write a docker-archive to standard output, reading every file once",
    inputs: "INPUT...",
    flags: STREAM_FLAGS,
    load: () => import("./commands/stream.js"),
  },
  {
    name: "build",
    describe: "Build an image into one or several places, reading every file once",
    inputs: "INPUT...",
    flags: BUILD_FLAGS,
    load: () => import("./commands/build.js"),
  },
  {
    name: "push",
    describe: "Build an image into a registry: build --to docker://…, layers packed by gzip",
    inputs: "INPUT... docker://NAME[:TAG]...",
    flags: PUSH_IMAGE_FLAGS,
    load: async () => ({ default: (await import("./commands/build.js")).push }),
  },
  {
    name: "shell",
    describe: "Make the image in which one is where nix-shell would lead: a derivation's inputs and environment",
    inputs: "DERIVATION",
    flags: SHELL_FLAGS,
    load: () => import("./commands/shell.js"),
  },
  {
    name: "copy",
    describe: "Copy images from one place to others",
    inputs: "SOURCE DESTINATION...",
    flags: COPY_FLAGS,
    load: () => import("./commands/copy.js"),
  },
  {
    name: "merge",
    describe: "Bring the images of several places to one",
    inputs: "SOURCE SOURCE...",
    flags: MERGE_FLAGS,
    load: () => import("./commands/merge.js"),
  },
  {
    name: "plan",
    describe: "Show which store path goes to which layer, why, and what an update uploads",
    inputs: "INPUT...",
    flags: PLAN_FLAGS,
    load: () => import("./commands/plan.js"),
  },
  {
    name: "closure",
    describe: "Print the closure graph as JSON",
    inputs: "INPUT...",
    flags: CLOSURE_FLAGS,
    load: () => import("./commands/closure.js"),
  },
  {
    name: "schema",
    describe: "Print the JSON Schema of spec files, or of those of disk images",
    inputs: "[disk]",
    flags: {},
    load: () => import("./commands/schema.js"),
  },
  {
    name: "inspect",
    describe: "Show what images are made of, without reading their layers",
    inputs: "SOURCE",
    flags: EXAMINE_FLAGS,
    load: () => import("./commands/inspect.js"),
  },
  {
    name: "validate",
    describe: "Read images whole and say what is wrong with them, and for whom",
    inputs: "SOURCE",
    flags: EXAMINE_FLAGS,
    load: () => import("./commands/validate.js"),
  },
  {
    name: "diff",
    describe: "Compare two images: config, layers and files",
    inputs: "SOURCE SOURCE",
    flags: DIFF_FLAGS,
    load: () => import("./commands/diff.js"),
  },
  {
    name: "verify",
    describe: "Build an image once more, writing nothing, and say what of IMAGE is not as INPUT gives it",
    inputs: "IMAGE INPUT...",
    flags: VERIFY_FLAGS,
    load: () => import("./commands/verify.js"),
  },
  {
    name: "export",
    describe: "Write the root file system of an image as one tar",
    inputs: "SOURCE",
    flags: EXPORT_FLAGS,
    load: () => import("./commands/export.js"),
  },
  {
    name: "disk",
    describe: "Make a disk image, bootable or not, of a closure or of an image",
    inputs: "SPEC",
    flags: DISK_FLAGS,
    load: () => import("./commands/disk.js"),
    commands: [
      {
        name: "verify",
        describe: "Look whether a disk image is sound, and whether it boots",
        inputs: "FILE",
        flags: DISK_VERIFY_FLAGS,
        load: () => import("./commands/disk-verify.js"),
      },
    ],
  },
  {
    name: "nix-db",
    describe: "Write the Nix database of a closure into a directory",
    inputs: "INPUT...",
    flags: NIX_DATABASE_FLAGS,
    load: () => import("./commands/nix-db.js"),
  },
  {
    name: "cache",
    describe: "Look after the digests and packed layers that are kept from one build to the next",
    commands: [
      {
        name: "info",
        describe: "Show where the cache is and what it holds",
        inputs: "",
        flags: CACHE_DIRECTORY_FLAGS,
        load: async () => ({ default: (await import("./commands/cache.js")).info }),
      },
      {
        name: "prune",
        describe: "Remove what is not wanted any more",
        inputs: "",
        flags: CACHE_PRUNE_FLAGS,
        load: async () => ({ default: (await import("./commands/cache.js")).prune }),
      },
      {
        name: "export",
        describe: "Write all digests to a file, or with - to standard output",
        inputs: "FILE",
        flags: CACHE_DIRECTORY_FLAGS,
        load: async () => ({ default: (await import("./commands/cache.js")).exportDigests }),
      },
      {
        name: "import",
        describe: "Add the digests of a file, or with - of standard input",
        inputs: "FILE",
        flags: CACHE_DIRECTORY_FLAGS,
        load: async () => ({ default: (await import("./commands/cache.js")).importDigests }),
      },
    ],
  },
  {
    name: "completion",
    describe: "Print the script with which a shell completes command lines of oci-nix",
    inputs: "bash|zsh|fish",
    flags: {},
    load: async () => {
      const { printCompletion } = await import("./commands/completion.js");
      return { default: (invocation) => printCompletion(invocation, COMMANDS) };
    },
  },
  {
    name: "n2c",
    describe: "Commands, flags and files of nix2container's own program",
    commands: [
      {
        name: "layers-from-reproducible-storepaths",
        describe: "Write the layers file of a closure",
        inputs: "OUTPUT GRAPH [PARENT-LAYERS...]",
        flags: { ...N2C_LAYER_FLAGS, ...N2C_FLAGS },
        load: async () => ({ default: (await import("./commands/n2c.js")).layers }),
      },
      {
        name: "layers-from-non-reproducible-storepaths",
        describe: "Write the layers file of a closure and, beside it, the layers, as nobody could make them again",
        inputs: "OUTPUT GRAPH [PARENT-LAYERS...]",
        flags: {
          ...N2C_LAYER_FLAGS,
          "tar-directory": { type: "string", names: "directory", describe: "Write the layers to DIRECTORY" },
          ...N2C_FLAGS,
        },
        load: async () => ({ default: (await import("./commands/n2c.js")).layers }),
      },
      {
        name: "image",
        describe: "Write the image file of a config and layers files",
        inputs: "OUTPUT CONFIG LAYERS...",
        flags: { ...N2C_IMAGE_FLAGS, ...N2C_FLAGS },
        load: async () => ({ default: (await import("./commands/n2c.js")).image }),
      },
      {
        name: "image-from-dir",
        describe: "Write the image file of a directory that skopeo copied an image to",
        inputs: "OUTPUT DIRECTORY",
        flags: N2C_FLAGS,
        load: async () => ({ default: (await import("./commands/n2c.js")).imageFromDir }),
      },
      {
        name: "image-from-manifest",
        describe: "Write the image file of a manifest and the files of its blobs",
        inputs: "OUTPUT MANIFEST BLOBS",
        flags: N2C_FLAGS,
        load: async () => ({ default: (await import("./commands/n2c.js")).imageFromManifest }),
      },
    ],
  },
];

/** What a command line's first words name. */
export interface Named {
  /** The words, as help and errors show them; empty for the program itself. */
  readonly words: string;
  readonly command?: Command;
  /** What could come next. */
  readonly commands: readonly (Command | CommandGroup)[];
  /** The arguments after the words. */
  readonly rest: readonly string[];
}

/** The command, or the group of commands, that the first arguments name. */
export function findCommand(args: readonly string[]): Named {
  let named: Named = { words: "", commands: COMMANDS, rest: args };
  for (;;) {
    const [word, ...rest] = named.rest;
    const found = named.commands.find(({ name }) => name === word);
    if (found === undefined) return named;
    const words = `${named.words} ${found.name}`.trim();
    named = { words, ...("load" in found ? { command: found } : {}), commands: found.commands ?? [], rest };
  }
}
