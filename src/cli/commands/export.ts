import { checkNotOverwritten, exportImage, onlyImage, openOutputSink } from "../../index.js";
import { type Invocation, text } from "../command.js";
import { withProgress } from "../delivery.js";
import { placeNamed, placesOf, withSource } from "../sources.js";
import { checkStandardOutput } from "../standard-output.js";
import { formatBytes, printError, visible } from "../ui.js";

/** Writes the root file system of an image as one tar. */
export default async function exportRoot({ inputs, flags, signal }: Invocation): Promise<void> {
  const [place] = placesOf(inputs, 1) as [string];
  const file = text(flags, "output") ?? "-";
  checkNotOverwritten([placeNamed(place)], [{ file }]);
  if (file === "-") checkStandardOutput("oci-nix export SOURCE | docker import - NAME, or -o FILE");
  await withSource(place, { flags, signal }, undefined, async (source) => {
    const image = onlyImage(source, place);
    const output = await openOutputSink(file, signal);
    try {
      const { result, seconds } = await withProgress({ flags }, async (observer) => {
        const summary = await exportImage(image, output, {
          title: place === "-" ? "standard input" : place,
          signal,
          observer,
        });
        await output.commit();
        return summary;
      });
      if (flags.json === true) {
        printError(JSON.stringify({ ...result, seconds: Number(seconds.toFixed(3)) }));
      } else if (flags.quiet !== true) {
        const title = visible(image.names.join(", ")) || "image";
        printError(`${title}: ${result.entries} entries, ${formatBytes(result.bytes)} in ${seconds.toFixed(1)} s`);
      }
    } finally {
      output.close();
    }
  });
}
