import type { ClientRequest } from "node:http";
import type { ByteSink } from "../../core/byte-sink.js";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../../core/json.js";
import { readAnswerFirst } from "../pending-answer.js";
import { type Clock, SYSTEM_CLOCK } from "../registry/clock.js";
import type { DockerHost } from "./host.js";
import { type EngineAnswer, type EngineHttp, openEngineHttp, readAnswer, reasonOf } from "./http.js";

/** A container engine with Docker's API: Docker's own daemon, or podman's service. Errors are as those of `EngineHttp`. */
export interface DockerEngine {
  /** What messages call it. */
  readonly title: string;
  readonly isPodman: boolean;
  /** Whether the API is of this version or a later one: `1.48`. */
  isSince(version: string): boolean;
  /** `GET`; any status is an answer. @param path without a version: `/images/json` */
  get(path: string): Promise<EngineAnswer>;
  /** An archive to load, for which nothing is asked before the first byte. */
  load(): EngineLoad;
  /** The archive of an image, piece by piece. @throws OciNixError `not-found` */
  save(name: string): AsyncIterable<Buffer>;
  close(): void;
}

/** An archive on its way to an engine. */
export interface EngineLoad extends ByteSink {
  /** Bytes of the archive that went out. */
  readonly sent: number;
  /** All is written. @returns what the engine has against it; undefined where it took the images */
  end(): Promise<string | undefined>;
  /** Ends the connection, which the engine takes for a broken archive. Does nothing after {@link end}. */
  abort(): void;
}

/** The newest version of the API whose answers we know. */
const KNOWN = "1.48";

/**
 * How long an engine may neither take nor say a byte of an archive, in milliseconds. It unpacks the last layer, or packs the first one, in
 * silence.
 */
const SILENCE_MS = 600_000;

export interface DockerEngineOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long all requests together may take, in milliseconds from now; without end by default. */
  readonly deadlineMs?: number | undefined;
  readonly silenceMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Finds out what listens there. @throws OciNixError `unavailable` where it is no engine */
export async function openDockerEngine(host: DockerHost, options: DockerEngineOptions = {}): Promise<DockerEngine> {
  const { silenceMs = SILENCE_MS } = options;
  const { signal, release } = untilDeadline(host, options);
  const opened = await openEngineHttp(host, signal);
  const http = {
    ...opened,
    close() {
      release();
      opened.close();
    },
  };
  try {
    const answer = await http.get("/version");
    if (answer.status === 200 && isJsonObject(answer.json)) return engineOf(http, answer.json, silenceMs);
    const reason = reasonOf(answer);
    throw new OciNixError("unavailable", `${http.title} does not say its version: ${reason}`, {
      hint: /HTTPS/.test(reason)
        ? "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to a directory of ca.pem, cert.pem and key.pem"
        : "does something else listen there?",
    });
  } catch (error) {
    http.close();
    throw error;
  }
}

function untilDeadline(
  { address }: DockerHost,
  { signal: outer, deadlineMs, clock = SYSTEM_CLOCK }: DockerEngineOptions,
): { readonly signal: AbortSignal | undefined; release(): void } {
  if (deadlineMs === undefined) return { signal: outer, release: () => {} };
  const controller = new AbortController();
  const words = `the Docker daemon at ${address}: not done within ${deadlineMs / 1000} s`;
  const release = clock.after(deadlineMs, () => controller.abort(new OciNixError("unavailable", words)));
  const signals = outer === undefined ? [] : [outer];
  return { signal: AbortSignal.any([...signals, controller.signal]), release };
}

function engineOf(http: EngineHttp, version: JsonObject, silenceMs: number): DockerEngine {
  const newest = versionOf(version.get("ApiVersion")) ?? KNOWN;
  const oldest = versionOf(version.get("MinAPIVersion")) ?? newest;
  const common = isOlder(newest, KNOWN) ? newest : KNOWN;
  const spoken = isOlder(common, oldest) ? oldest : common;
  const components = version.get("Components");
  return {
    title: http.title,
    isPodman:
      Array.isArray(components) &&
      components.some((component: Json) => isJsonObject(component) && component.get("Name") === "Podman Engine"),
    isSince: (wanted) => !isOlder(spoken, wanted),
    get: (path) => http.get(`/v${spoken}${path}`),
    load: () => new Load(http, `/v${spoken}/images/load?quiet=1`, silenceMs),
    save: (name) => download(http, name, { path: `/v${spoken}/images/${name}/get`, silenceMs }),
    close: () => http.close(),
  };
}

function versionOf(json: Json | undefined): string | undefined {
  return typeof json === "string" && /^\d{1,4}\.\d{1,4}$/.test(json) ? json : undefined;
}

function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [otherMajor = 0, otherMinor = 0] = than.split(".").map(Number);
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}

