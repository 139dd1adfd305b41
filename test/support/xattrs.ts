import type { Xattrs } from "../../src/tar/entry-list.js";
import { runOk } from "./command.js";

const SCRIPT = `
import os, sys, json
root = os.fsencode(sys.argv[1])
text = lambda value: value.decode("latin-1")
found = {}
def visit(path):
    names = os.listxattr(path, follow_symlinks=False)
    if names:
        found[text(path[len(root) + 1:])] = {text(os.fsencode(n)): text(os.getxattr(path, n, follow_symlinks=False)) for n in names}
visit(root)
for directory, names, files in os.walk(root):
    for name in names + files:
        visit(os.path.join(directory, name))
json.dump(found, sys.stdout)
`;

/** What the kernel says of all extended attributes in a directory, by relative path, the directory's own under an empty one. */
export async function xattrsIn(root: string): Promise<ReadonlyMap<string, Xattrs>> {
  const said = JSON.parse(await runOk("python3", ["-c", SCRIPT, root])) as Record<string, Record<string, string>>;
  return new Map(Object.entries(said).map(([path, xattrs]) => [path, new Map(Object.entries(xattrs))]));
}

/** An ACL as the kernel gives it. @param users by number @param mask by default all that users and the group may do */
export function acl(
  owner: number,
  users: Readonly<Record<number, number>>,
  group: number,
  other: number,
  mask = Object.values(users).reduce((bits, permissions) => bits | permissions, group),
): string {
  const named = Object.entries(users);
  const entries = [
    [1, owner],
    ...named.map(([id, permissions]) => [2, permissions, Number(id)]),
    [4, group],
    ...(named.length > 0 ? [[16, mask]] : []),
    [32, other],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  for (const [i, [tag = 0, permissions = 0, id = 0xffff_ffff]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id, 8 + 8 * i);
  }
  return bytes.toString("latin1");
}

/** What `setcap cap_net_bind_service=ep` sets. */
export const CAPABILITY = Buffer.from("0100000200040000000000000000000000000000", "hex").toString("latin1");
