const BLOCK = 512;

/** What a member's header says, true or not. */
export interface HostileMember {
  readonly name: string | Buffer;
  /** The type flag; `0`, a file, by default. */
  readonly type?: string;
  readonly content?: Buffer;
  /** The size field's bytes, up to 12, where it is not that of the content. */
  readonly size?: Buffer | string;
  readonly linkName?: string | Buffer;
  readonly mode?: number;
}

/** A member with its padding. What its header says need not be so; its checksum is right. */
export function member({
  name,
  type = "0",
  content = Buffer.alloc(0),
  size,
  linkName = "",
  mode = 0o644,
}: HostileMember): Buffer {
  const header = Buffer.alloc(BLOCK);
  Buffer.from(name).copy(header, 0, 0, 100);
  header.write(`${mode.toString(8).padStart(7, "0")}\0`, 100, "latin1");
  header.write("0000000\0".repeat(2), 108, "latin1");
  Buffer.from(size ?? `${content.length.toString(8).padStart(11, "0")}\0`).copy(header, 124, 0, 12);
  header.write("00000000001\0", 136, "latin1");
  header.write(type, 156, "latin1");
  Buffer.from(linkName).copy(header, 157, 0, 100);
  header.write("ustar\x0000", 257, "latin1");
  sign(header);
  return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** Puts the right checksum into a header. */
export function sign(header: Buffer): Buffer {
  header.write("        ", 148, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

/** Pax records, their lengths right. */
export function paxPayload(records: Readonly<Record<string, string | Buffer>>): Buffer {
  return Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, Buffer.from(value))));
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let length = rest.length + String(rest.length).length;
  if (rest.length + String(length).length !== length) length++;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** What ends an archive. */
export const END = Buffer.alloc(2 * BLOCK);
