import { setMaxListeners } from "node:events";
import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import type { Clock } from "./clock.js";
import type { Connections } from "./connections.js";
import { isLoopback } from "./hosts.js";
import type { RegistryRequest, RegistryResponse } from "./messages.js";
import { explainFailure, type Failure, Unreachable } from "./network-failure.js";
import { type OutgoingBody, outgoingBody } from "./outgoing-body.js";
import { type Attempts, asksToComeBack, HostPauses, isRetryable, parseRetryAfter, type RetryPolicy } from "./retry.js";
import type { Secrets } from "./secrets.js";

const MOST_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** What shows who asks is decided here alone: it would go along to other origins. */
const CONFIDENTIAL: ReadonlySet<string> = new Set(["authorization", "proxy-authorization", "cookie"]);

type Sent = Pick<RegistryRequest, "method" | "headers" | "body" | "isRepeatable" | "mayTakeLong">;

export interface Answer {
  readonly response: RegistryResponse;
  /** Whether it is the origin's that was asked, all the way. */
  readonly isOwn: boolean;
}

/** A request whose body can be sent once or more often. */
export interface Prepared {
  /** As {@link Sender.ask}. */
  send(url: URL, authorization: string | undefined): Promise<Answer>;
  /** Whether it can be sent from its beginning (again). */
  isWhole(): boolean;
}

interface SenderOptions {
  readonly connections: Connections;
  readonly secrets: Secrets;
  readonly tlsVerify: boolean;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly policy: RetryPolicy;
  /** By the clock, in milliseconds. */
  readonly deadline: number | undefined;
}

/** Sends requests to any origin: attempts, pauses, redirects. */
export class Sender {
  readonly #options: SenderOptions;
  readonly #pauses: HostPauses;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#pauses = HostPauses.of(options.clock);
    // One listener a request.
    setMaxListeners(0, options.signal);
  }

  /**
   * Sends a request, as often as there are attempts, and follows redirects of GET and HEAD.
   * @param authorization goes to the URL's own origin alone, and no more once another one was in between
   * @throws OciNixError `unavailable` where there is no answer; `invalid-input` for redirects that lead nowhere or out of TLS; the signal's reason
   */
  async ask(url: URL, request: Sent, authorization: string | undefined, attempts: Attempts): Promise<Answer> {
    return await this.#follow(url, request, outgoingBody(request.body), authorization, attempts);
  }

  prepare(request: Sent, attempts: Attempts): Prepared {
    const body = outgoingBody(request.body);
    return {
      send: (url, authorization) => this.#follow(url, request, body, authorization, attempts),
      isWhole: () => body.isWhole(),
    };
  }

  async #follow(
    start: URL,
    request: Sent,
    body: OutgoingBody,
    authorization: string | undefined,
    attempts: Attempts,
  ): Promise<Answer> {
    let url = start;
    let isOwn = true;
    for (let hops = 0; ; hops++) {
      this.#assertAllowed(url, start);
      const headers = headersFor(request.headers ?? {}, body, isOwn ? authorization : undefined);
      const response = await this.#attempt(url, request, headers, body, attempts);
      const location = response.header("location");
      const isRedirect = REDIRECTS.has(response.status) && (request.method === "GET" || request.method === "HEAD");
      if (!isRedirect || location === undefined) return { response, isOwn };
      await response.discard();
      if (hops === MOST_REDIRECTS) {
        throw new OciNixError("invalid-input", `${this.#shown(start)}: more than ${MOST_REDIRECTS} redirects`);
      }
      url = this.#redirected(url, location);
      isOwn &&= url.origin === start.origin;
    }
  }

  /** Plain http is for this machine, or by request. */
  #assertAllowed(url: URL, start: URL): void {
    if (url.protocol === "https:") return;
    if (isLoopback(url) || !this.#options.tlsVerify) return;
    const plain = this.#shown(url);
    const words =
      url === start ? `${plain} is plain http` : `${this.#shown(start)} leads to ${plain}, which is plain http`;
    throw new OciNixError("invalid-input", words, {
      hint: "plain http is for this machine alone; --tls-verify=false allows it everywhere",
    });
  }

  async #attempt(
    url: URL,
    { method, isRepeatable, mayTakeLong }: Sent,
    headers: Readonly<Record<string, string>>,
    body: OutgoingBody,
    attempts: Attempts,
  ): Promise<RegistryResponse> {
    const { connections, signal, clock } = this.#options;
    const place = `${method} ${this.#shown(url)}`;
    for (;;) {
      await this.#pauseFor(url);
      try {
        const response = await connections.send(
          url,
          { method, headers, body: body.content, signal, mayTakeLong },
          (error) => (signal.aborted ? abortReason(signal) : brokenOff(place, url, error)),
        );
        const pause = this.#noted(url, response, attempts);
        const wait = pause || attempts.backoffMs();
        const mayBeAgain = isRetryable(response.status, isRepeatable) && body.isWhole() && this.#hasTimeFor(wait);
        if (!mayBeAgain || !attempts.take()) return response;
        await response.discard();
        // A pause that was asked for is kept before each attempt.
        if (wait !== pause) await clock.sleep(wait, signal);
      } catch (error) {
        body.release();
        if (signal.aborted) throw abortReason(signal);
        const own = body.failure();
        if (own !== undefined) throw own.error;
        if (error instanceof OciNixError) throw error;
        const failure = explainFailure(error);
        const isWorthIt = failure.kind === "not-sent" || (failure.kind === "broken" && isRepeatable);
        const wait = attempts.backoffMs();
        const { made } = attempts;
        if (!isWorthIt || !body.isWhole() || !this.#hasTimeFor(wait) || !attempts.take(failure)) {
          throw unavailable(place, url, failure, { attempts: made, proxy: connections.proxyOf(url), cause: error });
        }
        await clock.sleep(wait, signal);
      }
    }
  }

  #redirected(from: URL, location: string): URL {
    const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    if (to === undefined || !/^https?:$/.test(to.protocol)) {
      throw new OciNixError("invalid-input", `${this.#shown(from)} redirects to what is no URL of http or https`);
    }
    if (from.protocol === "https:" && to.protocol === "http:") {
      throw new OciNixError("invalid-input", `${this.#shown(from)} redirects out of TLS, to ${this.#shown(to)}`);
    }
    return to;
  }

  #shown(url: URL): string {
    return this.#options.secrets.shownUrl(url);
  }

  /** Takes note of a pause that the host asks for, and gives it, in milliseconds. One that is not waited for ends the attempts. */
  #noted(url: URL, response: RegistryResponse, attempts: Attempts): number | undefined {
    if (!asksToComeBack(response.status)) return undefined;
    const pause = parseRetryAfter(response.header("retry-after"), this.#options.clock.now());
    if (pause === undefined) return undefined;
    const isKept = pause <= this.#options.policy.maxRetryAfterMs;
    if (isKept) this.#pauses.pause(url.host, pause);
    if (!isKept || !this.#hasTimeFor(pause)) attempts.end();
    return pause;
  }

  async #pauseFor(url: URL): Promise<void> {
    const { clock, policy, signal } = this.#options;
    // Others may have been asked for a longer pause in the meantime.
    for (let ms = this.#pauses.remaining(url.host); ms > 0; ms = this.#pauses.remaining(url.host)) {
      if (!this.#hasTimeFor(ms)) {
        throw new OciNixError(
          "unavailable",
          `${url.host} asks to come back in ${Math.ceil(ms / 1000)} s, after the deadline`,
        );
      }
      // Not all at the same moment.
      await clock.sleep(ms + Math.floor(clock.random() * Math.min(policy.baseMs, ms)), signal);
    }
    if (signal.aborted) throw abortReason(signal);
  }

  #hasTimeFor(ms: number): boolean {
    const { clock, deadline } = this.#options;
    return deadline === undefined || clock.now() + ms < deadline;
  }
}

