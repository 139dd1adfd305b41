import type { Digest } from "../core/digest.js";
import { compressionOfMediaType } from "../oci/manifest.js";
import type { ImageSource, StoredImage, StoredLayer } from "../transport/image.js";
import { checkDocuments } from "./check-documents.js";
import { LayerCheck } from "./check-layer.js";
import { type Finding, Findings } from "./findings.js";
import { type LayerReading, readLayer, unpackedLimit } from "./layer.js";

/** What was found out about one image. */
export interface ValidatedImage {
  readonly names: readonly string[];
  /** Null in a docker-archive that is no OCI layout as well. */
  readonly manifest: Digest | null;
  readonly config: Digest;
  readonly layers: number;
  /** Of all layers. */
  readonly entries: number;
  /** Bytes of all layers, unpacked. */
  readonly unpackedSize: number;
  readonly findings: readonly Finding[];
  /** There is no finding of severity `error`. */
  readonly valid: boolean;
}

/**
 * Reads the images of a source whole and checks them. What is wrong is a finding, not an error; errors are what keeps us from reading.
 * Memory grows with the entries of all layers of an image.
 * @throws OciNixError `unsupported` where a layer cannot be unpacked here
 */
export async function validateImages(source: ImageSource, signal?: AbortSignal): Promise<readonly ValidatedImage[]> {
  const validated: ValidatedImage[] = [];
  for (const image of source.images) validated.push(await validateImage(image, signal));
  return validated;
}

async function validateImage(image: StoredImage, signal: AbortSignal | undefined): Promise<ValidatedImage> {
  const found = new Findings();
  checkDocuments(image, found);
  const check = new LayerCheck(found);
  let unpackedSize = 0;
  for (const [i, layer] of image.layers.entries()) {
    const where = `layer ${i + 1}`;
    const visitor = check.begin(where, i === 0, unpackedLimit(layer));
    const reading = await readLayer(layer, visitor, where, signal);
    // That says nothing of the layer: what unpacks it is missing here.
    if (reading.damage?.code === "unsupported") throw reading.damage;
    visitor.finish();
    unpackedSize += reading.unpackedSize;
    checkReading(layer, reading, where, found);
  }
  const findings = found.all();
  return {
    names: image.names,
    manifest: image.manifest?.descriptor.digest ?? null,
    config: image.config.descriptor.digest,
    layers: image.layers.length,
    entries: check.entries,
    unpackedSize,
    findings,
    valid: !findings.some(({ severity }) => severity === "error"),
  };
}

function checkReading(layer: StoredLayer, reading: LayerReading, where: string, findings: Findings): void {
  const { descriptor, diffId } = layer;
  const add = (code: string, message: string) => findings.add("error", code, where, message);
  if (reading.blobError !== undefined) {
    add(reading.blobError.code === "verification" ? "digest" : "blob", reading.blobError.message);
  } else if (descriptor !== undefined && reading.size !== descriptor.size) {
    add("size", `it has ${reading.size} bytes, not ${descriptor.size} as recorded`);
  }
  const { sniffed, damage, end } = reading;
  const declared = descriptor === undefined ? undefined : compressionOfMediaType(descriptor.mediaType);
  if (sniffed !== undefined && declared !== undefined && sniffed !== declared) {
    add(
      "media-type",
      `${descriptor?.mediaType} is not what the bytes are: ${sniffed === "none" ? "not packed" : sniffed}`,
    );
  }
  if (damage !== undefined) {
    add(damage.code === "limit" ? "limit" : "damaged", damage.message);
    return;
  }
  if (reading.diffId !== diffId && reading.blobError === undefined) {
    add("diff-id", `unpacked it is ${reading.diffId}, but the config says ${diffId}`);
  }
  if (end?.trailing) findings.add("note", "trailing-bytes", where, "bytes other than zeros follow the archive's end");
}
