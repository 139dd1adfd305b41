import { mkdirSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";

/** The acceptance points about what is at the root of an image besides the store. */
export function rootPoints(host: Acceptance): void {
  it("27: a source that Nix copied to the store is joined into the root", async () => {
    const source = host.file("source");
    mkdirSync(`${source}/share`, { recursive: true });
    writeFileSync(`${source}/hello.txt`, "from a source\n");
    writeFileSync(`${source}/share/deep.txt`, "deeper\n");
    const added = (await host.nix("nix-store", "--add", source)).trim();
    await host.load("source", { contents: [added, host.path("busybox")] });
    expect(await host.run("source:1", "cat", "/hello.txt", "/share/deep.txt")).toBe("from a source\ndeeper\n");
    expect(await host.run("source:1", "readlink", "/hello.txt")).toBe(`${added}/hello.txt\n`);
  });

  it("28: certificates are at the three places where programs look for them", async () => {
    await host.load("certificates", {
      contents: [host.path("busybox")],
      closure: { roots: [host.path("cacert")] },
      helpers: ["caCertificates"],
    });
    const places = [
      "/etc/ssl/certs/ca-bundle.crt",
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/tls/certs/ca-bundle.crt",
    ];
    for (const place of places) expect(await host.run("certificates:1", "cat", place)).toBe("CERTIFICATE\n");
  });
}
