import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { SecureContextOptions, TlsOptions } from "node:tls";
import { runOk } from "./command.js";
import { tool } from "./tools.js";

/** A request that arrived, its body included. */
export interface Arrived {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
}

export interface HttpServer {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly port: number;
  readonly origin: string;
  readonly server: Server;
  /** All that arrived, in order. */
  readonly arrived: readonly Arrived[];
  /** What arrived but for the greeting, `GET /v2/`. */
  asked(): readonly Arrived[];
  stop(): Promise<void>;
}

/** What a server does: gives an answer, or undefined where it has dealt with the response itself. */
export type Handler = (
  request: Arrived,
  raw: { readonly request: IncomingMessage; readonly response: ServerResponse },
) => Answer | undefined | Promise<Answer | undefined>;

/** Starts an HTTP server on loopback; with `tls` one that speaks TLS. */
export async function startHttpServer(handler: Handler, tls?: TlsOptions & SecureContextOptions): Promise<HttpServer> {
  const arrived: Arrived[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const pieces: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const one = { method, url, headers, body: Buffer.concat(pieces) };
      arrived.push(one);
      void (async () => {
        const answer = await handler(one, { request, response });
        if (answer === undefined) return;
        response.writeHead(answer.status ?? 200, answer.headers as Record<string, string | string[]>);
        response.end(answer.body);
      })();
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;
  return {
    host,
    port,
    server,
    origin: `${tls === undefined ? "http" : "https"}://${host}`,
    arrived,
    asked: () => arrived.filter(({ method, url }) => method !== "GET" || url !== "/v2/"),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export interface Certificates {
  readonly directory: string;
  /** The authority's certificate. */
  readonly authority: string;
  readonly server: { readonly cert: Buffer; readonly key: Buffer };
  readonly client: { readonly cert: string; readonly key: string };
}

/** Makes an authority, a certificate for this machine and one for a client, in a new directory. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  mkdirSync(directory, { recursive: true });
  const file = (name: string) => join(directory, name);
  const openssl = (...args: readonly string[]) => runOk(tool("openssl"), args);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    ...["req", "-x509", ...key, "-days", "30", "-subj", "/CN=Test authority"],
    ...["-keyout", file("ca.key"), "-out", file("ca.crt")],
  );
  for (const [name, names] of [
    ["server", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
    ["client", "extendedKeyUsage=clientAuth"],
  ] as const) {
    writeFileSync(file(`${name}.ext`), `${names}\n`);
    await openssl("req", ...key, "-subj", `/CN=${name}`, "-keyout", file(`${name}.key`), "-out", file(`${name}.csr`));
    await openssl(
      ...["x509", "-req", "-in", file(`${name}.csr`), "-days", "30", "-extfile", file(`${name}.ext`)],
      ...["-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial", "-out", file(`${name}.crt`)],
    );
  }
  return {
    directory,
    authority: file("ca.crt"),
    server: { cert: readFileSync(file("server.crt")), key: readFileSync(file("server.key")) },
    client: { cert: file("client.crt"), key: file("client.key") },
  };
}
