import { mkdirSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import type { Acceptance } from "../support/acceptance.js";
import { PROJECT } from "../support/cli.js";
import { REAL_STORE_TOOLS, realStore } from "../support/real-store.js";
import { requireTools } from "../support/tools.js";

/** The acceptance points about what is at the root of an image besides the store. */
export function rootPoints(host: Acceptance): void {
  it("10: an image has the file that extraCommands made, beside its contents", async () => {
    const contents = [host.path("hello"), host.path("busybox")];
    const extraCommands = "echo made > extraCommands; mkdir -p var/lib; ln -s ../../bin/hello var/lib/greet";
    await host.call("buildLayeredImage", "extra-commands", { contents, extraCommands, config: { Cmd: ["hello"] } });
    expect(await host.run("extra-commands:1")).toBe("Hello, world!\n");
    const script = "cat /extraCommands; /var/lib/greet; stat -c '%u:%g %a' /extraCommands /var/lib";
    expect(await host.run("extra-commands:1", "sh", "-c", script)).toBe("made\nHello, world!\n0:0 644\n0:0 755\n");
  });

  it("22: owners that fakeRootCommands give are kept", async () => {
    const fakeRootCommands =
      "echo mine > testfile; chown 12345:23456 testfile; mkdir home; chmod 2750 home; chown :100 home";
    await host.call("streamLayeredImage", "chowned", { contents: [host.path("busybox")], fakeRootCommands });
    const found = await host.run("chowned:1", "stat", "-c", "%u:%g %a %n", "/testfile", "/home", "/bin");
    expect(found).toBe("12345:23456 644 /testfile\n0:100 2750 /home\n0:0 755 /bin\n");
  });

  it("24: a store path that only the result of fakeRootCommands refers to is in the image", async () => {
    const stranger = host.path("stranger");
    const fakeRootCommands = `mkdir hello; printf '#!/bin/sh\\nexec %s/bin/stranger\\n' '${stranger}' > hello/run; chmod +x hello/run`;
    await host.call("streamLayeredImage", "referring", { contents: [host.path("busybox")], fakeRootCommands });
    expect(await host.run("referring:1", "/hello/run")).toBe("Nobody knows me.\n");
    const found = (await host.run("referring:1", "find", "/nix/store", "-mindepth", "1", "-maxdepth", "1"))
      .trimEnd()
      .split("\n");
    expect(found.sort()).toEqual(await host.requisites(host.path("busybox"), stranger));
  });

  describe.skipIf(requireTools(...REAL_STORE_TOOLS))("with enableFakechroot", () => {
    let bash: string;

    beforeAll(async () => {
      const { storeRoot, packages } = await realStore("nix");
      bash = packages.bash as string;
      // In that root Debian's programs find their libraries where they look for them.
      const libraries = "libc6 libtinfo6 libacl1 libattr1 libselinux1 libpcre2-8-0 libgmp10 libssl3".split(" ");
      const image = {
        contents: ["bash", "coreutils", ...libraries].map((name) => packages[name]),
        enableFakechroot: true,
        fakeRootCommands: `
          mkdir -p /etc/app /var/empty
          echo "$(id -u) $(readlink /bin/bash) $(ls -d ${PROJECT} /home 2> /dev/null)" > /etc/app/found
          ln -s ${bash}/bin/bash /bin/own-bash
          chmod 0600 /etc/app/found
          chown -R 12345:12345 /etc/app
        `,
      };
      await host.loadInput(host.arguments("streamLayeredImage", "fakechroot", image, storeRoot));
    }, 600_000);

    it("22: owners that fakeRootCommands give are kept there, too", async () => {
      const places = ["/etc/app", "/etc/app/found", "/var/empty", "/etc"];
      expect(await host.run("fakechroot:1", "stat", "-c", "%u:%g %a %n", ...places)).toBe(
        "12345:12345 755 /etc/app\n12345:12345 600 /etc/app/found\n0:0 755 /var/empty\n0:0 755 /etc\n",
      );
    });

    it("26: absolute paths are those of the image", async () => {
      const script = "echo $(< /etc/app/found)";
      expect(await host.run("fakechroot:1", "/bin/own-bash", "-c", script)).toBe(`0 ${bash}/bin/bash\n`);
    });
  });

  it("27: a source that Nix copied to the store is joined into the root", async () => {
    const source = host.file("source");
    mkdirSync(`${source}/share`, { recursive: true });
    writeFileSync(`${source}/hello.txt`, "from a source\n");
    writeFileSync(`${source}/share/deep.txt`, "deeper\n");
    const added = (await host.nix("nix-store", "--add", source)).trim();
    await host.call("streamLayeredImage", "source", { contents: [added, host.path("busybox")] });
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
