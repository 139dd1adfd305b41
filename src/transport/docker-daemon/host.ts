import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../../core/digest.js";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, parseJson } from "../../core/json.js";
import { readJsonFileSync, readTextFileSync } from "../../core/json-file.js";
import { withoutTrailing } from "../../core/trim.js";

/** Where a container engine listens. */
export interface DockerHost {
  /** `unix:///var/run/docker.sock` */
  readonly address: string;
  /** Who says so, where somebody does: `DOCKER_HOST`. */
  readonly origin: string | undefined;
  readonly place: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  /** Put before every path, without a slash at its end; mostly empty. */
  readonly basePath: string;
  /** Undefined for connections without TLS. */
  readonly tls: TlsOptions | undefined;
}

/** What is missing is the system's. */
export interface TlsOptions {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly rejectUnauthorized: boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_SOCKET = "/var/run/docker.sock";
const PORT = 2375;
const TLS_PORT = 2376;

/**
 * The engine that the docker command would talk to: DOCKER_HOST, else the context of DOCKER_CONTEXT or `docker context use`, else the
 * first of these that is there: `/var/run/docker.sock`, rootless Docker's socket, CONTAINER_HOST (podman's).
 * @throws OciNixError `usage` for an address that is none; `unsupported` for ssh and what else we do not speak; `not-found`,
 *   `unreadable` or `invalid-input` for Docker's files
 */
export function dockerHost(environment: Environment = process.env): DockerHost {
  const { DOCKER_HOST, DOCKER_CONTEXT, CONTAINER_HOST, XDG_RUNTIME_DIR } = environment;
  const directory = configDirectory(environment);
  if (isSet(DOCKER_HOST)) return parseHost(DOCKER_HOST, "DOCKER_HOST", tlsOfEnvironment(environment, directory));
  const [context, origin] = isSet(DOCKER_CONTEXT)
    ? [DOCKER_CONTEXT, "DOCKER_CONTEXT"]
    : [currentContext(directory), join(directory, "config.json")];
  if (context !== undefined && context !== "default") return hostOfContext(context, origin, directory);
  const rootless = isSet(XDG_RUNTIME_DIR) ? join(XDG_RUNTIME_DIR, "docker.sock") : undefined;
  const socket = [DEFAULT_SOCKET, ...(rootless === undefined ? [] : [rootless])].find((path) => existsSync(path));
  if (socket === undefined && isSet(CONTAINER_HOST)) return parseHost(CONTAINER_HOST, "CONTAINER_HOST", undefined);
  return parseHost(`unix://${socket ?? DEFAULT_SOCKET}`, undefined, undefined);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}

function configDirectory({ DOCKER_CONFIG, HOME }: Environment): string {
  return isSet(DOCKER_CONFIG) ? DOCKER_CONFIG : join(isSet(HOME) ? HOME : homedir(), ".docker");
}

function currentContext(directory: string): string | undefined {
  const file = join(directory, "config.json");
  if (!existsSync(file)) return undefined;
  const text = readTextFileSync(file);
  const json = text.trim() === "" ? null : parseJson(text, file);
  const context = isJsonObject(json) ? json.get("currentContext") : undefined;
  return typeof context === "string" && context !== "" ? context : undefined;
}

/** Docker keeps a context under the digest of its name. */
function hostOfContext(context: string, origin: string, directory: string): DockerHost {
  const id = sha256(context).replace("sha256:", "");
  const file = join(directory, "contexts", "meta", id, "meta.json");
  if (!existsSync(file)) {
    throw new OciNixError("not-found", `there is no Docker context ${JSON.stringify(context)}, which ${origin} names`, {
      hint: "see docker context ls",
    });
  }
  const endpoint = at(at(readJsonFileSync(file), "Endpoints"), "docker");
  const host = at(endpoint, "Host");
  if (typeof host !== "string" || host === "") {
    throw new OciNixError("invalid-input", `${file}: Endpoints.docker.Host is missing`);
  }
  const tls = readTls(join(directory, "contexts", "tls", id, "docker"), at(endpoint, "SkipTLSVerify") !== true);
  const isPlain = Object.keys(tls).length === 1 && tls.rejectUnauthorized;
  return parseHost(host, `the context ${JSON.stringify(context)}`, isPlain ? undefined : tls);
}

function at(json: Json | undefined, key: string): Json | undefined {
  return isJsonObject(json) ? json.get(key) : undefined;
}

function tlsOfEnvironment(environment: Environment, directory: string): TlsOptions | undefined {
  const { DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH } = environment;
  if (!isSet(DOCKER_TLS_VERIFY) && !isSet(DOCKER_TLS)) return undefined;
  const tls = readTls(isSet(DOCKER_CERT_PATH) ? DOCKER_CERT_PATH : directory, isSet(DOCKER_TLS_VERIFY));
  if (isSet(DOCKER_CERT_PATH) && Object.keys(tls).length === 1) {
    throw new OciNixError(
      "not-found",
      `DOCKER_CERT_PATH: there is no ca.pem, cert.pem or key.pem in ${DOCKER_CERT_PATH}`,
    );
  }
  return tls;
}

function readTls(directory: string, rejectUnauthorized: boolean): TlsOptions {
  const [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map((name) => readIfThere(join(directory, name)));
  return {
    rejectUnauthorized,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw new OciNixError("unreadable", `cannot read ${file}: ${describeErrno(error)}`, { cause: error });
  }
}

function parseHost(text: string, origin: string | undefined, tls: TlsOptions | undefined): DockerHost {
  const [, scheme = "tcp", rest = text] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/s.exec(text) ?? [];
  const wrong = (what: string) =>
    new OciNixError("usage", `${origin}: ${what}`, { hint: "unix:///var/run/docker.sock or tcp://HOST:2376" });
  // An address that may hold a password is not repeated.
  if (/^[^/]*@/.test(rest) && scheme !== "ssh") throw wrong("credentials in the address are not used");
  if (scheme === "ssh") {
    throw new OciNixError("unsupported", `${origin}: a daemon is not reached by ssh`, {
      hint: "forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST, then DOCKER_HOST=unix:///tmp/docker.sock",
    });
  }
  if (scheme === "unix") {
    if (!rest.startsWith("/")) throw wrong(`${JSON.stringify(text)} names no socket`);
    return { address: text, origin, place: { socketPath: rest }, basePath: "", tls: undefined };
  }
  if (!["tcp", "http", "https"].includes(scheme)) {
    throw new OciNixError("unsupported", `${origin}: a daemon is not reached by ${scheme}`, {
      hint: "unix:///var/run/docker.sock or tcp://HOST:2376",
    });
  }
  const [, inBrackets, plain, port, path = ""] =
    /^(?:\[([0-9a-fA-F:.%]+)\]|([\w.-]*))(?::(\d{1,5}))?(\/.*)?$/.exec(rest) ?? [];
  const host = inBrackets ?? plain;
  if (host === undefined || Number(port ?? 1) > 65535 || Number(port ?? 1) === 0 || /[\s?#]/.test(path)) {
    throw wrong(`${JSON.stringify(text)} is not an address`);
  }
  const security = tls ?? (scheme === "https" ? { rejectUnauthorized: true } : undefined);
  return {
    address: text,
    origin,
    place: { host: host === "" ? "localhost" : host, port: Number(port ?? (security === undefined ? PORT : TLS_PORT)) },
    basePath: withoutTrailing(path, "/"),
    tls: scheme === "http" ? undefined : security,
  };
}
