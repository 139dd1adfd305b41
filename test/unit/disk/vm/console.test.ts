import { describe, expect, it } from "vitest";
import { GuestConsole } from "../../../../src/disk/vm/console.js";

describe("the console of a guest", () => {
  it("gives lines without what is meant for terminals, however they are cut", () => {
    const text = "\x1b[2J\x1b[1;1HBdsDxe: loading\r\n\x1b[0;37;40mgrüße\x07\r\nlogin: ";
    for (const size of [1, 2, 3, 100]) {
      const lines: string[] = [];
      const screen = new GuestConsole((line) => lines.push(line));
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; at += size) screen.write(bytes.subarray(at, at + size));
      expect(lines).toEqual(["BdsDxe: loading", "grüße"]);
      expect(screen.log).toBe("BdsDxe: loading\ngrüße\nlogin: ");
    }
  });

  it("sees a line that is not ended, once", () => {
    const screen = new GuestConsole();
    const seen: string[] = [];
    screen.watch("login:", () => seen.push("text"));
    screen.watch(
      (line) => /^nixos login: $/.test(line),
      () => seen.push("own"),
    );
    screen.write(Buffer.from("nixos log"));
    expect(seen).toEqual([]);
    screen.write(Buffer.from("in: "));
    screen.write(Buffer.from("\nnixos login: \n"));
    expect(seen.sort()).toEqual(["own", "text"]);
  });

  it("keeps the end of what has no end, in bounded memory", () => {
    const screen = new GuestConsole();
    for (let count = 0; count < 400; count++) screen.write(Buffer.alloc(50_000, 65));
    screen.write(Buffer.from("\nlast\n"));
    expect(screen.log.length).toBeLessThan(9 * 1024 * 1024);
    expect(screen.log.endsWith("\nlast\n")).toBe(true);
  });
});
