import { OciNixError } from "../../core/errors.js";
import { abortReason } from "../../core/event-loop-turns.js";
import { Authenticator } from "./authenticator.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.js";
import { type Connections, openConnections, type Patience } from "./connections.js";
import { findCredential } from "./credentials.js";
import { endpointOf, isLoopback, namesOf } from "./hosts.js";
import type { RegistryRequest, RegistryResponse } from "./messages.js";
import { Unreachable } from "./network-failure.js";
import { Attempts, DEFAULT_RETRY_POLICY, type RetryPolicy } from "./retry.js";
import { Secrets } from "./secrets.js";
import { type Answer, Sender } from "./sender.js";
import { hasCertificates } from "./tls.js";
import { Tokens } from "./tokens.js";

export type { RegistryRequest, RegistryResponse } from "./messages.js";

/** Requests to one registry: connections, TLS, proxies, credentials, retries. */
export interface RegistryHttp {
  /** `host[:port]`. */
  readonly host: string;
  /**
   * Sends a request, again where that may help and it has attempts left; redirects are followed (never with credentials to another host). Any final status is a
   * result, 401 after fresh credentials included.
   * @throws OciNixError `unavailable` where the registry cannot be reached; the signal's reason
   */
  request(request: RegistryRequest): Promise<RegistryResponse>;
  /** For requests that belong together. */
  attempts(): Attempts;
  close(): Promise<void>;
}

export interface RegistryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether certificates are verified, and plain HTTP is refused (loopback apart); by default true. */
  readonly tlsVerify?: boolean | undefined;
  /** How long all requests together may take, in milliseconds from now; without end by default. */
  readonly deadlineMs?: number | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly patience?: Partial<Patience> | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Opens a registry; nothing is sent before the first request. That one is preceded by `GET /v2/`, which tells how the registry is reached and
 * how it wants its clients to show who they are, as a stream could not be sent again after 401.
 *
 * A registry is reached over https; one on this machine, and with `tlsVerify: false` any, over plain http where it does not speak TLS.
 * @param host `registry.example:5000`
 * @throws OciNixError `invalid-input` for what is no host
 */
export function openRegistryHttp(host: string, options: RegistryOptions = {}): RegistryHttp {
  return new Registry(host, options);
}

class Registry implements RegistryHttp {
  readonly host: string;
  readonly #https: URL;
  readonly #tlsVerify: boolean;
  readonly #controller: AbortController;
  readonly #connections: Connections;
  readonly #sender: Sender;
  readonly #authenticator: Authenticator;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #release: () => void;
  #base: Promise<URL> | undefined;

