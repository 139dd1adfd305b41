// SQLite's file format: https://www.sqlite.org/fileformat.html. Numbers are big-endian.

const FILE_HEADER = 100;
const WRITE_VERSION = 18;
const READ_VERSION = 19;
const CHANGE_COUNTER = 24;
const VERSION_VALID_FOR = 92;
const SQLITE_VERSION = 96;

const ROLLBACK_JOURNAL = 1;
const WRITE_AHEAD_LOG = 2;

/** What the first byte of a b-tree page says, and the size of its header: inner pages have 4 bytes more than leaves. */
const PAGE_HEADERS: ReadonlyMap<number, number> = new Map([
  [2, 12],
  [5, 12],
  [10, 8],
  [13, 8],
]);

/**
 * Makes the bytes of a database file depend on nothing but its contents and the order in which they were written, with whatever version
 * and build of SQLite; `secure_delete` must have been on. Changes `file` in place.
 *
 * @param file a whole database file, in which nothing was deleted
 * @param journal how SQLite is to keep changes safe from now on
 */
export function canonicaliseSqliteFile(file: Uint8Array, journal: "rollback" | "write-ahead-log"): void {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  bytes[WRITE_VERSION] = journal === "rollback" ? ROLLBACK_JOURNAL : WRITE_AHEAD_LOG;
  bytes[READ_VERSION] = bytes[WRITE_VERSION];
  // How often the file was changed, and the version of SQLite that last did it. The counter has to be the same in both places, or the
  // number of pages in the header would not count.
  for (const stamp of [CHANGE_COUNTER, VERSION_VALID_FOR, SQLITE_VERSION]) bytes.writeUInt32BE(0, stamp);
  // 65,536 does not fit its two bytes.
  const pageSize = bytes.readUInt16BE(16) === 1 ? 65_536 : bytes.readUInt16BE(16);
  for (let page = 0; page < bytes.length; page += pageSize) clearUnallocated(bytes, page, pageSize);
}

/** Between a page's list of cells and the cells is what earlier states of the page left there, which differs between versions. */
function clearUnallocated(bytes: Buffer, page: number, pageSize: number): void {
  const header = page === 0 ? FILE_HEADER : page;
  const headerSize = PAGE_HEADERS.get(bytes[header] as number);
  // An overflow page, which starts with the upper byte of a page's number.
  if (headerSize === undefined) return;
  const cells = bytes.readUInt16BE(header + 3);
  const content = bytes.readUInt16BE(header + 5) || pageSize;
  bytes.fill(0, header + headerSize + 2 * cells, page + content);
}
