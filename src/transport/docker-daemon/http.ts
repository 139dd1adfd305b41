import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { describeErrno, errnoOf, OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import { isJsonObject, type Json, parseJson } from "../../core/json.js";
import type { DockerHost } from "./host.js";

/** The status, and the body, which is null where it is no JSON. */
export interface EngineAnswer {
  readonly status: number;
  readonly json: Json;
  readonly text: string;
}

/** A request that was begun: its body is to be written and ended. */
export interface EngineRequest {
  readonly request: ClientRequest;
  /** @throws OciNixError as {@link EngineHttp.get} */
  readonly response: Promise<IncomingMessage>;
}

/** Requests to a container engine. */
export interface EngineHttp {
  /** What messages call the engine. */
  readonly title: string;
  readonly signal: AbortSignal | undefined;
  /**
   * Any status is an answer.
   * @throws OciNixError `unavailable` where the engine cannot be reached or falls silent, `denied` where we may not ask it, `limit` for an
   *   endless answer; the signal's reason
   */
  get(path: string): Promise<EngineAnswer>;
  begin(method: "GET" | "POST", path: string, headers?: Readonly<Record<string, string>>): EngineRequest;
  /** What an error of a request is to us: one of ours. */
  explain(error: unknown): OciNixError;
  close(): void;
}

/** Of silence, for questions. An engine that is busy with its disk may take its time. */
const TIMEOUT_MS = 120_000;
/** Of a JSON document. */
const MAX_ANSWER = 64 * 1024 * 1024;
const MAX_SOCKETS = 8;

export async function openEngineHttp(host: DockerHost, signal: AbortSignal | undefined): Promise<EngineHttp> {
  // Loaded here, as most runs do without.
  const { Agent, request } = host.tls === undefined ? await import("node:http") : await import("node:https");
  const agent: Agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  const title = `the Docker daemon at ${host.address}`;
  const place = "socketPath" in host.place ? host.place : { hostname: host.place.host, port: host.place.port };

  const explain = (error: unknown): OciNixError => {
    if (error instanceof OciNixError) return error;
    return signal?.aborted ? abortReason(signal) : unreachable(host, title, error);
  };

  const begin: EngineHttp["begin"] = (method, path, headers = {}) => {
    const options: RequestOptions = {
      ...place,
      ...host.tls,
      method,
      path: host.basePath + path,
      headers,
      // What cannot be sent again gets a connection that nobody has closed meanwhile.
      agent: method === "GET" && agent,
      ...(signal === undefined ? {} : { signal }),
    };
    const started = request(options);
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      started.once("response", resolve);
      started.on("error", (error) => reject(explain(error)));
    });
    // Whoever writes the body learns of it as well.
    response.catch(() => undefined);
    return { request: started, response };
  };

  const ask = async (path: string): Promise<EngineAnswer> => {
    const { request: started, response } = begin("GET", path);
    started.setTimeout(TIMEOUT_MS, () => {
      started.destroy(new OciNixError("unavailable", `${title} has not answered for ${TIMEOUT_MS / 1000} s`));
    });
    started.end();
    return await readAnswer(await response, title, explain);
  };

  return {
    title,
    signal,
    begin,
    explain,
    async get(path) {
      try {
        return await ask(path);
      } catch (error) {
        // A connection that was kept may have been closed meanwhile; asking twice does no harm.
        if (errnoOf((error as Error).cause) !== "ECONNRESET" || signal?.aborted) throw error;
        return await ask(path);
      }
    },
    close: () => agent.destroy(),
  };
}

/** Reads an answer to its end. */
export async function readAnswer(
  response: IncomingMessage,
  title: string,
  explain: (error: unknown) => OciNixError,
): Promise<EngineAnswer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > MAX_ANSWER) {
        throw new OciNixError("limit", `${title} answered with more than ${MAX_ANSWER} bytes`);
      }
      pieces.push(piece);
    }
  } catch (error) {
    throw explain(error);
  }
  const text = Buffer.concat(pieces).toString("utf8");
  return { status: response.statusCode ?? 0, json: jsonOf(text), text };
}

function jsonOf(text: string): Json {
  try {
    return parseJson(text, "");
  } catch {
    return null;
  }
}

/** Why an engine refuses, in its own words. */
export function reasonOf({ status, json, text }: EngineAnswer): string {
  const message = isJsonObject(json) ? json.get("message") : undefined;
  const words = typeof message === "string" ? message : text;
  return words.trim().slice(0, 2000) || `status ${status}`;
}

function unreachable({ address, origin, place, tls }: DockerHost, title: string, error: unknown): OciNixError {
  const code = errnoOf(error) ?? "";
  const by = origin === undefined ? "" : ` (${origin})`;
  if (code === "EACCES" || code === "EPERM") {
    return new OciNixError("denied", `${title}${by}: ${describeErrno(error)}`, {
      hint: "be in the group docker (usermod -aG docker USER, then log in again), or use rootless Docker",
      cause: error,
    });
  }
  if (code === "EPIPE" || code === "ECONNRESET") {
    const hint = "its log may say why: journalctl -u docker";
    return new OciNixError("unavailable", `${title}${by} closed the connection (${code})`, { hint, cause: error });
  }
  const isAbsent = code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTSOCK";
  const what = isAbsent ? `there is no Docker daemon at ${address}${by}` : `${title}${by} cannot be reached`;
  const start = "socketPath" in place ? "start it: systemctl start docker" : "is it running, and does it listen there?";
  const setHost = origin === undefined ? `${start}; or set DOCKER_HOST` : start;
  const isUntrusted = tls !== undefined && /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|SSL|TLS/.test(code);
  const hint = isUntrusted ? "put its CA into ca.pem in DOCKER_CERT_PATH" : setHost;
  // Where a name has several addresses, Node says nothing but the code.
  return new OciNixError("unavailable", `${what}: ${describeErrno(error) || code}`, { hint, cause: error });
}
