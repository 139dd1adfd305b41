import { errnoOf, OciNixError } from "./errors.js";

/**
 * Loads what is compiled for the machine.
 * @param name the npm package that has it
 * @throws OciNixError `unsupported` where it was never built, or for another Node or machine
 */
export function loadNative<T>(name: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    const code = errnoOf(error);
    const isMissing = code === "MODULE_NOT_FOUND" || String(error).includes("Could not locate the bindings file");
    if (!isMissing && code !== "ERR_DLOPEN_FAILED") throw error;
    const { platform, arch, versions } = process;
    const what = isMissing ? "the compiled part of it is missing" : "the compiled part of it does not load";
    throw new OciNixError("unsupported", `${name}: ${what} (Node ${versions.node}, ${platform} ${arch})`, {
      hint: `where oci-nix is installed, allow npm to run install scripts, then: npm rebuild ${name}; docs/install.md tells what that takes`,
      cause: error,
    });
  }
}
