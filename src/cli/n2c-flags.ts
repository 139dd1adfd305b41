import type { Flags } from "./command.js";

/** How nix2container's program makes layers. */
export const N2C_LAYER_FLAGS: Flags = {
  "max-layers": {
    type: "number",
    signed: true,
    describe: "Layers at most (default 1); below 1: one for each store path",
  },
  ignore: { type: "string", names: "path", describe: "Leave this store path out" },
  rewrites: { type: "string", names: "file", describe: "JSON file of paths to move: [{path, regex, repl}]" },
  perms: {
    type: "string",
    names: "file",
    describe: "JSON file of permissions: [{path, regex, mode, uid, gid, uname, gname}]",
  },
  history: {
    type: "string",
    names: "file",
    describe: "JSON file of the layers' history: {created_by, author, comment}",
  },
  "store-root": { type: "string", names: "directory", describe: "Read /nix/store/x from DIR/nix/store/x (default /)" },
};

/** How nix2container's program makes images. */
export const N2C_IMAGE_FLAGS: Flags = {
  "from-image": { type: "string", names: "file", describe: "Image file whose layers come first" },
  arch: { type: "string", describe: "CPU architecture (default that of this machine)" },
  created: { type: "string", describe: "Creation time (default 0001-01-01T00:00:00Z)" },
};

/** What all of nix2container's commands have. */
export const N2C_FLAGS: Flags = {
  debug: { type: "boolean", alias: "d", describe: "The same as --verbose" },
};
