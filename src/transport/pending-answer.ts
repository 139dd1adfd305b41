import type { Socket } from "node:net";
import { errnoOf } from "../core/errors.js";

/** How long an answer that was sent before the other side closed may take to be read. */
const GRACE_MS = 3_000;

/**
 * Lets what arrived at a socket be read before it fails as nothing can be sent any more: a server that refuses what it is sent answers, and closes
 * the connection without reading the rest.
 */
export function readAnswerFirst(socket: Socket): void {
  type Done = (error?: Error | null) => void;
  const held =
    (done: Done): Done =>
    (error) => {
      const code = errnoOf(error);
      if (socket.destroyed || (code !== "EPIPE" && code !== "ECONNRESET")) return done(error);
      const release = () => {
        clearTimeout(timer);
        for (const event of ["end", "close", "error"]) socket.off(event, release);
        done(error);
      };
      const timer = setTimeout(release, GRACE_MS);
      for (const event of ["end", "close", "error"]) socket.once(event, release);
    };
  const { _write: write, _writev: writev } = socket;
  socket._write = (chunk, encoding, done) => write.call(socket, chunk, encoding, held(done));
  if (writev != null) socket._writev = (chunks, done) => writev.call(socket, chunks, held(done));
}
