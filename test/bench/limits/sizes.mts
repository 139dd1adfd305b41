import { withSparseFile } from "../corpus.mjs";
import { type Bench, Case, type Limit, QUIETLY, type Summary } from "./series.mjs";

const GIB = 2 ** 30;
const READ = [1, 5, 20];
const LARGE = 100;

const PROFILES = ["oci", "dockertools", "nix2container"];

/** The third column of tar's listing is the size; bsdtar's fifth. */
const READERS: Readonly<Record<string, string>> = {
  tar: "tar --numeric-owner -tvf - 2>/dev/null | awk '/sparse-file/ { print $3 }'",
  bsdtar: "bsdtar -tvf - 2>/dev/null | awk '/sparse-file/ { print $5 }'",
};

/** Streaming a hole. */
export async function measureSparse(bench: Bench): Promise<Limit> {
  const limit = new Case("GiB in one sparse file", bench);
  for (const size of bench.isShort ? READ.slice(0, 1) : READ) {
    await withSparseFile(size * GIB, async (corpus) => {
      limit.begin(size, corpus);
      await limit.measure("plan", "oci-nix plan spec.json --json >plan.json");
      await limit.measure("stream", `oci-nix stream spec.json ${QUIETLY} 2>first.json | cat >/dev/null`);
      const stream = `oci-nix stream spec.json ${QUIETLY} 2>second.json`;
      const size_ = await limit.output(`${stream} | tar -xOf - layer-001.tar | ${READERS.tar}`);
      limit.equal("the file's size as tar reads it", size_, String(size * GIB));
      const [first, second] = [limit.json<Summary>("first.json"), limit.json<Summary>("second.json")];
      limit.equal("what another run makes", second.imageId, first.imageId);
    });
  }
  return limit.end();
}

/** A layer of 100 GiB, of which headers alone are read. */
export async function measureHeaders(bench: Bench): Promise<Limit> {
  const limit = new Case("GiB of a layer in headers", bench);
  for (const size of [1, LARGE]) {
    await withSparseFile(size * GIB, async (corpus) => {
      limit.begin(size, corpus);
      await limit.measure("plan", "oci-nix plan spec.json --json >plan.json");
      await limit.measure("build --dry-run", "oci-nix build spec.json --to oci:no:1 --dry-run --json >dry.json");
      for (const profile of PROFILES) {
        const stream = `oci-nix stream spec.json --tar-profile ${profile} --no-cache --quiet --progress=none 2>error.txt`;
        await limit.measure(`stream's headers, ${profile}`, `{ ${stream} || test $? = 1; } | head -c 65536 >head`);
        await limit.expect("what stream says", "grep -c 'the reader went away' error.txt", 1);
        const layer = await limit.output(
          "python3 -c 'import tarfile; m = tarfile.open(\"head\").next(); print(m.size, m.offset_data)'",
        );
        const [layerSize, at] = layer.split(" ").map(Number);
        await limit.expect(
          "the layer's size by tar",
          "set +o pipefail; tar -tvf head 2>/dev/null | awk 'NR == 1 { print $3 }'",
          layerSize ?? 0,
        );
        for (const [reader, script] of Object.entries(READERS)) {
          // Both complain of what is missing of the file.
          const read = `tail -c +${(at ?? 0) + 1} head | (set +o pipefail; ${script})`;
          await limit.expect(`the file's size by ${reader}`, read, size * GIB);
        }
        const rest = (layerSize ?? 0) - size * GIB;
        if (!(rest >= 3 * 512 && rest <= 20 * 512)) throw new Error(`${profile}: a layer of ${layerSize} bytes`);
      }
    });
  }
  return limit.end();
}
