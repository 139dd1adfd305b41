import { describe, expect, it } from "vitest";
import { Users } from "../../../src/disk/users.js";

const users = new Users(
  "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\nalice:x:2000:100::/:/bin/sh\n7:x:1007:7::/:/bin/sh\nbroken\n",
  "root:x:0:\nusers:x:100:alice\n",
);

describe("the users of a root file system", () => {
  it("are known by name, of two of one name the first", () => {
    expect(users.uid("alice", "here")).toBe(1000);
    expect(users.gid("users", "here")).toBe(100);
  });

  it("may be given by number, unless that is somebody's name", () => {
    expect(users.uid("4242", "here")).toBe(4242);
    expect(users.uid("7", "here")).toBe(1007);
  });

  it("have root also where there is no file", () => {
    const none = new Users(undefined, undefined);
    expect([none.uid("root", "here"), none.gid("root", "here")]).toEqual([0, 0]);
  });

  it.each(["bob", "broken", "users"])("has nobody called %s", (name) => {
    expect(() => users.uid(name, "contents[1]")).toThrow(
      `contents[1]: user "${name}" is not in the image's /etc/passwd`,
    );
  });

  it.each(["4294967295", "99999999999"])("have no number such as %s", (number) => {
    expect(() => users.uid(number, "contents[1]")).toThrow(
      `contents[1]: ${number} is larger than any number of a user or group`,
    );
  });
});
