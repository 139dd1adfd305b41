import { describe, expect, it } from "vitest";
import { type Command, everyCommand } from "../../../src/cli/command.js";
import { COMMANDS } from "../../../src/cli/commands.js";
import { flagsOf } from "../../../src/cli/flags.js";
import { parseCompression, SPEC_SCHEMA, STRATEGY_NAMES, TAR_PROFILE_NAMES } from "../../../src/index.js";

const flags = everyCommand(COMMANDS)
  .filter((each): each is { words: string; command: Command } => "load" in each.command)
  .flatMap(({ words, command }) => Object.entries(flagsOf(command)).map(([name, flag]) => ({ words, name, flag })));

const suggestionsOf = (wanted: string): readonly (readonly string[])[] => {
  const found = flags
    .filter(({ name }) => name === wanted)
    .flatMap(({ flag }) => (flag.suggested ? [flag.suggested] : []));
  expect(found.length).toBeGreaterThan(0);
  return found;
};

describe("what completion suggests", () => {
  it("are all strategies, tar profiles and compressions that the library knows", () => {
    for (const names of suggestionsOf("strategy")) expect([...names].sort()).toEqual([...STRATEGY_NAMES].sort());
    for (const names of suggestionsOf("tar-profile")) expect([...names].sort()).toEqual([...TAR_PROFILE_NAMES].sort());
    for (const names of suggestionsOf("compression")) {
      expect(names.map((name) => parseCompression(name, "--compression").name)).toEqual(names);
    }
  });

  it("are helpers that a spec file may have", () => {
    const schema = JSON.stringify(
      (SPEC_SCHEMA as { readonly properties: Readonly<Record<string, unknown>> }).properties.helpers,
    );
    for (const names of suggestionsOf("helper")) for (const name of names) expect(schema).toContain(`"${name}"`);
  });
});

describe("flags", () => {
  it("have words that need no quotes in any shell", () => {
    for (const { words, name, flag } of flags) {
      for (const word of [...words.split(" "), name, ...(flag.choices ?? []), ...(flag.suggested ?? [])]) {
        expect(word).toMatch(/^[A-Za-z0-9][A-Za-z0-9+-]*$/);
      }
    }
  });

  it("name something only where they take a string", () => {
    for (const { flag } of flags) if (flag.names !== undefined) expect(flag.type).toBe("string");
  });
});
