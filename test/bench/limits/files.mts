import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withEntries } from "../corpus.mjs";
import { type Bench, Case, type Limit, listing, QUIETLY, type Summary } from "./series.mjs";

const FILES = [10_000, 100_000, 1_000_000];

/** `/nix`, `/nix/store` and the store path. */
const ABOVE = 3;

/** Inodes that every ext4 file system has: ten reserved ones and lost+found. */
const OWN_INODES = 11;

/** All that is done with images, and a disk, of more and more files in one store path. */
export async function measureFiles(bench: Bench): Promise<Limit> {
  const limit = new Case("files", bench);
  for (const size of bench.isShort ? FILES.slice(0, 2) : FILES) {
    await withEntries(size, async (corpus) => {
      limit.begin(size, corpus);
      await limit.measure("stream", `oci-nix stream spec.json ${QUIETLY} 2>stream.json | cat >/dev/null`);
      const build = (to: string) =>
        `oci-nix build spec.json --to ${to} --compression none ${QUIETLY} 2>${to.at(-3)}.json`;
      await limit.measure("build", build("oci:a:1"));
      const [streamed, built] = [limit.json<Summary>("stream.json"), limit.json<Summary>("a.json")];
      limit.equal("what build makes", built.imageId, streamed.imageId);
      await limit.expect("what tar lists", `{ ${listing("a")}; } | wc -l`, size + ABOVE);

      await limit.measure("validate", "oci-nix validate oci:a:1 --json >validate.json");
      await limit.measure("export", "oci-nix export oci:a:1 | cat >/dev/null");
      await limit.expect("what tar lists of export", "oci-nix export oci:a:1 | tar -tf - | wc -l", size + ABOVE);
      const changed = join(corpus.storeRoot, corpus.objects?.[0]?.path ?? "", "directory-0000000", "file-0000001");
      rmSync(changed);
      writeFileSync(changed, "changed");
      await limit.output(build("oci:b:1"));
      await limit.measure("diff", "oci-nix diff oci:a:1 oci:b:1 >diff.txt || test $? = 3");
      await limit.expect("files that differ", "grep -c 'file-[0-9]' diff.txt", 1);
      await limit.output("rm -r a b");

      const closure = { storeRoot: corpus.storeRoot, graph: corpus.graph };
      // Of itself a file system has an inode for every 16 KiB, and these files are smaller.
      limit.write("disk.json", { closure, partitionTableType: "none", nixDatabase: false, minimise: true });
      await limit.measure("disk", "oci-nix disk disk.json --to disk.img --json --progress=none 2>disk-made.json");
      const inodes = "e2fsck -fn disk.img 2>/dev/null | sed -n 's/.*: \\([0-9]*\\)\\/[0-9]* files.*/\\1/p'";
      await limit.expect("inodes that e2fsck counts", inodes, size + ABOVE + OWN_INODES);
    });
  }
  return limit.end();
}
