import { describe, expect, it } from "vitest";
import { formatJson, isJsonObject, type JsonObject, toJson } from "../../../src/core/json.js";
import { type Inheritance, inheritConfig } from "../../../src/oci/inherit-config.js";

function merge(base: unknown, own: Record<string, unknown>, how: Inheritance = "all") {
  const config = toJson(own);
  const merged = inheritConfig(base === undefined ? undefined : toJson(base), config as JsonObject, how, "the base");
  return JSON.parse(formatJson(merged)) as unknown;
}

describe("the config of an image on top of another", () => {
  it("takes over what it does not say itself", () => {
    const base = { User: "app", WorkingDir: "/srv", StopSignal: "SIGINT", Cmd: ["a"], Shell: ["/bin/sh"] };
    expect(merge(base, {})).toEqual(base);
    expect(merge(base, { User: "root", Cmd: ["b"] })).toEqual({ ...base, User: "root", Cmd: ["b"] });
  });

  it("unites environment, labels, ports and volumes, the image's own values winning", () => {
    const base = {
      Env: ["PATH=/bin", "A=1", "B=1"],
      Labels: { a: "1", b: "1" },
      ExposedPorts: { "80/tcp": {} },
      Volumes: { "/data": {} },
    };
    const own = { Env: ["C=2", "A=2"], Labels: { b: "2" }, ExposedPorts: { "443/tcp": {} }, Volumes: { "/cache": {} } };
    expect(merge(base, own)).toEqual({
      Env: ["PATH=/bin", "A=2", "B=1", "C=2"],
      Labels: { a: "1", b: "2" },
      ExposedPorts: { "443/tcp": {}, "80/tcp": {} },
      Volumes: { "/cache": {}, "/data": {} },
    });
  });

  it("does not give another entrypoint the base's arguments", () => {
    expect(merge({ Entrypoint: ["/a"], Cmd: ["x"] }, { Entrypoint: ["/b"] })).toEqual({ Entrypoint: ["/b"] });
    expect(merge({ Entrypoint: ["/a"], Cmd: ["x"] }, { Cmd: ["y"] })).toEqual({ Entrypoint: ["/a"], Cmd: ["y"] });
  });

  it("leaves behind triggers, what is null, and fields that no image has", () => {
    expect(
      merge({ OnBuild: ["RUN x"], ArgsEscaped: true, Cmd: null, Hostname: "h", Image: "i", User: "u" }, {}),
    ).toEqual({
      User: "u",
    });
  });

  it("takes over the environment alone, or nothing", () => {
    const base = { Env: ["A=1"], User: "app", Cmd: 5 };
    expect(merge(base, { Env: ["B=2"] }, "env")).toEqual({ Env: ["A=1", "B=2"] });
    expect(merge(base, { Env: ["B=2"] }, "none")).toEqual({ Env: ["B=2"] });
    expect(merge(null, { Env: ["B=2"] })).toEqual({ Env: ["B=2"] });
  });

  it.each([["x"], [{ Cmd: "sh" }], [{ Env: ["=1"] }], [{ Labels: { a: 1 } }]])("refuses a base with %j", (base) => {
    expect(isJsonObject(toJson({}))).toBe(true);
    expect(() => merge(base, {})).toThrow(/^the base/);
  });
});
