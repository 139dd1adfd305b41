import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";

/** A server with as much of Docker's API as loading needs: for what no engine that can be installed here does. */
export interface FakeEngine {
  /** For `DOCKER_HOST`. */
  readonly host: string;
  /** Method and path of every request, in order. */
  readonly requests: readonly string[];
  /** What was loaded, an archive each. */
  readonly archives: readonly Buffer[];
  close(): Promise<void>;
}

export interface FakeEngineOptions {
  /** Answers by path, without the version; a load is answered by its number, from 1. */
  answer(path: string, loads: number): unknown;
  /** Does with a load what a working engine would not. @returns whether it has */
  onLoad?(request: IncomingMessage, response: ServerResponse, loads: number): boolean;
  /** Does with a question what a working engine would not. @param path without the version @returns whether it has */
  onGet?(path: string, response: ServerResponse): boolean;
}

/** @param directory for the socket */
export async function startFakeEngine(directory: string, options: FakeEngineOptions): Promise<FakeEngine> {
  const requests: string[] = [];
  const archives: Buffer[] = [];
  let loads = 0;
  const server = createServer(async (request, response) => {
    const url = request.url ?? "";
    requests.push(`${request.method} ${url}`);
    const path = url.replace(/^\/v[\d.]+/, "");
    if (request.method === "GET" && options.onGet?.(path, response) === true) return;
    if (request.method === "POST") {
      loads++;
      if (options.onLoad?.(request, response, loads) === true) return;
      const archive = await buffer(request).catch(() => undefined);
      if (archive === undefined) return;
      archives.push(archive);
    }
    const answer = options.answer(path, loads);
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(
      answer === undefined
        ? '{"message":"no such thing"}'
        : typeof answer === "string"
          ? answer
          : JSON.stringify(answer),
    );
  });
  const socket = join(directory, "engine.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    host: `unix://${socket}`,
    requests,
    archives,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
