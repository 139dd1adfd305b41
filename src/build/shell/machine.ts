import type { ByteString } from "../../core/byte-string.js";
import { displayBytes } from "../../core/byte-string.js";
import { OciNixError } from "../../core/errors.js";

interface Machine {
  readonly architecture: string;
  readonly variant?: string;
}

/** What Nix calls otherwise than Go does. */
const MACHINES: Readonly<Record<string, Machine>> = {
  x86_64: { architecture: "amd64" },
  i686: { architecture: "386" },
  aarch64: { architecture: "arm64" },
  armv5tel: { architecture: "arm", variant: "v5" },
  armv6l: { architecture: "arm", variant: "v6" },
  armv7l: { architecture: "arm", variant: "v7" },
  loongarch64: { architecture: "loong64" },
  mipsel: { architecture: "mipsle" },
  mips64el: { architecture: "mips64le" },
  powerpc64: { architecture: "ppc64" },
  powerpc64le: { architecture: "ppc64le" },
  riscv64: { architecture: "riscv64" },
  s390x: { architecture: "s390x" },
};

/** What an image for a system such as `aarch64-linux` says of its machine. @throws OciNixError `unsupported` */
export function machineOf(system: ByteString): Machine {
  const [, name = ""] = /^(.*)-linux$/s.exec(system) ?? [];
  const machine = Object.hasOwn(MACHINES, name) ? MACHINES[name] : undefined;
  if (machine !== undefined) return machine;
  throw new OciNixError("unsupported", `the derivation is for the system ${displayBytes(system)}`, {
    hint: "images are of Linux; where they can hold this one, --architecture names it as Go does",
  });
}