  constructor(host: string, options: RegistryOptions) {
    const { tlsVerify = true, clock = SYSTEM_CLOCK, deadlineMs } = options;
    this.host = host;
    this.#tlsVerify = tlsVerify;
    this.#https = new URL(`https://${endpointOf(host)}`);
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    this.#clock = clock;
    this.#policy = { ...DEFAULT_RETRY_POLICY, ...options.retry };
    const secrets = new Secrets();
    this.#connections = openConnections(host, { tlsVerify, secrets, patience: options.patience });
    this.#sender = new Sender({
      connections: this.#connections,
      secrets,
      tlsVerify,
      signal,
      clock,
      policy: this.#policy,
      deadline: deadlineMs === undefined ? undefined : clock.now() + deadlineMs,
    });
    const tokens = new Tokens(host, clock, secrets, async (url, request, authorization, attempts) => {
      try {
        const { response } = await this.#sender.ask(url, { ...request, isRepeatable: true }, authorization, attempts);
        return response;
      } catch (error) {
        if (signal.aborted) throw abortReason(signal);
        throw error instanceof Unreachable ? error.of(`the token server of ${host}`) : error;
      }
    });
    const find = (repository: string | undefined) => findCredential(host, repository, { clock, signal });
    this.#authenticator = new Authenticator(host, tlsVerify, { tokens, secrets, find });
    this.#release = this.#stopWith(options.signal, clock, deadlineMs);
  }

  attempts(): Attempts {
    return new Attempts(this.#controller.signal, this.#policy, this.#clock);
  }

  async request(request: RegistryRequest): Promise<RegistryResponse> {
    const { signal } = this.#controller;
    if (signal.aborted) throw abortReason(signal);
    const { scopes, attempts = this.attempts() } = request;
    const base = await this.#reached(attempts);
    const url = this.#resolve(request.url, base);
    if (url.origin !== base.origin)
      return (await this.#sender.prepare(request, attempts).send(url, undefined)).response;
    const used = await this.#authenticator.before(scopes, attempts);
    const prepared = this.#sender.prepare(request, attempts);
    const { response, isOwn } = await prepared.send(url, used);
    if (!isOwn) return response;
    if (response.status !== 401) return await this.#explained(response, scopes);
    const next = await this.#authenticator
      .after(response.header("www-authenticate"), scopes, used, attempts)
      .catch(async (error: unknown) => {
        await response.discard();
        throw error;
      });
    if (next === undefined || !prepared.isWhole()) return await this.#explained(response, scopes);
    await response.discard();
    const again = await prepared.send(url, next);
    return again.isOwn ? await this.#explained(again.response, scopes) : again.response;
  }

  /** A refusal says whose credentials were refused. */
  async #explained(response: RegistryResponse, scopes: readonly string[]): Promise<RegistryResponse> {
    if (response.status !== 401 && response.status !== 403) return response;
    const loginHint = await this.#authenticator.hint(scopes);
    return { ...response, loginHint };
  }

  async close(): Promise<void> {
    this.#release();
    if (!this.#controller.signal.aborted) {
      this.#controller.abort(new OciNixError("interrupted", `the connection to ${this.host} was closed`));
    }
    await this.#connections.close();
  }

  /** Ends everything on the caller's signal or at the deadline. Gives what undoes that. */
  #stopWith(signal: AbortSignal | undefined, clock: Clock, deadlineMs: number | undefined): () => void {
    const abort = () => this.#controller.abort(signal === undefined ? undefined : abortReason(signal));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    const cancel =
      deadlineMs === undefined
        ? () => {}
        : clock.after(deadlineMs, () => {
            const words = `${this.host}: not done within ${deadlineMs / 1000} s`;
            this.#controller.abort(new OciNixError("unavailable", words));
          });
    return () => {
      signal?.removeEventListener("abort", abort);
      cancel();
    };
  }

  /** Where the registry answers; found out once, unless that failed. */
  #reached(attempts: Attempts): Promise<URL> {
    this.#base ??= this.#reach(attempts).catch((error: unknown) => {
      this.#base = undefined;
      throw error;
    });
    return this.#base;
  }

  async #reach(attempts: Attempts): Promise<URL> {
    const names = [this.#https.host, this.host, ...namesOf(this.host)];
    const mayBePlain = !this.#tlsVerify || (isLoopback(this.#https) && !hasCertificates(names));
    if (!mayBePlain) return await this.#greet(this.#https, attempts);
    const request = { method: "GET", isRepeatable: true } as const;
    const greeting = new URL("/v2/", this.#https);
    let overTls: unknown;
    try {
      const once = new Attempts(this.#controller.signal, { ...this.#policy, attempts: 1 }, this.#clock);
      return await this.#greeted(this.#https, await this.#sender.ask(greeting, request, undefined, once));
    } catch (error) {
      if (this.#controller.signal.aborted) throw abortReason(this.#controller.signal);
      if (!(error instanceof Unreachable) || error.failure.kind === "certificate") throw error;
      overTls = error;
    }
    const plain = new URL(this.#https.href.replace(/^https/, "http"));
    let answer: Answer;
    try {
      answer = await this.#sender.ask(new URL("/v2/", plain), request, undefined, attempts);
    } catch (error) {
      if (this.#controller.signal.aborted || !(error instanceof Unreachable)) throw error;
      const { hint } = error;
      throw new Unreachable(error.failure, `${error.message}; before that: ${(overTls as Unreachable).message}`, {
        cause: error.cause,
        ...(hint === undefined ? {} : { hint }),
      });
    }
    if (answer.response.status !== 400) return await this.#greeted(plain, answer);
    // What a server says that speaks TLS: the first attempt failed for another reason.
    await answer.response.discard();
    return await this.#greet(this.#https, attempts);
  }

  async #greet(base: URL, attempts: Attempts): Promise<URL> {
    const request = { method: "GET", isRepeatable: true } as const;
    return await this.#greeted(base, await this.#sender.ask(new URL("/v2/", base), request, undefined, attempts));
  }

  async #greeted(base: URL, { response, isOwn }: Answer): Promise<URL> {
    await response.discard();
    // Where a redirect leads to is nobody to answer to.
    if (response.status === 401 && isOwn) this.#authenticator.learn(response.header("www-authenticate"));
    return base;
  }

  /** @throws OciNixError `invalid-input` for what is no URL of http or https */
  #resolve(text: string, base: URL): URL {
    const url = URL.canParse(text, base.href) ? new URL(text, base) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new OciNixError("invalid-input", `${this.host} gives a place that is no URL of http or https`);
    }
    // A registry behind a proxy that speaks TLS for it may not know that it is reached over TLS.
    if (url.protocol === "http:" && base.protocol === "https:" && url.host === base.host) url.protocol = "https:";
    return url;
  }
}
