import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { compareStrings, describeErrno, OciNixError } from "../../core/errors.js";
import { readRange } from "../../core/file-range.js";
import { openUnpacked } from "../../transport/unpacked-file.js";

/** A kernel module, unpacked. */
export interface KernelModule {
  readonly name: string;
  readonly contents: Uint8Array;
}

const FILE_NAME = /^(.+)\.ko(?:\.(?:gz|xz|zst))?$/;

/**
 * Reads modules of a kernel and all that they depend on, in an order in which they can be inserted. Those that are part of the kernel are left out.
 * @param directory `/lib/modules/VERSION` of that kernel
 * @throws OciNixError `not-found` where a wanted module is neither a file nor part of the kernel; `not-found` naming a program that unpacks modules;
 *   `invalid-input` for a file that is no module
 */
export async function readModules(
  directory: string,
  wanted: { readonly needed: readonly string[]; readonly optional: readonly string[] },
  signal?: AbortSignal,
): Promise<readonly KernelModule[]> {
  const files = moduleFiles(directory);
  const builtIn = builtInModules(directory);
  const done = new Map<string, KernelModule>();
  const add = async (name: string, above: readonly string[]): Promise<void> => {
    if (done.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw missing(directory, [...above, name]);
    if (above.includes(name)) throw new OciNixError("invalid-input", `${file}: it depends on itself`);
    const contents = await readModule(file, signal);
    for (const dependency of moduleDependencies(contents, file)) await add(dependency, [...above, name]);
    done.set(name, { name, contents });
  };
  for (const name of wanted.needed) await add(name, []);
  for (const name of wanted.optional) if (files.has(name)) await add(name, []);
  return [...done.values()];
}

function missing(directory: string, path: readonly string[]): OciNixError {
  const name = path.at(-1);
  const why = path.length > 1 ? `, which ${path.at(-2)} depends on` : "";
  return new OciNixError("not-found", `${directory} has no module ${name}${why}, and the kernel has it not built in`, {
    hint: "take a kernel for virtual machines: the Debian package linux-image-cloud-amd64, or linuxPackages.kernel of nixpkgs",
  });
}

/** The names that `depends=` of a module says. @throws OciNixError `invalid-input` where it is none */
export function moduleDependencies(contents: Uint8Array, title: string): readonly string[] {
  const said = modinfo(contents, title).find((each) => each.startsWith("depends="));
  const names = said?.slice("depends=".length) ?? "";
  return names === "" ? [] : names.split(",").map(moduleName);
}

const ELF64_LITTLE_ENDIAN = "7f454c460201";
const FILE_HEADER = { length: 64, sectionsAt: 40, sectionLength: 58, sectionCount: 60, namesIndex: 62 };
const SECTION = { length: 64, name: 0, offset: 24, size: 32 };

/** The lines `key=value` of a module's section .modinfo. */
function modinfo(contents: Uint8Array, title: string): readonly string[] {
  const bytes = Buffer.from(contents.buffer, contents.byteOffset, contents.length);
  const notOne = (why: string) => new OciNixError("invalid-input", `${title} is no kernel module: ${why}`);
  if (bytes.length < FILE_HEADER.length || bytes.toString("hex", 0, 6) !== ELF64_LITTLE_ENDIAN) {
    throw notOne("it is no ELF file of 64 bits");
  }
  const at = Number(bytes.readBigUInt64LE(FILE_HEADER.sectionsAt));
  const length = bytes.readUInt16LE(FILE_HEADER.sectionLength);
  const count = bytes.readUInt16LE(FILE_HEADER.sectionCount);
  if (length < SECTION.length || at + length * count > bytes.length) throw notOne("it is cut off");
  const section = (index: number): Buffer => {
    if (index >= count) throw notOne("it is damaged");
    const header = at + index * length;
    const offset = Number(bytes.readBigUInt64LE(header + SECTION.offset));
    return bytes.subarray(offset, offset + Number(bytes.readBigUInt64LE(header + SECTION.size)));
  };
  const names = section(bytes.readUInt16LE(FILE_HEADER.namesIndex)).toString("latin1");
  for (let index = 0; index < count; index++) {
    const nameAt = bytes.readUInt32LE(at + index * length + SECTION.name);
    if (!names.startsWith(".modinfo\0", nameAt)) continue;
    return section(index).toString("latin1").split("\0");
  }
  throw notOne("it has no section .modinfo");
}

async function readModule(file: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const { fd, size, close } = await openUnpacked(file, signal);
  try {
    return Buffer.from(readRange(fd, { offset: 0, size }, file));
  } finally {
    close();
  }
}

/** Files by the name of the module. Of two files of one name the first by its path counts. */
function moduleFiles(directory: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  try {
    for (const path of readdirSync(directory, { recursive: true, encoding: "utf8" }).sort(compareStrings)) {
      const name = FILE_NAME.exec(basename(path))?.[1];
      if (name !== undefined && !files.has(moduleName(name))) files.set(moduleName(name), join(directory, path));
    }
  } catch (error) {
    throw new OciNixError("unreadable", `cannot list the modules in ${directory}: ${describeErrno(error)}`, {
      cause: error,
    });
  }
  return files;
}

function builtInModules(directory: string): ReadonlySet<string> {
  const file = join(directory, "modules.builtin");
  if (!existsSync(file)) return new Set();
  const names = readFileSync(file, "utf8").split("\n");
  return new Set(names.map((line) => moduleName(basename(line).replace(/\.ko$/, ""))));
}

/** File names may have a hyphen where the module has an underscore. */
function moduleName(name: string): string {
  return name.replaceAll("-", "_");
}
