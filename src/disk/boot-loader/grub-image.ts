import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { OciNixError } from "../../core/errors.js";
import type { DiskTools } from "../tools.js";
import { readWhole } from "./boot-entry.js";
import { installedDirectory } from "./installed.js";

export type GrubPlatform = "i386-pc" | "x86_64-efi";

/** What a configuration of ours or of a hand needs; nothing is loaded later. GRUB's own formats of compressed files are not among it. */
const MODULES = [
  ..."part_msdos part_gpt ext2 fat search regexp normal linux configfile test".split(" "),
  ..."serial terminal echo ls cat loadenv minicmd sleep halt reboot chain".split(" "),
];

const PLATFORMS: Readonly<
  Record<
    GrubPlatform,
    { readonly modules: readonly string[]; readonly debianPackage: string; readonly nixPackage: string }
  >
> = {
  "i386-pc": { modules: ["biosdisk"], debianPackage: "grub-pc-bin", nixPackage: "grub2" },
  // Without video drivers the kernel has no screen under UEFI.
  "x86_64-efi": { modules: ["all_video", "efifwsetup"], debianPackage: "grub-efi-amd64-bin", nixPackage: "grub2_efi" },
};

/** Fields that name where modules are. */
const DIRECTORY = { "i386-pc": "grubBiosDirectory", "x86_64-efi": "grubEfiDirectory" } as const;

/** The modules that the grub-mkimage on the PATH has come with. */
export function grubDirectory(platform: GrubPlatform): string {
  return installedDirectory("grub-mkimage", `lib/grub/${platform}`);
}

/**
 * Makes a GRUB that reads `PREFIX/grub.cfg`.
 * @param options.directory with GRUB's modules for this platform
 * @param options.prefix a directory of the disk that was started from, as `(,gpt2)/boot/grub`
 * @throws OciNixError `not-found` for missing modules, `unsupported` for those of another version than grub-mkimage's
 */
export async function makeGrubImage(
  platform: GrubPlatform,
  options: { readonly directory: string; readonly prefix: string },
  tools: DiskTools,
): Promise<Buffer> {
  const { directory, prefix } = options;
  const modules = [...PLATFORMS[platform].modules, ...MODULES];
  for (const name of ["kernel.img", "moddep.lst", ...modules.map((each) => `${each}.mod`)])
    grubFile(platform, directory, name);
  const image = join(tools.directory, `grub-${platform}.img`);
  try {
    await tools.run("grub-mkimage", ["-O", platform, "-d", directory, "-p", prefix, "-o", image, ...modules], {
      deadlineMs: 60_000,
    });
    tools.note(`GRUB ${platform}`, checkedVersion(directory, tools.versions.get("grub-mkimage")));
    return readWhole(image);
  } finally {
    rmSync(image, { force: true });
  }
}

/** The name of a file of GRUB's for a platform. @throws OciNixError `not-found` */
export function grubFile(platform: GrubPlatform, directory: string, name: string): string {
  const file = join(directory, name);
  if (existsSync(file)) return file;
  const { debianPackage, nixPackage } = PLATFORMS[platform];
  throw new OciNixError("not-found", `GRUB for ${platform} is not in ${directory}: there is no ${name}`, {
    hint: `install the Debian package ${debianPackage}, or give bootLoader.${DIRECTORY[platform]}: lib/grub/${platform} of ${nixPackage} of nixpkgs`,
  });
}

/**
 * Modules that another version's grub-mkimage puts together do not start, and nobody says why.
 * @returns their version, with the distribution's own
 */
function checkedVersion(directory: string, ofTool = ""): string {
  const toolVersion = /^[\d.]+/.exec(ofTool)?.[0];
  const text = readWhole(join(directory, "modinfo.sh")).toString("latin1");
  const version = /^grub_version="(\d+(?:\.\d+)+)/m.exec(text)?.[1] ?? "unknown";
  if (version === toolVersion) {
    return /^grub_package_version="(\d[^"]*)"/m.exec(text)?.[1] ?? version;
  }
  const found = `grub-mkimage is of GRUB ${toolVersion ?? "unknown"}`;
  throw new OciNixError("unsupported", `${directory} is of GRUB ${version}, ${found}`, {
    hint: "put the bin directory of the same GRUB on the PATH, or name its modules: bootLoader.grubBiosDirectory, grubEfiDirectory",
  });
}
