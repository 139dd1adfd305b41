import { createPrivateKey, randomUUID, sign, X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "./command.js";
import { type Answer, type Arrived, type HttpServer, startHttpServer } from "./http-server.js";
import { tool } from "./tools.js";

/** What one asked a token server for. */
export interface TokenDemand {
  /** `anonymous`, or whose password or identity token it was. */
  readonly who: string;
  readonly method: string;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  readonly account: string | undefined;
}

export interface TokenServer extends HttpServer {
  readonly realm: string;
  /** What registries verify its tokens with. */
  readonly certificate: string;
  readonly demands: readonly TokenDemand[];
}

export interface TokenServerOptions {
  /** Where its key goes. */
  readonly directory: string;
  readonly issuer: string;
  /** Passwords by user name. */
  readonly passwords?: Readonly<Record<string, string>>;
  /** User names by identity token. */
  readonly identities?: Readonly<Record<string, string>>;
  readonly lifetimeS?: number;
  /** Which actions of a scope a user has; all by default, `pull` alone for `anonymous`. */
  readonly grants?: (who: string, resource: string, actions: readonly string[]) => readonly string[];
  /** Answers in the server's place. */
  readonly instead?: (request: Arrived) => Answer | undefined;
}

/** A token server as Docker specifies it, with signed tokens that a real registry takes. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { directory, issuer, passwords = {}, identities = {}, lifetimeS } = options;
  const grants =
    options.grants ??
    ((who, _resource, actions) => (who === "anonymous" ? actions.filter((one) => one === "pull") : actions));
  mkdirSync(directory, { recursive: true });
  const [key, certificate] = [join(directory, "token.key"), join(directory, "token.crt")];
  await runOk(tool("openssl"), [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"],
    ...["-subj", "/CN=Token server", "-keyout", key, "-out", certificate],
  ]);
  const privateKey = createPrivateKey(readFileSync(key));
  const chain = [new X509Certificate(readFileSync(certificate)).raw.toString("base64")];
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const demands: TokenDemand[] = [];
  const tokenFor = (who: string, service: string | undefined, scopes: readonly string[]) => {
    const access = scopes.map((scope) => {
      const [type = "", ...rest] = scope.split(":");
      const name = rest.slice(0, -1).join(":");
      return { type, name, actions: grants(who, `${type}:${name}`, (rest.at(-1) ?? "").split(",")) };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: who,
      aud: service,
      exp: now + 300,
      nbf: now - 60,
      iat: now,
      jti: randomUUID(),
      access,
    };
    const text = `${part({ typ: "JWT", alg: "ES256", x5c: chain })}.${part(claims)}`;
    const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  };
  const server = await startHttpServer((request) => {
    const instead = options.instead?.(request);
    if (instead !== undefined) return instead;
    const query =
      request.method === "POST"
        ? new URLSearchParams(request.body.toString())
        : new URL(request.url, "http://x").searchParams;
    const scopes = query.getAll("scope").flatMap((text) => text.split(" "));
    const [service, account] = [query.get("service") ?? undefined, query.get("account") ?? undefined];
    const who = whoIs(request, query);
    if (who === undefined) return { status: 401, body: JSON.stringify({ details: "incorrect username or password" }) };
    demands.push({ who, method: request.method, service, scopes, account });
    const lifetime = lifetimeS === undefined ? {} : { expires_in: lifetimeS };
    return { body: JSON.stringify({ token: tokenFor(who, service, scopes), ...lifetime }) };
  });
  const whoIs = (request: Arrived, query: URLSearchParams): string | undefined => {
    if (request.method === "POST") return identities[query.get("refresh_token") ?? ""];
    const header = request.headers.authorization;
    if (header === undefined) return "anonymous";
    const [, user = "", password] = /^([^:]*):(.*)$/s.exec(Buffer.from(header.slice(6), "base64").toString()) ?? [];
    return Object.hasOwn(passwords, user) && passwords[user] === password ? user : undefined;
  };
  return { ...server, realm: `${server.origin}/token`, certificate, demands };
}
