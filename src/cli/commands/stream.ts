import { fdSink, streamPlannedImage } from "../../index.js";
import type { Invocation } from "../command.js";
import { openCaches, planOf, printSummary, withProgress } from "../delivery.js";
import { checkStandardOutput } from "../standard-output.js";

const STDOUT = 1;

/** Streams an image to standard output. @param planImage by default what INPUT and the flags amount to */
export default async function stream(invocation: Invocation, planImage = planOf): Promise<void> {
  const { signal, flags } = invocation;
  checkStandardOutput("oci-nix stream … | docker load, or > image.tar");
  const plan = await planImage(invocation);
  const sink = fdSink(STDOUT, "standard output", signal);
  const caches = openCaches(flags);
  try {
    const { result, seconds } = await withProgress(invocation, (observer) =>
      streamPlannedImage(plan, sink, { signal, observer, cache: caches.cache }),
    );
    printSummary(result, seconds, flags);
  } finally {
    caches.close();
    sink.close();
  }
}
