import { OciNixError } from "../../core/errors.js";
import { isJsonObject, type Json, JsonNumber, parseJson } from "../../core/json.js";
import type { Clock } from "./clock.js";
import type { FoundCredential } from "./credentials.js";
import type { RegistryRequest, RegistryResponse } from "./messages.js";
import type { Attempts } from "./retry.js";
import { coversScopes, unionOfScopes } from "./scopes.js";
import type { Secrets } from "./secrets.js";

/** Who gives tokens for a registry, as it says in its challenge. */
export interface TokenServer {
  readonly realm: URL;
  readonly service: string | undefined;
}

/** Sends a request to a token server; `authorization` goes to its origin alone. */
export type SendToTokenServer = (
  url: URL,
  request: Pick<RegistryRequest, "method" | "headers" | "body">,
  authorization: string | undefined,
  attempts: Attempts,
) => Promise<RegistryResponse>;

const ANSWER_LIMIT = 1024 * 1024;
/** What the specification has for an answer without `expires_in`. */
const DEFAULT_LIFETIME_S = 60;
/** A token is not used to its last second: requests take time. */
const LONGEST_MARGIN_MS = 10_000;
/** A token for more than that would make headers longer than servers take. */
const MOST_SCOPES = 16;
const LONGEST_REASON = 300;

interface Token {
  readonly key: string;
  readonly scopes: readonly string[];
  readonly text: string;
  /** By the clock, in milliseconds. */
  readonly expires: number;
}

/** Who asks for a token. */
interface Asker {
  /** Tokens of one key are for the same. */
  readonly key: string;
  readonly server: TokenServer;
  readonly found: FoundCredential;
  readonly attempts: Attempts;
}

/** Bearer tokens of one registry, kept as long as they hold. */
export class Tokens {
  readonly #host: string;
  readonly #clock: Clock;
  readonly #send: SendToTokenServer;
  readonly #secrets: Secrets;
  #known: readonly Token[] = [];
  readonly #pending = new Map<string, Promise<string>>();
  /** The latest identity token that a server gave for one, by the one that was configured. */
  readonly #rotated = new Map<string, string>();

  /** @param secrets learns the tokens */
  constructor(host: string, clock: Clock, secrets: Secrets, send: SendToTokenServer) {
    this.#host = host;
    this.#clock = clock;
    this.#secrets = secrets;
    this.#send = send;
  }

  /**
   * A token with rights to `scopes`, as far as the server grants them. A new one is asked for together with what the last one was for.
   * @throws OciNixError `denied` where the server refuses; `unavailable` where it cannot answer; `invalid-input` for an answer without a token
   */
  async get(
    server: TokenServer,
    found: FoundCredential,
    scopes: readonly string[],
    attempts: Attempts,
  ): Promise<string> {
    const key = JSON.stringify([server.realm.href, server.service, found.credential]);
    const own = this.#known.filter((token) => token.key === key);
    const usable = own.findLast((token) => token.expires > this.#clock.now() && coversScopes(token.scopes, scopes));
    if (usable !== undefined) return usable.text;
    const pendingKey = JSON.stringify([key, [...scopes].sort()]);
    const pending =
      this.#pending.get(pendingKey) ??
      this.#ask({ key, server, found, attempts }, scopes, own.at(-1)?.scopes ?? []).finally(() =>
        this.#pending.delete(pendingKey),
      );
    this.#pending.set(pendingKey, pending);
    return await pending;
  }

  /** Takes back a token that the registry refused. */
  forget(text: string): void {
    this.#known = this.#known.filter((token) => token.text !== text);
  }

