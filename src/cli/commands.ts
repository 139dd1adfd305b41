import type { Command, Flags } from "./command.js";
import { CLOSURE_FLAGS, GLOBAL_FLAGS, IMAGE_FLAGS, LAYER_FLAGS, NIX_DATABASE_FLAGS } from "./flags.js";

/** All commands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  {
    name: "stream",
    describe: "Write a docker-archive to standard output, reading every file once",
    inputs: "INPUT...",
    flags: IMAGE_FLAGS,
    load: () => import("./commands/stream.js"),
  },
  {
    name: "plan",
    describe: "Show which store path goes to which layer",
    inputs: "INPUT...",
    flags: { ...LAYER_FLAGS, ...CLOSURE_FLAGS },
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
    name: "nix-db",
    describe: "Write the Nix database of a closure into a directory",
    inputs: "INPUT...",
    flags: NIX_DATABASE_FLAGS,
    load: () => import("./commands/nix-db.js"),
  },
];

/** The flags of a command, those of every command included. */
export function flagsOf(command: Command): Flags {
  return { ...command.flags, ...GLOBAL_FLAGS };
}
