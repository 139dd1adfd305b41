import {
  type ImageSource,
  OciNixError,
  openSource,
  parseTransport,
  type SourceOptions,
  type TransportName,
} from "../index.js";
import { type Invocation, text } from "./command.js";
import { registryOptions } from "./delivery.js";

/**
 * Runs something with the images of a place, and closes it afterwards.
 * @param anyPlatform whether images of all platforms are wanted, where the flags name none
 * @param more how the place is read besides
 */
export async function withSource<T>(
  place: string,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
  anyPlatform: "every" | undefined,
  use: (source: ImageSource) => Promise<T>,
  more: Pick<SourceOptions, "takesDamaged"> = {},
): Promise<T> {
  const source = await openSource(placeNamed(place), {
    signal,
    platform: text(flags, "platform") ?? anyPlatform,
    ...registryOptions(flags),
    ...more,
  });
  try {
    return await use(source);
  } finally {
    source.close();
  }
}

/** A place as a command takes it: `-` is an archive on standard input. @throws OciNixError as {@link parseTransport} */
export function placeNamed(place: string): TransportName {
  return place === "-" ? { transport: "docker-archive", file: place, ref: undefined } : parseTransport(place);
}

/** The places that a command takes. @throws OciNixError `usage` where there are more or fewer */
export function placesOf(inputs: readonly string[], count: number): readonly string[] {
  if (inputs.filter((place) => place === "-").length > 1) {
    throw new OciNixError("usage", "standard input is named twice", { hint: "- stands for one archive" });
  }
  if (inputs.length === count) return inputs;
  throw new OciNixError(
    "usage",
    `${count === 1 ? "one image" : `${count} images`} must be named, not ${inputs.length}`,
    {
      hint: "oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE, or - for an archive on standard input",
    },
  );
}