function headersFor(
  given: Readonly<Record<string, string>>,
  body: OutgoingBody,
  authorization: string | undefined,
): Readonly<Record<string, string>> {
  const kept = Object.entries(given).filter(([name]) => !CONFIDENTIAL.has(name.toLowerCase()));
  return {
    "user-agent": "oci-nix",
    ...Object.fromEntries(kept),
    ...body.headers,
    ...(authorization === undefined ? {} : { authorization }),
  };
}

function unavailable(
  place: string,
  url: URL,
  failure: Failure,
  {
    attempts,
    proxy,
    cause,
  }: { readonly attempts: number; readonly proxy: string | undefined; readonly cause: unknown },
): Unreachable {
  const tried = attempts === 1 ? "" : `, after ${attempts} attempts`;
  const over = proxy === undefined ? "" : ` over the proxy ${proxy}`;
  const hint = hintFor(failure, url) ?? (proxy === undefined ? hintOfBroken(failure, url) : PROXY_HINT);
  return new Unreachable(failure, `${url.host} cannot be reached${over}: ${failure.words} (${place}${tried})`, {
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

const PROXY_HINT = "the proxy is named by HTTPS_PROXY or HTTP_PROXY; NO_PROXY takes hosts out";

/** The error for a body that ends before its end. */
function brokenOff(place: string, url: URL, cause: unknown): OciNixError {
  return new OciNixError(
    "unavailable",
    `${url.host}: the answer broke off: ${explainFailure(cause).words} (${place})`,
    {
      cause,
    },
  );
}

function hintFor({ kind, words }: Failure, url: URL): string | undefined {
  if (kind === "certificate") {
    return `its authority's certificate belongs into /etc/containers/certs.d/${url.host}/ca.crt, a client's own beside it as NAME.cert and NAME.key; --tls-verify=false does without`;
  }
  if (words.includes("does not speak TLS"))
    return "a registry that speaks plain http is reached with --tls-verify=false";
  return undefined;
}

function hintOfBroken({ words }: Failure, url: URL): string | undefined {
  // Under TLS 1.3 a server that wants a client's certificate may say so by nothing but the end of the connection.
  if (url.protocol === "https:" && /\((?:UND_ERR_SOCKET|ECONNRESET|EPIPE)\)/.test(words)) {
    return `where it wants a client's certificate: that belongs into /etc/containers/certs.d/${url.host}, as NAME.cert and NAME.key`;
  }
  return undefined;
}
