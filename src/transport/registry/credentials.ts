import { homedir } from "node:os";
import { join } from "node:path";
import { OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../../core/json.js";
import { readTextFile } from "../../core/json-file.js";
import { withoutTrailing } from "../../core/trim.js";
import type { Clock } from "./clock.js";
import { askHelper } from "./credential-helper.js";
import { DOCKER_HUB_SERVER, isDockerHub, namesOf } from "./hosts.js";

/** What shows a registry, or its token server, who asks. */
export type Credential = (
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** For the token server, in a password's place. */
  | { readonly kind: "identity"; readonly token: string }
  /** For the registry itself: the token server is not asked. */
  | { readonly kind: "registry"; readonly token: string }
) & {
  /** Where it was found, for messages. */
  readonly from: string;
};

/** What there is for a registry. */
export interface FoundCredential {
  readonly credential: Credential | undefined;
  /** The helpers that were asked and gave none. */
  readonly without: readonly string[];
}

/** The user name that says that the password is an identity token. */
const IDENTITY_TOKEN = "<token>";

/**
 * The files that credentials are looked up in, the first one that has some counts; as podman and skopeo document it:
 * REGISTRY_AUTH_FILE alone where it is set; else $XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID/auth.json without the variable),
 * $XDG_CONFIG_HOME/containers/auth.json (~/.config/…), $DOCKER_CONFIG/config.json (~/.docker/…).
 */
function credentialFiles(): readonly string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG, HOME } = process.env;
  if (REGISTRY_AUTH_FILE) return [REGISTRY_AUTH_FILE];
  const home = HOME || homedir();
  return [
    join(
      XDG_RUNTIME_DIR || `/run/containers/${process.getuid?.() ?? 0}`,
      XDG_RUNTIME_DIR ? "containers" : "",
      "auth.json",
    ),
    join(XDG_CONFIG_HOME || join(home, ".config"), "containers/auth.json"),
    join(DOCKER_CONFIG || join(home, ".docker"), "config.json"),
  ];
}

/**
 * Finds the credentials for a repository of a registry. In each file, in this order: the helper that `credHelpers` names for the registry; the
 * store that `credsStore` names; `auths`, the entry for the repository, for what is above it, for the registry.
 * @throws OciNixError `invalid-input`, `unreadable` or `not-found` for files that are broken; as {@link askHelper}
 */
