import { type Finding, OciNixError, type ValidatedImage, validateImages } from "../../index.js";
import type { Invocation } from "../command.js";
import { placesOf, withSource } from "../sources.js";
import { formatBytes, printOutput, visible } from "../ui.js";

/** What keeps an image from being opened, but speaks of the image and not of the machine. */
const OF_THE_IMAGE: readonly string[] = ["verification", "invalid-input", "unsupported", "limit"];

/** Reads the images of a place and prints what is wrong with them. @throws OciNixError `verification` where something is */
export default async function validate({ inputs, flags, signal }: Invocation): Promise<void> {
  const [place] = placesOf(inputs, 1) as [string];
  let images: readonly ValidatedImage[] = [];
  let findings: readonly Finding[] = [];
  let isOpen = false;
  try {
    images = await withSource(place, { flags, signal }, "every", (source) => {
      isOpen = true;
      return validateImages(source, signal);
    });
  } catch (error) {
    if (!(error instanceof OciNixError) || !OF_THE_IMAGE.includes(error.code)) throw error;
    // Once it is open, that is what is missing here.
    if (isOpen && error.code === "unsupported") throw error;
    findings = [{ severity: "error", code: "unreadable", where: "source", message: error.message }];
  }
  const all = [...findings, ...images.flatMap((image) => image.findings)];
  const count = (severity: string) => all.filter((finding) => finding.severity === severity).length;
  const [errors, warnings, notes] = [count("error"), count("warning"), count("note")];
  if (flags.json === true) {
    const report = { valid: errors === 0, errors, warnings, notes, findings, images };
    await printOutput(`${JSON.stringify(report, undefined, 2)}\n`, signal);
  } else {
    await printOutput(findings.map(describeFinding).join("") + images.map(describe).join(""), signal);
  }
  if (errors === 0) return;
  throw new OciNixError("verification", `${place} is not valid: ${errors} ${errors === 1 ? "error" : "errors"}`);
}

function describe(image: ValidatedImage, index: number): string {
  const { names, layers, entries, unpackedSize, findings, valid } = image;
  const title = names.length === 0 ? `image ${index + 1}` : names.join(", ");
  const isMismatch = ({ code }: Finding) => MISMATCHES.includes(code);
  const digests = findings.some(isMismatch) ? "not all digests agree" : "all digests agree";
  const counts = `${layers} ${layers === 1 ? "layer" : "layers"}, ${entries} entries, ${formatBytes(unpackedSize)} unpacked`;
  const summary = `${title}: ${valid ? "valid" : "not valid"}: ${counts}, ${digests}`;
  return `${findings.map(describeFinding).join("")}${visible(summary)}\n`;
}

/** Findings after which it cannot be said that all digests agree. */
const MISMATCHES: readonly string[] = ["digest", "diff-id", "blob", "size", "damaged", "limit"];

function describeFinding({ severity, where, message, clients, code }: Finding): string {
  const who = clients === undefined ? "" : ` (${clients.join(", ")})`;
  return `${visible(`${severity.padEnd(7)}  ${where}: ${message} [${code}]${who}`)}\n`;
}
