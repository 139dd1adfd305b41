import { compareStrings } from "../core/errors.js";
import { isJsonObject, type Json, type JsonObject, wrong } from "../core/json.js";
import { checkContainerConfig, isContainerConfigField } from "./container-config.js";
import { inheritEnv } from "./image.js";

/** What an image takes over from its base's `config`: everything, the environment alone as nixpkgs' dockerTools has it, or nothing. */
export type Inheritance = "all" | "env" | "none";

/** Maps of which both images' keys count. */
const UNITED = ["ExposedPorts", "Volumes", "Labels"] as const;

/** Triggers for builds on top of an image, which these have been by now; and what only says how Windows reads `Cmd`. */
const NOT_INHERITED: ReadonlySet<string> = new Set(["OnBuild", "ArgsEscaped"]);

/**
 * The `config` of an image on top of a base. A field of the image itself goes before the base's; environment, ports, volumes and labels
 * are united, each name once. An image with an entrypoint of its own does not take the base's `Cmd`, which is made for another program.
 * @param base the base's `config`; unknown fields, which other programs leave there, are not inherited
 * @param where what errors call the base
 * @throws OciNixError `invalid-input` where a field of the base that is inherited has the wrong shape
 */
export function inheritConfig(base: Json | undefined, config: JsonObject, how: Inheritance, where: string): JsonObject {
  if (how === "none" || base === undefined || base === null) return config;
  if (!isJsonObject(base)) throw wrong(where, "an object", base);
  const known = new Map([...base].filter(([key, value]) => isContainerConfigField(key) && value !== null));
  const inherited = checkContainerConfig(how === "env" ? only(known, ["Env"]) : known, where);
  const merged = new Map([...inherited].filter(([key]) => !NOT_INHERITED.has(key)));
  if (config.has("Entrypoint")) merged.delete("Cmd");
  for (const [key, value] of config) merged.set(key, value);
  for (const key of UNITED) {
    const [below, above] = [inherited.get(key), config.get(key)];
    if (!isJsonObject(below) || !isJsonObject(above)) continue;
    merged.set(key, new Map([...new Map([...below, ...above])].sort(([a], [b]) => compareStrings(a, b))));
  }
  return checkContainerConfig(inheritEnv(inherited, merged.has("Env") ? withEnvOf(config, merged) : merged), where);
}

function only(config: JsonObject, keys: readonly string[]): JsonObject {
  return new Map([...config].filter(([key]) => keys.includes(key)));
}

/** The merged fields with the image's own environment alone, to which the base's is still to come. */
function withEnvOf(config: JsonObject, merged: ReadonlyMap<string, Json>): JsonObject {
  const env = config.get("Env");
  return new Map([...merged].filter(([key]) => key !== "Env").concat(env === undefined ? [] : [["Env", env]]));
}
