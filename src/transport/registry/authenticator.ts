import { OciNixError } from "../../core/errors.js";
import { type Challenge, parseChallenges } from "./challenge.js";
import type { Credential, FoundCredential } from "./credentials.js";
import { isLoopback } from "./hosts.js";
import type { Attempts } from "./retry.js";
import { repositoryOf, unionOfScopes } from "./scopes.js";
import type { Secrets } from "./secrets.js";
import { basicAuthorization, credentialHint, type TokenServer, type Tokens } from "./tokens.js";

type Scheme = { readonly kind: "basic" } | { readonly kind: "bearer"; readonly server: TokenServer };

/** How requests to one registry show who sends them: nothing until the registry asks, then what it asks for. */
export class Authenticator {
  readonly #host: string;
  readonly #tlsVerify: boolean;
  readonly #tokens: Tokens;
  readonly #secrets: Secrets;
  readonly #find: (repository: string | undefined) => Promise<FoundCredential>;
  readonly #found = new Map<string | undefined, Promise<FoundCredential>>();
  #scheme: Scheme | undefined;

  /**
   * @param options.secrets learns the credentials
   * @param options.find looks up the credentials for a repository; asked once for each
   */
  constructor(
    host: string,
    tlsVerify: boolean,
    options: {
      readonly tokens: Tokens;
      readonly secrets: Secrets;
      readonly find: (repository: string | undefined) => Promise<FoundCredential>;
    },
  ) {
    this.#host = host;
    this.#tlsVerify = tlsVerify;
    this.#tokens = options.tokens;
    this.#secrets = options.secrets;
    this.#find = options.find;
  }

  /** Takes note of a challenge without answering it. @throws OciNixError `denied` for a token server that must not be asked */
  learn(header: string | undefined): void {
    this.#scheme = this.#choose(parseChallenges(header)) ?? this.#scheme;
  }

  /** The `Authorization` header for a request, by what the registry asked for so far. @throws OciNixError as {@link Tokens.get} */
  async before(scopes: readonly string[], attempts: Attempts): Promise<string | undefined> {
    const scheme = this.#scheme;
    return scheme === undefined ? undefined : await this.#authorization(scheme, scopes, { scopes, attempts });
  }

  /** Where the credentials for a request come from, where the registry asked for any. */
  async hint(scopes: readonly string[]): Promise<string | undefined> {
    if (this.#scheme === undefined) return undefined;
    return credentialHint(this.#host, await this.#lookUp(repositoryOf(scopes)));
  }

  /**
   * What to answer to 401 with: a token that is new, for what the registry demands first. undefined where there is nothing that was not tried.
   * @param used the header that was refused
   * @throws OciNixError as {@link Tokens.get}
   */
  async after(
    header: string | undefined,
    scopes: readonly string[],
    used: string | undefined,
    attempts: Attempts,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(header);
    const scheme = this.#choose(challenges);
    if (scheme === undefined) return undefined;
    this.#scheme = scheme;
    if (used?.startsWith("Bearer ")) this.#tokens.forget(used.slice("Bearer ".length));
    const demanded = challenges.find(isBearer)?.parameters.get("scope")?.split(" ") ?? [];
    const wanted = unionOfScopes(
      demanded.filter((scope) => scope !== ""),
      scopes,
    );
    const next = await this.#authorization(scheme, wanted, { scopes, attempts });
    return next === used ? undefined : next;
  }

  async #authorization(
    scheme: Scheme,
    wanted: readonly string[],
    { scopes, attempts }: { readonly scopes: readonly string[]; readonly attempts: Attempts },
  ): Promise<string | undefined> {
    const found = await this.#lookUp(repositoryOf(scopes));
    const { credential } = found;
    if (credential?.kind === "registry") return `Bearer ${credential.token}`;
    if (scheme.kind === "bearer") return `Bearer ${await this.#tokens.get(scheme.server, found, wanted, attempts)}`;
    return credential?.kind === "password" ? basicAuthorization(credential) : undefined;
  }

  async #lookUp(repository: string | undefined): Promise<FoundCredential> {
    const found = this.#found.get(repository) ?? this.#find(repository);
    this.#found.set(repository, found);
    const { credential } = await found;
    if (credential !== undefined) this.#secrets.add(...secretsOf(credential));
    return await found;
  }

  #choose(challenges: readonly Challenge[]): Scheme | undefined {
    const bearer = challenges.find(isBearer);
    if (bearer === undefined)
      return challenges.some(({ scheme }) => scheme === "basic") ? { kind: "basic" } : undefined;
    const realm = new URL(bearer.parameters.get("realm") as string);
    if (realm.protocol !== "https:" && !(realm.protocol === "http:" && (isLoopback(realm) || !this.#tlsVerify))) {
      throw new OciNixError(
        "denied",
        `${this.#host} names a token server that is not reached over TLS: ${this.#secrets.shownUrl(realm)}`,
        {
          hint: "credentials do not go there; --tls-verify=false allows it",
        },
      );
    }
    return { kind: "bearer", server: { realm, service: bearer.parameters.get("service") } };
  }
}

function secretsOf(credential: Credential): readonly string[] {
  return credential.kind === "password" ? [credential.password] : [credential.token];
}

function isBearer({ scheme, parameters }: Challenge): boolean {
  return scheme === "bearer" && URL.canParse(parameters.get("realm") ?? "");
}
