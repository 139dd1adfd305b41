import { describe, expect, it } from "vitest";
import { endpointOf, isLoopback } from "../../../src/transport/registry/hosts.js";
import { proxyFor } from "../../../src/transport/registry/proxy.js";

const isProxied = (url: string, noProxy: string) =>
  proxyFor(new URL(url), { HTTPS_PROXY: "http://proxy:3128", HTTP_PROXY: "http://proxy:3128", NO_PROXY: noProxy }) !==
  undefined;

describe("the proxy for a URL", () => {
  it("is that of its scheme, in upper or lower case", () => {
    const at = (url: string, environment: Record<string, string>) => proxyFor(new URL(url), environment)?.url.href;
    expect(at("https://a.example/", { HTTPS_PROXY: "http://p:1", HTTP_PROXY: "http://q:2" })).toBe("http://p:1/");
    expect(at("http://a.example/", { HTTPS_PROXY: "http://p:1", http_proxy: "q:2" })).toBe("http://q:2/");
    expect(at("https://a.example/", { HTTP_PROXY: "http://q:2" })).toBeUndefined();
    expect(at("https://a.example/", { HTTPS_PROXY: "", https_proxy: "https://low:3" })).toBe("https://low:3/");
  });

  it("is told credentials in its own header, decoded", () => {
    const proxy = proxyFor(new URL("https://a.example"), { HTTPS_PROXY: "http://me:p%40ss%@proxy:3128" });
    expect(proxy?.url.href).toBe("http://proxy:3128/");
    expect(proxy?.authorization).toBe(`Basic ${Buffer.from("me:p@ss%").toString("base64")}`);
  });

  it("is never used for this machine", () => {
    for (const url of ["https://localhost:5000", "http://127.3.4.5", "http://[::1]:5000"])
      expect(isProxied(url, "")).toBe(false);
  });

  it("is left out where NO_PROXY says so", () => {
    const cases: readonly [string, string, boolean][] = [
      ["https://a.example", "", true],
      ["https://a.example", "*", false],
      ["https://a.example", "b.example, A.EXAMPLE", false],
      ["https://sub.a.example", "a.example", false],
      ["https://nota.example", "a.example", true],
      ["https://a.example", ".a.example", true],
      ["https://sub.a.example", ".a.example", false],
      ["https://sub.a.example", "*.a.example", false],
      ["https://a.example", "a.example:443", false],
      ["https://a.example:5000", "a.example:443", true],
      ["https://a.example:5000", "a.example:5000", false],
      ["https://10.1.2.3", "10.0.0.0/8", false],
      ["https://11.1.2.3", "10.0.0.0/8", true],
      ["https://10.1.2.3", "10.1.2.3", false],
      ["https://10.1.2.3:5000", "10.1.2.3:5001", true],
      ["https://110.1.2.3", "10.1.2.3", true],
      ["https://[fd00::5]", "fd00::/8", false],
      ["https://[fd00::5]:5000", "[fd00::5]:5000", false],
      ["https://[fd00::5]", "fd00:0::5", false],
      ["https://a.example", "10.0.0.0/99,:::,/,:80", true],
    ];
    for (const [url, noProxy, expected] of cases)
      expect([url, noProxy, isProxied(url, noProxy)]).toEqual([url, noProxy, expected]);
  });

  it("is an error where it cannot be used, without its password", () => {
    const attempt = (value: string) => () => proxyFor(new URL("https://a.example"), { HTTPS_PROXY: value });
    expect(attempt("http://me:secret@:::")).toThrow(/^HTTPS_PROXY is no URL$/);
    expect(attempt("socks5://me:secret@proxy:1080")).toThrow(/^HTTPS_PROXY names a proxy of the kind socks5$/);
  });
});

describe("hosts", () => {
  it("are this machine by name and by all of its addresses", () => {
    const isHere = (host: string) => isLoopback(new URL(`http://${host}`));
    for (const host of ["localhost", "localhost:5000", "127.0.0.1", "127.255.0.9:80", "[::1]:5000"])
      expect(isHere(host)).toBe(true);
    for (const host of ["localhost.example", "128.0.0.1", "127.0.0.1.example", "[::2]", "registry", "10.0.0.1"]) {
      expect(isHere(host)).toBe(false);
    }
  });

  it("answer under their own name, but for Docker Hub", () => {
    expect(endpointOf("registry.example:5000")).toBe("registry.example:5000");
    expect(endpointOf("docker.io")).toBe("registry-1.docker.io");
    expect(endpointOf("index.docker.io")).toBe("registry-1.docker.io");
    expect(endpointOf("[::1]:5000")).toBe("[::1]:5000");
    for (const host of ["", "a/b", "a:b", "a:99999", "me@host", "a b", "http://a", "-a", "a?b", "a#b"]) {
      expect(() => endpointOf(host), host).toThrow(/is no registry/);
    }
  });
});