function silent(title: string, silenceMs: number): OciNixError {
  return new OciNixError("unavailable", `${title} has neither taken nor said anything for ${silenceMs / 1000} s`, {
    hint: "its log may say why: journalctl -u docker",
  });
}

async function* download(
  http: EngineHttp,
  name: string,
  { path, silenceMs }: { readonly path: string; readonly silenceMs: number },
): AsyncGenerator<Buffer, void, void> {
  const { request, response } = http.begin("GET", path);
  let silence: OciNixError | undefined;
  request.setTimeout(silenceMs, () => {
    silence = silent(http.title, silenceMs);
    request.destroy(silence);
  });
  request.end();
  try {
    const answered = await response;
    if (answered.statusCode === 200) return yield* answered as AsyncIterable<Buffer>;
    const answer = await readAnswer(answered, http.title, http.explain);
    if (answer.status !== 404) throw new OciNixError("unavailable", `${http.title}: ${reasonOf(answer)}`);
    throw new OciNixError("not-found", `${http.title} has no image ${name}`, { hint: "see docker image ls" });
  } catch (error) {
    throw silence ?? http.explain(error);
  } finally {
    request.destroy();
  }
}

class Load implements EngineLoad {
  readonly #http: EngineHttp;
  readonly #path: string;
  readonly #silenceMs: number;
  /** Writes that the engine has not taken. */
  #pending = 0;
  #silence: OciNixError | undefined;
  #request: ClientRequest | undefined;
  /** Of the whole request, once it is over. */
  #answer: Promise<string | undefined> | undefined;
  #failure: OciNixError | undefined;
  #fail: ((error: OciNixError) => void) | undefined;
  #isEnding = false;
  #sent = 0;

  constructor(http: EngineHttp, path: string, silenceMs: number) {
    this.#http = http;
    this.#path = path;
    this.#silenceMs = silenceMs;
  }

  get sent(): number {
    return this.#sent;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const request = this.#started();
    this.#pending++;
    await new Promise<void>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      // Of a request that is destroyed Node does not promise to call back.
      this.#fail = reject;
      request.write(bytes, (error) => (error ? undefined : resolve()));
    });
    this.#pending--;
    this.#sent += bytes.length;
  }

  async end(): Promise<string | undefined> {
    const request = this.#started();
    this.#isEnding = true;
    request.end();
    return await this.#answer;
  }

  abort(): void {
    if (!this.#isEnding) this.#request?.destroy(new OciNixError("interrupted", "the load was given up"));
  }

  #started(): ClientRequest {
    if (this.#request !== undefined) return this.#request;
    const { signal, title } = this.#http;
    if (signal?.aborted) throw abortReason(signal);
    const { request, response } = this.#http.begin("POST", this.#path, { "content-type": "application/x-tar" });
    this.#request = request;
    request.once("socket", (socket) => {
      readAnswerFirst(socket);
      socket.setTimeout(this.#silenceMs);
      socket.on("timeout", () => this.#onSilence());
    });
    this.#answer = response
      .then((answered) => complaintOf(answered, this.#http))
      .catch((error: unknown) => {
        throw this.#silence ?? error;
      });
    this.#answer.then(
      (complaint) => this.#end(complaint ?? "it has answered before it had all", title),
      (error) => this.#stop(this.#http.explain(error)),
    );
    return request;
  }

  /** That it is we who take long does not count. */
  #onSilence(): void {
    if (this.#pending === 0 && !this.#isEnding) return;
    this.#silence = silent(this.#http.title, this.#silenceMs);
    this.#request?.destroy(this.#silence);
  }

  /** What an engine that has answered does not take any more. */
  #end(complaint: string, title: string): void {
    if (!this.#isEnding) this.#stop(new OciNixError("output", `${title} refuses the image: ${complaint}`));
  }

  #stop(error: OciNixError): void {
    this.#failure = error;
    this.#fail?.(error);
    if (!this.#isEnding) this.#request?.destroy();
  }
}

/** What an answer to a load says against it. It is 200 and a line of JSON each for what happens, errors too. */
async function complaintOf(response: Parameters<typeof readAnswer>[0], http: EngineHttp): Promise<string | undefined> {
  const answer = await readAnswer(response, http.title, http.explain);
  if (answer.status !== 200) return reasonOf(answer);
  for (const line of answer.text.split("\n")) {
    if (line.trim() === "") continue;
    const said = parseJson(line, `${http.title}: its answer to a load`);
    if (!isJsonObject(said)) continue;
    const detail = said.get("errorDetail");
    const error = (isJsonObject(detail) ? detail.get("message") : undefined) ?? said.get("error");
    if (error !== undefined && error !== null) return String(error);
    const stream = said.get("stream");
    // With containerd's store an image is there all the same, and cannot be run.
    if (typeof stream === "string" && stream.startsWith("Error unpacking image")) return stream.trim();
  }
  return undefined;
}