export async function findCredential(
  host: string,
  repository: string | undefined,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<FoundCredential> {
  const without = new Set<string>();
  for (const file of credentialFiles()) {
    const config = await readConfig(file);
    if (config === undefined) continue;
    const onNone = (helper: string) => void without.add(`${helper}, which ${file} names,`);
    const credential =
      (await fromHelper(host, config, file, { ...options, onNone })) ?? fromAuths(host, repository, config, file);
    if (credential !== undefined) return { credential, without: [...without] };
  }
  return { credential: undefined, without: [...without] };
}

async function readConfig(file: string): Promise<JsonObject | undefined> {
  let text: string;
  try {
    text = await readTextFile(file);
  } catch (error) {
    const isMissing = error instanceof OciNixError && error.code === "not-found";
    if (!isMissing) throw error;
    if (!process.env.REGISTRY_AUTH_FILE) return undefined;
    throw new OciNixError("not-found", `${file}, which REGISTRY_AUTH_FILE names, is not there`, { cause: error });
  }
  // What docker makes of a file that somebody has only touched.
  if (text.trim() === "") return new Map();
  const config = parseJson(text, file);
  if (!isJsonObject(config)) throw new OciNixError("invalid-input", `${file} is no JSON object`);
  return config;
}

async function fromHelper(
  host: string,
  config: JsonObject,
  file: string,
  options: { readonly clock: Clock; readonly signal: AbortSignal; onNone(helper: string): void },
): Promise<Credential | undefined> {
  const helpers = objectAt(config, "credHelpers", file);
  const servers = isDockerHub(host) ? [DOCKER_HUB_SERVER, "docker.io"] : [host];
  const names = [...namesOf(host), ...servers];
  const own = names.map((name) => helpers.get(name)).find((helper) => helper !== undefined && helper !== "");
  for (const helper of new Set([own, config.get("credsStore")])) {
    if (helper === undefined || helper === null || helper === "") continue;
    if (typeof helper !== "string") throw new OciNixError("invalid-input", `${file}: a credential helper is no string`);
    for (const server of servers) {
      const answer = await askHelper(helper, server, { file, ...options });
      if (answer === undefined) continue;
      return passwordOrIdentity(answer.username, answer.secret, `docker-credential-${helper}`);
    }
    options.onNone(`docker-credential-${helper}`);
  }
  return undefined;
}

function fromAuths(
  host: string,
  repository: string | undefined,
  config: JsonObject,
  file: string,
): Credential | undefined {
  const auths = objectAt(config, "auths", file);
  const parts = repository?.split("/") ?? [];
  const names = namesOf(host);
  const exact = parts
    .map((_, i) => parts.slice(0, parts.length - i).join("/"))
    .flatMap((path) => names.map((name) => `${name}/${path}`));
  const plain = [...auths.keys()].filter((key) => names.includes(registryOfKey(key)));
  for (const key of [...exact, ...names, ...plain]) {
    const entry = auths.get(key);
    if (entry === undefined || entry === null) continue;
    if (!isJsonObject(entry)) throw new OciNixError("invalid-input", `${file}: the entry of ${key} is no object`);
    const found = fromEntry(entry, key, file);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `registry.example` for `https://registry.example/v1/` and such; a key for some repositories stays what it is. */
function registryOfKey(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/(?:v[12]\/?)?$/, "");
}

function fromEntry(entry: JsonObject, key: string, file: string): Credential | undefined {
  const text = (name: string): string => {
    const value = entry.get(name) ?? "";
    if (typeof value === "string") return value;
    throw new OciNixError("invalid-input", `${file}: ${name} of ${key} is no string`);
  };
  const [registryToken, identityToken] = [text("registrytoken"), text("identitytoken")];
  if (!/^[\x21-\x7e]*$/.test(registryToken)) {
    throw new OciNixError(
      "invalid-input",
      `${file}: registrytoken of ${key} holds blanks or line breaks, which no token does`,
      {
        hint: "write the token alone, without a line break at its end",
      },
    );
  }
  if (registryToken !== "") return { kind: "registry", token: registryToken, from: file };
  if (identityToken !== "") return { kind: "identity", token: identityToken, from: file };
  const [username, password] = decodeAuth(text("auth"), key, file) ?? [text("username"), text("password")];
  return username === "" && password === "" ? undefined : passwordOrIdentity(username, password, file);
}

function decodeAuth(text: string, key: string, file: string): readonly [string, string] | undefined {
  // Programs that wrap base64 put line breaks there, which Docker passes over.
  const auth = text.replace(/[\r\n]/g, "");
  if (auth === "") return undefined;
  const isBase64 = /^[A-Za-z0-9+/]+=*$/.test(auth);
  // Docker pads with zero bytes.
  const pair = withoutTrailing(Buffer.from(auth, "base64").toString("utf8"), "\0");
  const colon = pair.indexOf(":");
  if (isBase64 && colon > 0) return [pair.slice(0, colon), pair.slice(colon + 1)];
  throw new OciNixError("invalid-input", `${file}: auth of ${key} is not USER:PASSWORD in base64`, {
    hint: "podman login or docker login writes it",
  });
}

function passwordOrIdentity(username: string, password: string, from: string): Credential {
  return username === IDENTITY_TOKEN
    ? { kind: "identity", token: password, from }
    : { kind: "password", username, password, from };
}

function objectAt(config: JsonObject, key: string, file: string): JsonObject {
  const value = config.get(key) ?? new Map<string, Json>();
  if (isJsonObject(value)) return value;
  throw new OciNixError("invalid-input", `${file}: ${key} is no object`);
}
