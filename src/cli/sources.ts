import { type ImageSource, OciNixError, openSource, parsePlatform, type StoredImage } from "../index.js";
import { type FlagValues, type Invocation, text } from "./command.js";

/** Runs something with the images of a place, and closes it afterwards. */
export async function withSource<T>(
  place: string,
  { flags, signal }: Pick<Invocation, "flags" | "signal">,
  use: (source: ImageSource) => Promise<T>,
): Promise<T> {
  const source = await openSource(place, { signal, platform: platformOf(flags) });
  try {
    return await use(source);
  } finally {
    source.close();
  }
}

function platformOf(flags: FlagValues) {
  const platform = text(flags, "platform");
  return platform === undefined ? undefined : parsePlatform(platform, "--platform");
}

/** The places that a command takes. @throws OciNixError `usage` where there are more or fewer */
export function placesOf(inputs: readonly string[], count: number): readonly string[] {
  if (inputs.length === count) return inputs;
  throw new OciNixError(
    "usage",
    `${count === 1 ? "one image" : `${count} images`} must be named, not ${inputs.length}`,
    {
      hint: "oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE, or - for an archive on standard input",
    },
  );
}

/** The one image of a place. @throws OciNixError `usage` where it has several */
export function onlyImage(source: ImageSource, place: string): StoredImage {
  const [image, ...others] = source.images;
  if (image !== undefined && others.length === 0) return image;
  const names = source.images.flatMap((each) => each.names).join(", ");
  throw new OciNixError("usage", `${place} holds ${source.images.length} images`, {
    hint: `name one of them after a colon${names === "" ? "" : `: ${names}`}`,
  });
}

/** Control characters, which anybody may put into an image, shown rather than sent to the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
