import { withStorePaths } from "../corpus.mjs";
import { type Bench, Case, type Limit, QUIETLY } from "./series.mjs";

const LAYERS = [25, 125];

/** As many layers as Docker takes, and one more. */
export async function measureLayers(bench: Bench): Promise<Limit> {
  const limit = new Case("layers", bench);
  await withStorePaths(500, async (corpus) => {
    for (const size of LAYERS) {
      limit.begin(size, corpus);
      const flags = `--max-layers ${size} ${QUIETLY}`;
      await limit.measure("stream", `oci-nix stream spec.json ${flags} 2>stream.json | cat >image.tar`);
      await limit.measure("validate", "oci-nix validate docker-archive:image.tar --json >validate.json");
      await limit.expect("layers by skopeo", "skopeo inspect docker-archive:image.tar | grep -c '^ *\"sha256:'", size);
      await limit.output("skopeo copy --insecure-policy --quiet docker-archive:image.tar dir:copied");
    }
    const refused =
      "oci-nix stream spec.json --max-layers 126 2>error.txt >refused.tar && echo made || wc -c <refused.tar";
    await limit.expect("what comes of 126 layers", refused, 0);
    await limit.expect("what is said of them", "grep -c '126 layers cannot be run' error.txt", 1);
  });
  return limit.end();
}
