import { afterEach, describe, expect, it } from "vitest";
import { digestLayers } from "../../src/build/digest.js";
import { planImage } from "../../src/build/plan/plan-image.js";
import { checkSpec } from "../../src/build/spec/spec.js";
import { toJson } from "../../src/core/json.js";
import { makeTreeStore } from "../support/trees.js";

const path = (digit: string, name: string) => `/nix/store/${digit.repeat(32)}-${name}`;
const BASH = path("d", "bash-5.2p37");
const COREUTILS = path("g", "coreutils-9.7");
const CACERT = path("h", "nss-cacert-3.108");

let remove: (() => void) | undefined;
afterEach(() => remove?.());

describe("the customisation layer's bytes", () => {
  // Whatever changes them changes the digests of images.
  it("are what they were", async () => {
    const store = makeTreeStore({
      [BASH]: { "bin/": "", "bin/bash": ["#!", 0o555], "share/": "", "share/é": "1", "share/to": { to: "é" } },
      [COREUTILS]: { "bin/": "", "bin/env": ["#!", 0o555], "nix-support/": "", "nix-support/x": "" },
      [CACERT]: { "etc/": "", "etc/ssl/": "", "etc/ssl/certs/": "", "etc/ssl/certs/ca-bundle.crt": "C" },
    });
    remove = store.remove;
    const spec = {
      closure: store.closure,
      contents: [COREUTILS, BASH],
      files: [
        { target: "/etc/motd", text: "hello\n" },
        { target: "/tmp", directory: true, mode: "1777" },
        { target: "/home/user", directory: true, mode: "0700", uid: 1000, gid: 1000 },
        { target: `/${"n".repeat(101)}`, link: "target" },
      ],
      helpers: [
        "binSh",
        "usrBinEnv",
        "caCertificates",
        "shadowSetup",
        { fakeNss: { extraPasswdLines: ["a:x:1:1::/:"] } },
      ],
    };
    const digests = await Promise.all(
      ["oci", "dockertools", "nix2container"].map(async (tarProfile) => {
        const plan = await planImage(checkSpec(toJson({ ...spec, tarProfile }), "the spec"));
        return (await digestLayers(plan, { threads: 0 })).at(-1);
      }),
    );
    expect(digests).toEqual([
      { size: 23040, diffId: "sha256:fd62e01a926d5d416219c6b8256349c78ec8190a7c6fe3cc4f7dd5dff5f8a370" },
      { size: 30720, diffId: "sha256:169fae0a944bebb25f2bcfb17704557af90fab203c5099c784568553e84d187a" },
      { size: 23552, diffId: "sha256:e1b81be0611698a71c306f8afbb4805a92f0645105653d8497a44ff91c819856" },
    ]);
  });
});
