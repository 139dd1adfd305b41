import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DOCKERTOOLS_ARGUMENTS,
  DOCKERTOOLS_FUNCTIONS,
  translateDockertoolsArguments,
} from "../../src/build/dockertools/arguments.js";
import { checkSpec } from "../../src/build/spec/spec.js";
import { OciNixError } from "../../src/core/errors.js";
import { formatJson, toJson } from "../../src/core/json.js";

const path = fc.constantFrom("a", "b").map((digit) => `/nix/store/${digit.repeat(32)}-${digit}`);
const value = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.nat({ max: 200 }),
  fc.constantFrom("", "app", "App:1", "now", "gz", "zstd", "root", "mkdir data"),
  path,
  fc.array(path, { maxLength: 2 }),
  fc.dictionary(fc.constantFrom("Cmd", "Env", "constructor"), fc.array(path, { maxLength: 2 })),
);
const args = fc.dictionary(
  fc.oneof({ arbitrary: fc.constantFrom(...DOCKERTOOLS_ARGUMENTS), weight: 20 }, fc.constant("nmae")),
  value,
  { maxKeys: 5 },
);
const called = fc.option(fc.constantFrom(...DOCKERTOOLS_FUNCTIONS), { nil: undefined });

describe("dockerTools' arguments, whatever they are", () => {
  it("are translated to a spec, or refused in words; null changes nothing, nor does the order", () => {
    let translated = 0;
    fc.assert(
      fc.property(args, called, (given, name) => {
        const options = { source: "args.json", function: name };
        const translate = (json: object) => {
          try {
            const { spec, ...others } = translateDockertoolsArguments(toJson({ name: "app", ...json }), options);
            return { spec, text: formatJson(spec), others };
          } catch (error) {
            expect(error).toBeInstanceOf(OciNixError);
            return undefined;
          }
        };
        const image = translate(given);
        if (image === undefined) return;
        translated++;
        const missing = DOCKERTOOLS_ARGUMENTS.filter((key) => !Object.hasOwn(given, key) && key !== "name");
        expect(translate({ ...Object.fromEntries(missing.map((key) => [key, null])), ...given })).toEqual(image);
        expect(translate(Object.fromEntries(Object.entries(given).reverse()))).toEqual(image);
        try {
          checkSpec(image.spec, "args.json");
        } catch (error) {
          expect(error).toBeInstanceOf(OciNixError);
          // Whatever is translated has the shape of a spec, values apart.
          expect((error as OciNixError).message).not.toMatch(/unknown key/);
        }
      }),
      { numRuns: 3000 },
    );
    expect(translated).toBeGreaterThan(100);
  });
});
