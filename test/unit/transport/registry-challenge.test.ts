import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseChallenges } from "../../../src/transport/registry/challenge.js";
import { coversScopes, repositoryOf, unionOfScopes } from "../../../src/transport/registry/scopes.js";

const plain = (header: string | undefined) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe("challenges", () => {
  it("are parsed with quoted and plain values, blanks and names of any case", () => {
    expect(
      plain('Bearer realm="https://auth.example/token",Service=registry.example , scope = "repository:a/b:pull,push"'),
    ).toEqual([
      [
        "bearer",
        { realm: "https://auth.example/token", service: "registry.example", scope: "repository:a/b:pull,push" },
      ],
    ]);
  });

  it("are parsed where one header holds several", () => {
    expect(plain('Negotiate, Basic realm="x, y", charset=UTF-8, Bearer realm="https://a/", NTLM abc==')).toEqual([
      ["negotiate", {}],
      ["basic", { realm: "x, y", charset: "UTF-8" }],
      ["bearer", { realm: "https://a/" }],
      ["ntlm", {}],
    ]);
  });

  it("give escaped characters as they are meant", () => {
    expect(plain('Basic realm="a \\"b\\" \\\\ c"')).toEqual([["basic", { realm: 'a "b" \\ c' }]]);
  });

  it("count the first of a repeated parameter", () => {
    expect(plain("Basic realm=first, realm=second")).toEqual([["basic", { realm: "first" }]]);
  });

  it("are found among garbage", () => {
    expect(plain(undefined)).toEqual([]);
    expect(plain("")).toEqual([]);
    expect(plain('realm="nobody\'s", ,, @@@ "x,Bearer realm=no", Basic realm="yes"')).toEqual([
      ["basic", { realm: "yes" }],
    ]);
    expect(plain('Bearer realm="it does not end, Basic realm=x')).toEqual([["bearer", {}]]);
    expect(plain("Bearer realm=, service=s")).toEqual([["bearer", { service: "s" }]]);
  });

  it("are read back as they were written", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
    const parameters = fc.dictionary(name, fc.string({ unit: "grapheme-ascii" }), { minKeys: 1 });
    const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
    fc.assert(
      fc.property(fc.array(fc.tuple(name, parameters)), (challenges) => {
        const header = challenges
          .map(
            ([scheme, values]) =>
              `${scheme} ${Object.entries(values)
                .map(([key, value]) => `${key}=${quote(value)}`)
                .join(",")}`,
          )
          .join(", ");
        expect(plain(header)).toEqual(challenges.map(([scheme, values]) => [scheme, { ...values }]));
      }),
    );
  });

  it("never fail, whatever the header holds", () => {
    const unit = fc.constantFrom('"', "\\", ",", "=", " ", "Bearer", "realm", "\t", "é", "@");
    fc.assert(fc.property(fc.string({ unit }), (header) => void parseChallenges(header)));
    expect(parseChallenges('"\\'.repeat(4000))).toEqual([]);
  });
});

describe("scopes", () => {
  it("are united by resource, what is named first in front", () => {
    expect(
      unionOfScopes(["repository:b:pull"], ["repository:a:pull", "repository:b:push,pull"], ["registry:catalog:*"]),
    ).toEqual(["repository:b:pull,push", "repository:a:pull", "registry:catalog:*"]);
  });

  it("are covered where each action of each resource is", () => {
    const granted = ["repository:a:pull,push", "repository:b:pull"];
    expect(coversScopes(granted, ["repository:b:pull", "repository:a:push"])).toBe(true);
    expect(coversScopes(granted, ["repository:b:push"])).toBe(false);
    expect(coversScopes(granted, ["repository:c:pull"])).toBe(false);
    expect(coversScopes([], [])).toBe(true);
  });

  it("tell the repository, ports in its name included", () => {
    expect(repositoryOf(["registry:catalog:*", "repository:ns/app:pull,push", "repository:b:pull"])).toBe("ns/app");
    expect(repositoryOf(["repository(plugin):host:5000/app:pull"])).toBe("host:5000/app");
    expect(repositoryOf([])).toBeUndefined();
  });
});
