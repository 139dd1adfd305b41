import { makeNixDatabase, OciNixError } from "../../index.js";
import { type Invocation, text } from "../command.js";
import { closureSpecOf } from "../spec-from-flags.js";
import { formatBytes, printError, printOutput } from "../ui.js";

/** Writes a Nix database. */
export default async function nixDb({ inputs, flags, signal }: Invocation): Promise<void> {
  const directory = text(flags, "to");
  if (directory === undefined || directory === "") {
    throw new OciNixError("usage", "nix-db needs --to DIR, the directory that the database is for", {
      hint: "oci-nix nix-db INPUT --to DIR writes DIR/nix/var/nix/db/db.sqlite",
    });
  }
  const summary = await makeNixDatabase(await closureSpecOf(inputs, flags), directory);
  if (flags.json === true) {
    await printOutput(`${JSON.stringify(summary, undefined, 2)}\n`, signal);
  } else if (flags.quiet !== true) {
    const { database, size, storePaths } = summary;
    printError(`${database}: ${storePaths} store paths, ${formatBytes(size)}`);
  }
}
