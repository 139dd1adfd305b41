import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openOutputSink } from "../../../src/core/output-sink.js";
import { runOk } from "../../support/command.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "oci-nix-sink-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);

async function write(file: string, text: string): Promise<void> {
  const sink = await openOutputSink(file);
  try {
    await sink.write(Buffer.from(text.slice(0, 2)));
    await sink.write(Buffer.from(text.slice(2)));
    await sink.commit();
  } finally {
    sink.close();
  }
}

describe("an output sink", () => {
  it("gives a file its name when it is whole, through a symlink too", async () => {
    writeFileSync(at("file"), "before");
    symlinkSync("file", at("link"));
    const sink = await openOutputSink(at("link"));
    await sink.write(Buffer.from("after"));
    expect(readFileSync(at("file"), "utf8")).toBe("before");
    await sink.commit();
    sink.close();
    expect(readFileSync(at("file"), "utf8")).toBe("after");
    expect(readdirSync(directory).sort()).toEqual(["file", "link"]);
  });

  it("leaves nothing of a file that is not committed", async () => {
    const sink = await openOutputSink(at("file"));
    await sink.write(Buffer.from("text"));
    sink.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("writes into a FIFO and through a descriptor", async () => {
    await runOk("mkfifo", [at("fifo")]);
    const read = runOk("cat", [at("fifo")]);
    await write(at("fifo"), "through");
    expect(await read).toBe("through");
    const fd = openSync(at("file"), "w");
    await write(`/dev/fd/${fd}`, "to it");
    closeSync(fd);
    expect(readFileSync(at("file"), "utf8")).toBe("to it");
  });

  it("tells what is no file, and where no directory is", async () => {
    mkdirSync(at("d"));
    await expect(write(at("d"), "text")).rejects.toThrow(/it is a directory/);
    await expect(write(at("none/file"), "text")).rejects.toThrow(/there is no directory/);
  });
});
