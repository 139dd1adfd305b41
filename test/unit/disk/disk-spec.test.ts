import { describe, expect, it } from "vitest";
import { parseJson } from "../../../src/core/json.js";
import { checkDiskSpec } from "../../../src/disk/check-disk-spec.js";
import { DISK_SPEC_SCHEMA, type DiskSpec } from "../../../src/disk/disk-spec.js";

const ROOT = "/nix/store/l9d64iyv9iaxi297diahyb0sm4rjs8lk-greeting-1.0";
const closure = { roots: [ROOT] };

function checked(spec: object): DiskSpec {
  return checkDiskSpec(parseJson(JSON.stringify(spec), "disk.json"), "disk.json");
}

function failure(spec: object): string {
  try {
    checked(spec);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it was taken");
}

describe("the spec of a disk image", () => {
  it("takes make-disk-image's parameters by their names", () => {
    const spec = checked({
      toplevel: ROOT,
      partitionTableType: "hybrid",
      diskSize: 2048,
      bootSize: "256M",
      additionalSpace: "1G",
      label: "nixos",
      contents: [{ source: "/a/*", target: "/etc/", mode: "0600", user: "alice", group: "100" }],
      configFile: "/a/configuration.nix",
      additionalPaths: [ROOT],
      onlyNixStore: false,
      rootGPUID: "F222513B-DED1-49FA-B591-20CE86A2FE7F",
      fsType: "ext4",
      deterministic: true,
      memSize: 1024,
      installBootLoader: false,
      touchEFIVars: false,
      postVM: "",
      baseName: "disk",
      format: "qcow2-compressed",
    });
    expect(spec).toMatchObject({
      diskSize: 2048 * 2 ** 20,
      bootSize: 256 * 2 ** 20,
      additionalSpace: 2 ** 30,
      contents: [{ source: "/a/*", target: "/etc", mode: 0o600, user: "alice", group: "100" }],
      format: "qcow2-compressed",
    });
    expect(spec).toMatchObject({ installBootLoader: false, touchEFIVars: false, postVM: undefined });
  });

  it.each([
    ["4096", 4096],
    ["1K", 1024],
    ["5MB", 5e6],
    ["5MiB", 5 * 2 ** 20],
    ["2T", 2 ** 41],
  ])("reads the size %s", (text, bytes) => {
    expect(checked({ closure, additionalSpace: text }).additionalSpace).toBe(bytes);
  });

  it.each([
    [{ diskSize: "large" }, /disk\.json: diskSize must be "auto" or a number of MiB; found "large"$/],
    [{ diskSize: 0 }, /diskSize must be a whole number.*; found 0$/],
    [{ bootSize: "256 M" }, /bootSize must be a size up to 2 TiB/],
    [{ additionalSpace: "3T" }, /additionalSpace must be a size up to 2 TiB/],
    [{ fsType: "xfs" }, /fsType must be one of ext4/],
    [{ partitionTableType: "gpt" }, /partitionTableType must be one of none, legacy, legacy\+gpt/],
    [{ format: "iso" }, /format must be one of raw, qcow2.*; found "iso"$/],
    [{ label: "a label of a disk" }, /label must be 1 to 16 ASCII characters/],
    [{ baseName: "a/b" }, /baseName must be a file name/],
    [{ rootGPUID: "F222" }, /rootGPUID must be a GUID/],
    [{ rootGPUID: "00000000-0000-0000-0000-000000000000" }, /rootGPUID must be a GUID that is not zero/],
    [{ rootFSUID: "00000000-0000-0000-0000-000000000000" }, /rootFSUID must be a GUID that is not zero/],
    [{ contents: [{ source: "/a", target: "/b", user: "alice" }] }, /contents\[0\] must be an object with both "user"/],
    [{ contents: [{ source: "/a", target: "/" }] }, /target must be an absolute path below the root/],
    [{ contents: [{ source: "/a", target: "/b/../c" }] }, /target must be an absolute path below the root/],
    [{ contents: [{ source: "/a" }] }, /contents\[0\] must be an object with "source" and "target"/],
    [{ partitionTabelType: "efi" }, /unknown key "partitionTabelType"/],
  ])("refuses the wrong value %j", (fields, message) => {
    expect(failure({ closure, ...fields })).toMatch(message);
  });

  it.each([
    [{}, /nothing says what is on the disk/],
    [{ closure: {} }, /nothing says what is on the disk/],
    [{ closure, fromImage: "oci:a:b" }, /fromImage and closure contradict each other/],
    [{ closure, platform: "linux/arm64" }, /platform needs fromImage/],
    [{ fromImage: "oci:a:b", nixDatabase: true }, /no Nix database with fromImage/],
    [{ closure, onlyNixStore: true, nixDatabase: true }, /no Nix database with onlyNixStore/],
    [{ closure, onlyNixStore: true, contents: [{ source: "/a", target: "/b" }] }, /onlyNixStore and contents contra/],
    [{ closure, onlyNixStore: true, configFile: "/a" }, /onlyNixStore and configFile contradict/],
    [{ toplevel: ROOT, onlyNixStore: true, bootLoader: { kind: "grub" } }, /onlyNixStore and bootLoader contradict/],
    [{ closure, compression: "zstd" }, /compression needs the format qcow2-compressed/],
    [{ closure, format: "qcow2", compression: "zlib" }, /compression needs the format qcow2-compressed/],
    [{ closure, copyChannel: true }, /copyChannel needs channel/],
    [{ closure, minimise: true, diskSize: 100 }, /minimise and diskSize contradict/],
    [{ toplevel: ROOT, bootLoader: { kind: "uki" } }, /table legacy has no place for the boot loader uki/],
    [{ toplevel: ROOT, partitionTableType: "none", bootLoader: { kind: "grub" } }, /table none has no place/],
    [{ closure, bootLoader: { kind: "none", kernel: "/k" } }, /bootLoader\.kernel and the kind none contradict/],
    [{ closure, bootLoader: { kind: "grub" } }, /the boot loader needs a kernel/],
    [{ closure, installBootLoader: true }, /installBootLoader needs toplevel/],
    [{ fromImage: "oci:a:b", installBootLoader: true }, /installBootLoader needs toplevel/],
    [
      { toplevel: ROOT, installBootLoader: true, bootLoader: { kind: "grub" } },
      /installBootLoader and bootLoader contradict/,
    ],
    [{ toplevel: ROOT, installBootLoader: true, onlyNixStore: true }, /onlyNixStore and installBootLoader contradict/],
    [
      { toplevel: ROOT, installBootLoader: true, partitionTableType: "none" },
      /table none has no place for a boot load/,
    ],
    [{ toplevel: ROOT, touchEFIVars: true, partitionTableType: "efi" }, /touchEFIVars needs installBootLoader/],
    [{ toplevel: ROOT, installBootLoader: true, touchEFIVars: true }, /touchEFIVars and the partition table legacy/],
  ])("refuses what contradicts itself: %j", (spec, message) => {
    expect(failure(spec)).toMatch(message);
  });

  it.each([
    { toplevel: ROOT, installBootLoader: true },
    { toplevel: ROOT, installBootLoader: true, bootLoader: { kind: "none" }, partitionTableType: "legacy+boot" },
    { toplevel: ROOT, installBootLoader: true, touchEFIVars: true, partitionTableType: "efixbootldr" },
    { closure, postVM: "echo hello", partitionTableType: "none" },
  ])("takes what a virtual machine or a script is for: %j", (spec) => {
    expect(checked(spec)).toMatchObject(spec);
  });

  it("has a schema that describes every field", () => {
    const { properties } = DISK_SPEC_SCHEMA as {
      readonly properties: Readonly<Record<string, { description: string }>>;
    };
    for (const [name, { description }] of Object.entries(properties)) expect(description, name).not.toBe("");
  });
});
