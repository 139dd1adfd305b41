import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withStorePaths } from "../corpus.mjs";
import { GeneratedStore, storePathName } from "../store.mjs";
import { type Bench, Case, type Limit, listing, QUIETLY } from "./series.mjs";

const PROFILES = ["oci", "dockertools", "nix2container"];

/** Bytes of a path that Linux takes, and of a link target; a NUL follows. */
const PATH_MAX = 4095;

const COMPONENT = 255;

/** Names as long as they get, read back by other programs in every tar profile. */
export async function measureNames(bench: Bench): Promise<Limit> {
  const limit = new Case("bytes of a name", bench);
  const storeRoot = join(bench.directory, "names");
  const store = new GeneratedStore(storeRoot);
  const path = storePathName(0, "names");
  const top = store.add({ path, narSize: 4096, references: [] });
  const source = longPath(top, PATH_MAX);
  mkdirSync(join(source, ".."), { recursive: true });
  writeFileSync(source, "");
  symlinkSync("t".repeat(PATH_MAX), join(top, "link"));
  store.finish();
  const inStore = source.slice(storeRoot.length + 1);
  for (const size of [100, PATH_MAX]) {
    const generated = longPath("/generated", size);
    limit.begin(size, store, { files: [{ target: generated, directory: true }] });
    for (const profile of PROFILES) {
      const build = `oci-nix build spec.json --to oci:a:1 --compression none --tar-profile ${profile} ${QUIETLY} 2>a.json`;
      await limit.measure(`build, ${profile}`, `rm -rf a; ${build}`);
      for (const reader of ["tar -P -tf", "bsdtar -tf"]) {
        const names = (await limit.output(listing("a", reader)))
          .split("\n")
          .map((name) => name.replace(/^\.?\/|\/$/g, ""));
        for (const name of [inStore, generated.slice(1)]) {
          if (!names.includes(name))
            throw new Error(`${profile}: ${reader} does not list a name of ${name.length} bytes`);
        }
      }
      for (const reader of ["tar -P -tvf", "bsdtar -tvf"]) {
        const targets = `{ ${listing("a", reader)}; } | grep -c -- '/link -> t\\{${PATH_MAX}\\}$'`;
        await limit.expect(`link targets by ${reader}`, targets, 1);
      }
    }
  }
  rmSync(storeRoot, { recursive: true });
  return limit.end();
}

/** A path of this many bytes, its components as long as they may be. */
function longPath(start: string, length: number): string {
  let path = start;
  while (length - path.length > COMPONENT + 2) path += `/${"n".repeat(COMPONENT)}`;
  return `${path}/${"f".repeat(length - path.length - 1)}`;
}

/** Owners up to the largest id that there is, of everything and by permission rules. */
export async function measureOwners(bench: Bench): Promise<Limit> {
  const limit = new Case("user id", bench);
  for (const id of [1000, 2 ** 31, 2 ** 32 - 2]) {
    await withStorePaths(10, async (corpus) => {
      for (const profile of PROFILES) {
        const perms = [{ path: corpus.objects?.[9]?.path, regex: "program$", mode: "0755", uid: id, gid: 5 }];
        const ids = `--uid ${id} --gid ${id} --tar-profile ${profile}`;
        limit.begin(id, corpus, { perms });
        await limit.measure(
          `build, ${profile}`,
          `oci-nix build spec.json ${ids} --to oci:a:1 --compression none ${QUIETLY} 2>a.json`,
        );
        for (const [reader, columns] of [
          ["tar --numeric-owner -tvf", "$2"],
          ["bsdtar --numeric-owner -tvf", '$3 "/" $4'],
        ]) {
          const owners = (name: string) =>
            `{ ${listing("a", reader)}; } | awk '/${name}$/ { print ${columns} }' | sort | uniq -c | sort -n | sed 's/^ *//'`;
          await limit.expect(`owners by ${reader}`, owners("library"), `10 ${id}/${id}`);
          await limit.expect(`owners by rule by ${reader}`, owners("program"), `1 ${id}/5\n9 ${id}/${id}`);
        }
      }
    });
  }
  return limit.end();
}
