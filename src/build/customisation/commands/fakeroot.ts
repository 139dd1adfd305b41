import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describeErrno, OciNixError } from "../../../core/errors.js";
import { findOnPath, notOnPath, runProgram } from "../../../core/process.js";

/** What nobody but its package can give. */
const PACKAGE = { program: "fakeroot", debianPackage: "fakeroot", nixPackage: "fakeroot" } as const;

/** Below the support directory: the server with all that it needs to run, and the library that programs are run with. */
export const SERVER_DIRECTORY = "fakeroot";
export const LOADER = `${SERVER_DIRECTORY}/loader`;
export const SERVER = `${SERVER_DIRECTORY}/faked`;
export const LIBRARY = `${SERVER_DIRECTORY}/libfakeroot.so`;

/**
 * Copies fakeroot's server, its libraries and its preloaded library to a directory, where they run whatever else is there.
 * @param directory {@link SERVER_DIRECTORY} is made in it
 * @throws OciNixError `not-found` without fakeroot; `unsupported` where it is not laid out in a way that is known
 */
export async function copyFakeroot(directory: string, signal?: AbortSignal): Promise<void> {
  const { server, library } = findFakeroot();
  const loader = interpreterOf(server);
  const to = join(directory, SERVER_DIRECTORY);
  const listed = await runProgram(
    { program: loader, args: ["--list", server], debianPackage: "libc6" },
    { environment: [], signal },
  );
  const libraries = [...listed.matchAll(/ => (\/\S+) \(0x/g)].map(([, file]) => file as string);
  try {
    mkdirSync(to);
    copyFileSync(loader, join(directory, LOADER));
    copyFileSync(server, join(directory, SERVER));
    copyFileSync(library, join(directory, LIBRARY));
    for (const file of libraries) copyFileSync(file, join(to, basename(file)));
  } catch (error) {
    throw new OciNixError("output", `cannot copy fakeroot to ${to}: ${describeErrno(error)}`, { cause: error });
  }
}

/** The program is a script that says where its parts are; of those only it knows which belong together. */
function findFakeroot(): { readonly server: string; readonly library: string } {
  const found = findOnPath(PACKAGE.program);
  if (found === undefined) throw notOnPath(PACKAGE);
  const program = realpathSync(found);
  // As nixpkgs wraps programs.
  const wrapped = join(dirname(program), `.${basename(program)}-wrapped`);
  for (const script of existsSync(wrapped) ? [wrapped, program] : [program]) {
    const variables = variablesOf(readFileSync(script, "latin1"));
    const server = variables.get("FAKED");
    const name = variables.get("FAKEROOT_LIB");
    const places = variables.get("PATHS")?.split(":") ?? [];
    const library = places.map((place) => join(place, name ?? "")).find((file) => existsSync(file));
    if (server !== undefined && name !== undefined && library !== undefined && existsSync(server)) {
      return { server, library };
    }
  }
  throw new OciNixError("unsupported", `${program} does not say where its server and its library are`, {
    hint: "fakeroot 1.20 and later of Debian and of nixpkgs are known to do",
  });
}

/** The first value of each variable that a shell script sets to plain words, others' values put in. */
function variablesOf(script: string): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const [, name, , value] of script.matchAll(/^([A-Z_]+)=("?)([\w/.:${}+~@-]+)\2$/gm)) {
    if (name === undefined || value === undefined || variables.has(name)) continue;
    const filled = value.replace(/\$\{?(\w+)\}?/g, (_, other: string) => variables.get(other) ?? "");
    variables.set(name, filled);
  }
  return variables;
}

const PT_INTERP = 3;

/** The program that an ELF file names as the one that loads it. System V ABI, "Program Header". */
function interpreterOf(file: string): string {
  const bytes = readFileSync(file);
  const isElf = bytes.length > 64 && bytes.readUInt32BE(0) === 0x7f454c46;
  const is64 = bytes[4] === 2;
  const isLittle = bytes[5] === 1;
  const word = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const half = (at: number) => (isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  // Of 64-bit numbers the lower half is enough for a file of a few kilobytes.
  const low = (at: number) => word(isLittle ? at : at + 4);
  if (isElf) {
    const start = is64 ? low(32) : word(28);
    const [size, count] = is64 ? [half(54), half(56)] : [half(42), half(44)];
    for (let i = 0; i < count && start + (i + 1) * size <= bytes.length; i++) {
      const at = start + i * size;
      if (word(at) !== PT_INTERP) continue;
      const [from, length] = is64 ? [low(at + 8), low(at + 32)] : [word(at + 4), word(at + 16)];
      return bytes.toString("latin1", from, from + length).replace(/\0.*$/s, "");
    }
  }
  throw new OciNixError("unsupported", `${file} is no dynamically linked program, as fakeroot's server is`);
}
