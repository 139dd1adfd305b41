import { type ImagePlan, OciNixError, planImage, recogniseInput, shellImageSpec } from "../../index.js";
import { type FlagValues, type Invocation, list, number, text } from "../command.js";
import { previousOptions } from "../delivery.js";
import { checkedSpecOf } from "../spec-from-flags.js";
import { buildTo } from "./build.js";
import stream from "./stream.js";

/** Flags that say something of places. */
const OF_PLACES = ["dry-run", "compression", "mount-from"];

/** Makes the image of a Nix shell, into places as `build` or to standard output as `stream`. */
export default async function shell(invocation: Invocation): Promise<void> {
  const { flags } = invocation;
  const to = list(flags, "to");
  if (to !== undefined) return await buildTo(to, invocation, planShell);
  const idle = OF_PLACES.find((name) => flags[name] !== undefined);
  if (idle !== undefined) {
    throw new OciNixError("usage", `--${idle} is for places, and there is no --to`, { hint: "--to oci:DIR:TAG" });
  }
  await stream(invocation, planShell);
}

async function planShell(invocation: Invocation): Promise<ImagePlan> {
  const { inputs, flags } = invocation;
  // nix-instantiate names outputs so, and the shell is the same for all of them.
  const plain = inputs.map((input) => input.replace(/(?<=\.drv)[!^][^/]*$/, ""));
  const [derivation, ...others] = plain.length === 0 ? [] : storePathsOf(plain, flags, "", DERIVATION_HINT);
  if (derivation === undefined || others.length > 0) {
    throw new OciNixError("usage", "shell needs one derivation", { hint: DERIVATION_HINT });
  }
  // Owner and tag mean something else there.
  const ofImage = { ...flags, uid: undefined, gid: undefined, tag: undefined };
  const image = await checkedSpecOf({ kind: "store-paths", roots: [derivation] }, ofImage);
  const extra = list(flags, "with");
  const spec = await shellImageSpec(derivation, {
    image: { ...image, tag: text(flags, "tag") },
    extra:
      extra === undefined ? [] : storePathsOf(extra, flags, "--with: ", "give store paths, as nix-build prints them"),
    shell: text(flags, "shell"),
    command: text(flags, "command"),
    run: text(flags, "run"),
    home: text(flags, "home"),
    uid: number(flags, "uid"),
    gid: number(flags, "gid"),
  });
  return await planImage(spec, previousOptions(invocation));
}

const DERIVATION_HINT = "oci-nix shell $(nix-instantiate shell.nix)";

/**
 * The store paths that arguments are or lead to.
 * @param where stands before messages
 * @param hint what to give instead of what is none
 */
function storePathsOf(args: readonly string[], flags: FlagValues, where: string, hint: string): readonly string[] {
  try {
    const input = recogniseInput(args, text(flags, "store-root") ?? "/");
    if (input.kind === "store-paths") return input.roots;
  } catch (error) {
    if (!(error instanceof OciNixError)) throw error;
    throw new OciNixError(error.code, `${where}${error.message}`, { hint, cause: error.cause });
  }
  throw new OciNixError("usage", `${where}${args.join(" ")} is a file that is no store path`, { hint });
}
