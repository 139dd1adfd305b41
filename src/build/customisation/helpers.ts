import { encodeUtf8 } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";
import type { Ownership } from "../../core/ownership.js";
import type { StorePath } from "../../nix/store-path.js";
import type { JoinedTree } from "./joined-tree.js";
import { BASH, CERTIFICATES, ENV, lookFor, type Wanted } from "./packages.js";
import type { HelperSpec } from "./spec.js";
import type { StoreFiles } from "./store-files.js";

export interface HelperOptions {
  readonly files: StoreFiles;
  /** What is in the image at its own place. */
  readonly shipped: Iterable<StorePath>;
  readonly owner: Ownership;
}

/**
 * Adds the files of dockerTools' helpers. Comes after all else: `shadowSetup` leaves alone what is there.
 * @throws OciNixError `not-found` or `conflict` where no package in the image has a file that is needed, or several have; `conflict` where
 *   something else is in the place
 */
export function addHelpers(tree: JoinedTree, helpers: readonly HelperSpec[], options: HelperOptions): void {
  const { owner } = options;
  for (const helper of [...helpers].sort((a, b) => rank(a) - rank(b))) {
    const source = `the helper ${helper.name}`;
    const file = (path: string, lines: readonly string[], mode = 0o644) => {
      const contents = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      tree.add({ type: "file", path, mode, owner, contents, source });
    };
    const link = (path: string, wanted: Wanted) => {
      const linkTarget = encodeUtf8(find(wanted, path, helper.name, options));
      tree.add({ type: "symlink", path, mode: 0o777, owner, linkTarget, source });
    };
    const { extraPasswdLines = [], extraGroupLines = [] } = helper;
    switch (helper.name) {
      case "fakeNss":
        file("/etc/passwd", [
          "root:x:0:0:root user:/var/empty:/bin/sh",
          ...extraPasswdLines,
          "nobody:x:65534:65534:nobody:/var/empty:/bin/sh",
        ]);
        file("/etc/group", ["root:x:0:", ...extraGroupLines, "nobody:x:65534:"]);
        file("/etc/nsswitch.conf", ["hosts: files dns"]);
        tree.add({ type: "directory", path: "/var/empty", mode: 0o755, owner, claim: "none", source });
        break;
      case "binSh":
        link("/bin/sh", BASH);
        break;
      case "usrBinEnv":
        link("/usr/bin/env", ENV);
        break;
      case "caCertificates":
        link("/etc/ssl/certs/ca-bundle.crt", CERTIFICATES);
        link("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES);
        link("/etc/pki/tls/certs/ca-bundle.crt", CERTIFICATES);
        break;
      case "shadowSetup":
        if (!tree.has("/etc/passwd")) {
          file("/etc/passwd", [`root:x:0:0::/root:${find(BASH, "/etc/passwd", helper.name, options)}`]);
          file("/etc/shadow", ["root:!x:::::::"], 0o600);
        }
        if (!tree.has("/etc/group")) {
          file("/etc/group", ["root:x:0:"]);
          file("/etc/gshadow", ["root:x::"], 0o600);
        }
        if (!tree.has("/etc/pam.d/other")) {
          file("/etc/pam.d/other", [
            "account sufficient pam_unix.so",
            "auth sufficient pam_rootok.so",
            "password requisite pam_unix.so nullok sha512",
            "session required pam_unix.so",
          ]);
        }
        if (!tree.has("/etc/login.defs")) file("/etc/login.defs", []);
        break;
    }
  }
}

function rank({ name }: HelperSpec): number {
  return name === "shadowSetup" ? 1 : 0;
}

/** The one file of a package that is in the image. */
function find(wanted: Wanted, target: string, helper: string, { files, shipped }: HelperOptions): string {
  const { packages, file } = wanted;
  const { named, having } = lookFor(wanted, shipped, files);
  const [only, ...others] = having;
  if (only !== undefined && others.length === 0) return `${only}/${file}`;
  const link = `files: {"target": "${target}", "link": "/nix/store/…"}`;
  if (only !== undefined) {
    throw new OciNixError(
      "conflict",
      `the helper ${helper} needs one ${file}, and several store paths of the image have it: ${[only, ...others].join(", ")}`,
      { hint: `drop the helper, and say which is meant with ${link}` },
    );
  }
  const lacking = named.length === 0 ? "" : ` (${named.join(", ")} ${named.length === 1 ? "has" : "have"} none)`;
  throw new OciNixError(
    "not-found",
    `the helper ${helper} needs ${file} of ${packages.join(" or ")}, which is not in the image${lacking}`,
    { hint: `add the package to the roots or to contents, or, instead of the helper, give ${link}` },
  );
}
