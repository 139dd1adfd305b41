import tar from "tar-stream";
import { openLayers } from "../../src/build/layers.js";
import { planImage } from "../../src/build/plan/plan-image.js";
import { checkSpec } from "../../src/build/spec/spec.js";
import { BlockWriter } from "../../src/core/block-writer.js";
import { toJson } from "../../src/core/json.js";

/** One entry of a layer: `d 0755 0:0 etc/`, `- 0444 0:0 etc/a = text`, `l etc/b -> a`. */
export type EntryLine = string;

/** The layers of the image that a spec gives, each as its entries, read back by another tar implementation. */
export async function layersOf(spec: unknown): Promise<readonly (readonly EntryLine[])[]> {
  const plan = await planImage(checkSpec(toJson(spec), "the spec"));
  const layers = openLayers(plan, { threads: 0 });
  const read: EntryLine[][] = [];
  for (const index of plan.layers.keys()) {
    const pieces: Buffer[] = [];
    const sink = { write: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)) };
    const out = new BlockWriter(sink);
    await (await layers.open(index)).writeTo(out);
    await out.flush();
    read.push(await linesOf(Buffer.concat(pieces)));
  }
  return read;
}

async function linesOf(archive: Buffer): Promise<EntryLine[]> {
  const lines: EntryLine[] = [];
  const extract = tar.extract();
  extract.end(archive);
  for await (const entry of extract) {
    const { name, type, mode = 0, uid, gid, uname, gname, linkname } = entry.header;
    const contents: Buffer[] = [];
    for await (const piece of entry) contents.push(piece as Buffer);
    const owner = uname === "root" && gname === "root" ? `${uid}:${gid}` : `${uid}(${uname}):${gid}(${gname})`;
    const rights = `${mode.toString(8).padStart(4, "0")} ${owner}`;
    if (type === "directory") lines.push(`d ${rights} ${name}${name.endsWith("/") ? "" : "/"}`);
    else if (type === "symlink") lines.push(`l ${owner === "0:0" ? "" : `${owner} `}${name} -> ${linkname}`);
    else lines.push(`- ${rights} ${name} = ${Buffer.concat(contents).toString("latin1")}`);
  }
  return lines;
}
