import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FdSink, fdSink } from "../../../src/core/byte-sink.js";

const PIPE_BYTES = 64 * 1024;

describe("a sink over a full pipe", () => {
  let directory: string;
  let fd: number;
  let sink: FdSink;
  let read: Buffer[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-sink-"));
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    fd = openSync(fifo, constants.O_RDWR);
    sink = fdSink(fd, "a pipe");
    read = [];
    // It holds no more than this.
    expect(sink.write(Buffer.alloc(PIPE_BYTES, 1))).toBe(undefined);
  });
  afterEach(() => {
    sink.close();
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  const drain = () => {
    const piece = Buffer.alloc(PIPE_BYTES);
    read.push(piece.subarray(0, readSync(fd, piece)));
  };

  it("does other work rather than wait", () => {
    let calls = 0;
    const waiting = sink.write(Buffer.alloc(PIPE_BYTES, 2), () => {
      if (++calls === 3) drain();
      return true;
    });
    expect({ waiting, calls }).toEqual({ waiting: undefined, calls: 3 });
    drain();
    expect(Buffer.concat(read).equals(Buffer.concat([Buffer.alloc(PIPE_BYTES, 1), Buffer.alloc(PIPE_BYTES, 2)]))).toBe(
      true,
    );
  });

  it("waits in the event loop where there is no work", async () => {
    let calls = 0;
    const waiting = sink.write(Buffer.alloc(PIPE_BYTES, 2), () => {
      calls++;
      return false;
    });
    expect(waiting).toBeInstanceOf(Promise);
    setTimeout(drain, 20);
    await waiting;
    expect(calls).toBeGreaterThan(0);
  });

  it("passes on what the work throws", () => {
    expect(() =>
      sink.write(Buffer.alloc(PIPE_BYTES, 2), () => {
        throw new Error("no");
      }),
    ).toThrow("no");
  });
});