  async #ask(asker: Asker, scopes: readonly string[], before: readonly string[]): Promise<string> {
    const { key, server, found } = asker;
    const union = unionOfScopes(scopes, before);
    const wanted = union.length > MOST_SCOPES ? unionOfScopes(scopes) : union;
    const started = this.#clock.now();
    let asked = wanted;
    let response = await this.#request(asker, asked);
    if (isRefusal(response.status) && !coversScopes(scopes, wanted)) {
      // Some servers refuse the whole where they would refuse a part.
      await response.discard();
      asked = unionOfScopes(scopes);
      response = await this.#request(asker, asked);
    }
    const { token, lifetimeS } = await this.#read(response, server, found);
    const margin = Math.min(LONGEST_MARGIN_MS, lifetimeS * 100);
    const expires = started + lifetimeS * 1000 - margin;
    this.#known = [
      ...this.#known.filter((other) => other.key !== key || !coversScopes(asked, other.scopes)),
      { key, scopes: asked, text: token, expires },
    ];
    return token;
  }

  async #request(
    { server, found: { credential }, attempts }: Asker,
    scopes: readonly string[],
  ): Promise<RegistryResponse> {
    const url = new URL(server.realm);
    const service: readonly [string, string][] = server.service === undefined ? [] : [["service", server.service]];
    if (credential?.kind === "identity") {
      const form = new URLSearchParams([
        ["grant_type", "refresh_token"],
        ...service,
        ["client_id", "oci-nix"],
        ...(scopes.length === 0 ? [] : [["scope", scopes.join(" ")] as [string, string]]),
        ["refresh_token", this.#rotated.get(credential.token) ?? credential.token],
      ]);
      const headers = { "content-type": "application/x-www-form-urlencoded", accept: "application/json" };
      return await this.#send(
        url,
        { method: "POST", headers, body: Buffer.from(form.toString()) },
        undefined,
        attempts,
      );
    }
    const account: readonly [string, string][] =
      credential?.kind === "password" ? [["account", credential.username]] : [];
    for (const [name, value] of [...account, ...service, ...scopes.map((scope) => ["scope", scope] as const)]) {
      url.searchParams.append(name, value);
    }
    const authorization = credential?.kind === "password" ? basicAuthorization(credential) : undefined;
    return await this.#send(url, { method: "GET", headers: { accept: "application/json" } }, authorization, attempts);
  }

  async #read(
    response: RegistryResponse,
    server: TokenServer,
    found: FoundCredential,
  ): Promise<{ readonly token: string; readonly lifetimeS: number }> {
    const { credential } = found;
    const name = `the token server ${server.realm.host} of ${this.#host}`;
    const text = (await response.bytes(ANSWER_LIMIT)).toString("utf8");
    const answer = parseAnswer(text);
    if (response.status < 200 || response.status > 299) {
      const reason = this.#secrets.shown(reasonIn(answer), LONGEST_REASON);
      const words = `${name} answers ${response.status}${reason === "" ? "" : `: ${reason}`}`;
      if (response.status === 429 || response.status >= 500)
        throw new OciNixError("unavailable", words, { hint: "try again later" });
      throw new OciNixError("denied", words, { hint: credentialHint(this.#host, found) });
    }
    const token = answer.get("token") || answer.get("access_token");
    if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
      throw new OciNixError("invalid-input", `${name} answers without a token`);
    }
    this.#secrets.add(token);
    const next = answer.get("refresh_token");
    if (credential?.kind === "identity" && typeof next === "string" && next !== "") {
      this.#secrets.add(next);
      this.#rotated.set(credential.token, next);
    }
    const lifetime = answer.get("expires_in");
    const seconds = lifetime instanceof JsonNumber ? Number(lifetime.text) : Number.NaN;
    return { token, lifetimeS: seconds > 0 ? seconds : DEFAULT_LIFETIME_S };
  }
}

/** The `Authorization` header for a name and a password. */
export function basicAuthorization({
  username,
  password,
}: {
  readonly username: string;
  readonly password: string;
}): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** What to do where a registry or its token server refuses. */
export function credentialHint(host: string, { credential, without }: FoundCredential): string {
  const asked = without.length === 0 ? "" : ` (${without.join(", ")} gave none)`;
  return credential === undefined
    ? `no credentials for ${host} were found${asked}: podman login ${host}, or docker login ${host}`
    : `the credentials for ${host} are from ${credential.from}${asked}; podman login ${host} or docker login ${host} gives new ones`;
}

function isRefusal(status: number): boolean {
  return status === 400 || status === 401 || status === 403;
}

function parseAnswer(text: string): ReadonlyMap<string, Json> {
  try {
    const answer = parseJson(text, "the answer");
    return isJsonObject(answer) ? answer : new Map();
  } catch {
    return new Map();
  }
}

/** The words of a registry's errors (`errors[0].message`), of OAuth's or of Docker Hub's. */
function reasonIn(answer: ReadonlyMap<string, Json>): string {
  const errors = answer.get("errors");
  const first = Array.isArray(errors) ? (errors as readonly Json[])[0] : undefined;
  const reasons = [
    isJsonObject(first) ? first.get("message") : undefined,
    ...["error_description", "details", "message", "error"].map((name) => answer.get(name)),
  ];
  const reason = reasons.find((text): text is string => typeof text === "string" && text !== "") ?? "";
  return reason;
}
