import { compareStrings } from "../core/errors.js";
import type { FieldChange } from "./diff-config.js";
import type { Cause, ExpectedImage, VerifiedLayer } from "./verification.js";

type Paths = readonly (readonly string[] | undefined)[];

interface Findings {
  readonly config: readonly FieldChange[];
  readonly layers: readonly VerifiedLayer[];
  /** The store paths that the history lists, by layer. */
  readonly pathsBefore: Paths;
  readonly pathsAfter: Paths;
  readonly expected: ExpectedImage;
}

/** Recognises what is most often the reason, each once, the one that explains most first. */
export async function likelyCauses(findings: Findings): Promise<readonly Cause[]> {
  const causes = [
    ...otherStorePaths(findings),
    ...otherSplit(findings),
    ...findings.layers.flatMap(otherOptions),
    ...otherTime(findings),
    ...(await otherContents(findings)),
  ];
  return [...new Map(causes.map((cause) => [cause.message, cause])).values()];
}

/** Store paths that are named; the others are counted. */
const SHOWN = 5;

function otherStorePaths({ pathsBefore, pathsAfter }: Findings): readonly Cause[] {
  const [before, after] = [allOf(pathsBefore), allOf(pathsAfter)];
  if (before.size === 0 || after.size === 0) return [];
  const onlyBefore = [...before].filter((path) => !after.has(path)).sort(compareStrings);
  const onlyAfter = [...after].filter((path) => !before.has(path)).sort(compareStrings);
  const messages: string[] = [];
  for (const path of onlyAfter) {
    const at = onlyBefore.findIndex((other) => stemOf(other) === stemOf(path));
    const [other] = at < 0 ? [] : onlyBefore.splice(at, 1);
    messages.push(`the image has ${path}, the input ${other ?? "does not"}`);
  }
  messages.push(...onlyBefore.map((path) => `the input has ${path}, the image does not`));
  const more = messages.length - SHOWN;
  return [...messages.slice(0, SHOWN), ...(more > 0 ? [`${more} more store paths are not in both`] : [])].map(
    (message) => ({ kind: "store-paths", message }),
  );
}

function otherSplit({ pathsBefore, pathsAfter }: Findings): readonly Cause[] {
  const [before, after] = [allOf(pathsBefore), allOf(pathsAfter)];
  if (before.size === 0 || before.size !== after.size || ![...before].every((path) => after.has(path))) return [];
  const [splitBefore, splitAfter] = [splitOf(pathsBefore), splitOf(pathsAfter)];
  if (splitBefore.join("\n") === splitAfter.join("\n")) return [];
  const isOrder = [...splitBefore].sort().join("\n") === [...splitAfter].sort().join("\n");
  const message = isOrder
    ? "the layers are the same in another order: another --strategy or --layering-pipeline, or another --previous"
    : `the same ${before.size} store paths are in ${splitAfter.length} layers of the image, and in ${splitBefore.length} of what the input gives: another --max-layers, --strategy or --layering-pipeline, or another --previous`;
  return [{ kind: "split", message }];
}

/** What the first header that differs tells. */
function otherOptions({ firstDifference, layer }: VerifiedLayer): readonly Cause[] {
  if (firstDifference === null || firstDifference.where !== "header") return [];
  const { before, after, fields, offset } = firstDifference;
  const causes: Cause[] = [];
  if (before !== null && after !== null && offset < FIRST_HEADER) {
    const [expected, found] = [profileOf(before), profileOf(after)];
    if (expected !== found) {
      causes.push({
        kind: "tar-profile",
        message: `names are written as by the tar profile ${found} in the image, and as by ${expected} by the input: another --tar-profile`,
      });
    }
  }
  const of = (name: string) => fields.find(({ field }) => field === name);
  const mtime = of("mtime");
  if (mtime !== undefined) {
    const message = `files are of the time ${mtime.after} in the image, and of ${mtime.before} by the input, in seconds since 1970: another --mtime`;
    causes.push({ kind: "mtime", message });
  }
  const owners = ["uid", "gid", "uname", "gname"].flatMap((name) => of(name) ?? []);
  if (owners.length > 0 && (causes.length > 0 || before === after)) {
    const changes = owners.map(({ field, before: a, after: b }) => `${field} ${b || "none"} instead of ${a || "none"}`);
    causes.push({
      kind: "owner",
      message: `files have another owner in the image, ${changes.join(", ")}: another --uid, --gid, --uname, --gname or --perms`,
    });
  }
  if (causes.length === 0 && fields.length === 0 && before !== null && after !== null) {
    const message = `layer ${layer} says the same of ${after} in another form: another program, or another version of it, wrote it`;
    causes.push({ kind: "tar-profile", message });
  }
  return causes;
}

/** Bytes of a header without extensions. */
const FIRST_HEADER = 512;

/** The profile whose first entry has such a name. */
function profileOf(name: string): string {
  if (name.startsWith("./")) return "gnu";
  if (!name.startsWith("/")) return "oci";
  return name !== "/" && name.endsWith("/") ? "dockertools" : "nix2container";
}

function otherTime({ config }: Findings): readonly Cause[] {
  const created = config.find(({ field }) => field === "created");
  if (created === undefined) return [];
  const [before, after] = [created.before, created.after].map((time) => (typeof time === "string" ? time : "no time"));
  return [{ kind: "created", message: `the image was created at ${after}, not at ${before}: another --created` }];
}

/** Who changed: the store, or the image. */
async function otherContents({ layers, expected, pathsBefore, pathsAfter }: Findings): Promise<readonly Cause[]> {
  const causes: Cause[] = [];
  for (const { layer, firstDifference, expected: partner } of layers) {
    if (firstDifference === null || partner === null) continue;
    const damaged = await expected.damagedStorePaths?.(partner.layer - 1);
    for (const path of damaged ?? []) {
      const message = `${path} changed: its NAR hash is not the recorded one; nix-store --repair-path fetches or builds it again`;
      causes.push({ kind: "store-changed", message });
    }
    const paths = pathsBefore[partner.layer - 1] ?? [];
    const isOfTheSame = paths.length > 0 && paths.join(" ") === pathsAfter[layer - 1]?.join(" ");
    if (damaged?.length !== 0 || !isOfTheSame || firstDifference.where !== "contents") continue;
    const message = `all store paths of layer ${layer} have their NAR hashes: the image was changed, or is made of another build of them`;
    causes.push({ kind: "contents", message });
  }
  return causes;
}

function allOf(paths: Paths): ReadonlySet<string> {
  return new Set(paths.flatMap((list) => list ?? []));
}

/** The store paths of each layer that lists some, as one text. */
function splitOf(paths: Paths): readonly string[] {
  return paths.flatMap((list) => (list === undefined || list.length === 0 ? [] : [[...list].sort().join(" ")]));
}

/** What a package is called, without its hash and version. */
function stemOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/^[^-]*-/, "");
  return name.replace(/-[0-9].*$/, "");
}
