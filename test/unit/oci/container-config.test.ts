import { describe, expect, it } from "vitest";
import { formatJson, parseJson } from "../../../src/core/json.js";
import { checkContainerConfig } from "../../../src/oci/container-config.js";

const check = (json: unknown) => formatJson(checkContainerConfig(parseJson(JSON.stringify(json), "c"), "config"));

const FULL = {
  User: "1000:100",
  ExposedPorts: { "443/tcp": {}, "80/tcp": {} },
  Env: ["A=1", "B="],
  Entrypoint: ["/bin/sh"],
  Cmd: ["-c", ""],
  Healthcheck: {
    Test: ["CMD", "true"],
    Interval: 30000000000,
    Timeout: 1,
    StartPeriod: 2,
    StartInterval: 3,
    Retries: 4,
  },
  ArgsEscaped: true,
  Volumes: { "/data": {} },
  WorkingDir: "/",
  Labels: { "10": "x", "9": "y", é: "" },
  StopSignal: "SIGTERM",
  Memory: 1,
  MemorySwap: -1,
  CpuShares: 2,
  OnBuild: ["RUN x"],
  StopTimeout: 10,
  Shell: ["/bin/sh", "-c"],
};

describe("checkContainerConfig", () => {
  it("keeps every field, whatever their order was", () => {
    const reversed = Object.fromEntries(Object.entries(FULL).reverse());
    expect(JSON.parse(check(FULL))).toEqual(FULL);
    expect(check(reversed)).toBe(check(FULL));
    expect(check({ Labels: { b: "1", a: "2" } })).toBe('{"Labels":{"a":"2","b":"1"}}');
  });

  it.each(Object.keys(FULL))("takes null for no %s, and refuses values of another type", (field) => {
    expect(check({ [field]: null })).toBe("{}");
    const isNumber = typeof FULL[field as keyof typeof FULL] === "number";
    for (const wrong of [isNumber ? "1" : 1, 1.5, [1], { a: 1 }]) {
      expect(() => check({ [field]: wrong }), JSON.stringify(wrong)).toThrow(
        /^config\.\w+(: unknown field "a"|(\[(0|"a")\])? must be [^;]+; found .)/,
      );
    }
  });

  it.each([
    ["entrypoint", "Entrypoint"],
    ["Lables", "Labels"],
    ["HealthCheck", "Healthcheck"],
    ["ExposedPort", "ExposedPorts"],
    ["__proto__", undefined],
  ])("names for the unknown field %s the nearest known one", (field, near) => {
    const config = new Map([[field, "x"]]);
    expect(() => checkContainerConfig(config, "config")).toThrow(`config: unknown field "${field}"`);
    try {
      checkContainerConfig(config, "config");
    } catch (error) {
      expect((error as { hint: string }).hint).toMatch(near === undefined ? /^known fields/ : `did you mean ${near}?`);
    }
  });

  it.each(["A", "=1", ""])("refuses %j as an environment variable", (entry) => {
    expect(() => check({ Env: [entry] })).toThrow(/is not NAME=VALUE/);
  });

  it("refuses variables and words of commands that Linux starts no program with", () => {
    const longest = `A=${"ü".repeat(2 ** 16 - 2)}v`;
    expect(() => check({ Env: [longest], Cmd: ["x", longest] })).not.toThrow();
    expect(() => check({ Env: [`${longest}v`] })).toThrow(/^config\.Env: A has 131072 bytes: Linux .* 131071$/);
    expect(() => check({ Cmd: ["x", `${longest}v`] })).toThrow(/^config\.Cmd\[1\] has 131072 bytes/);
    expect(() => check({ Entrypoint: [`${longest}v`] })).toThrow(/^config\.Entrypoint\[0\] has 131072 bytes/);
    expect(() => check({ Env: ["A=b\0"] })).toThrow(/^config\.Env: A holds a NUL/);
    expect(() => check({ Cmd: ["x", "\ud800"] })).toThrow(/^config\.Cmd\[1\] holds a NUL or a lone surrogate/);
    expect(() => check({ Cmd: ["x", "\u{1f600}"] })).not.toThrow();
  });
});

describe("the form of values", () => {
  it.each([
    [{ WorkingDir: "data" }, /WorkingDir: "data" is not an absolute path/],
    [{ Volumes: { "": {} } }, /Volumes: "" is not absolute paths/],
    [{ Volumes: { data: {} } }, /Volumes: "data"/],
    [{ ExposedPorts: { http: {} } }, /ExposedPorts: "http"/],
    [{ StopSignal: "NOPE" }, /StopSignal: "NOPE"/],
  ])("refuses %j", (config, message) => {
    expect(() => check(config)).toThrow(message);
  });

  it("takes ports without a protocol, ranges, and empty texts", () => {
    const config = { ExposedPorts: { "443": {}, "80-90/udp": {} }, WorkingDir: "", StopSignal: "" };
    expect(() => check(config)).not.toThrow();
  });
});
