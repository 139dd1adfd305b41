import { BlockList, isIP } from "node:net";
import { OciNixError } from "../../core/errors.js";

const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/i;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Docker Hub's names. Its images carry the first, its registry answers under the third. */
const DOCKER_HUB: readonly string[] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** What credentials for Docker Hub are kept under since its first version. */
export const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";

export function isDockerHub(host: string): boolean {
  return DOCKER_HUB.includes(host);
}

/** All names of the registry that credentials and certificates may be kept under. */
export function namesOf(host: string): readonly string[] {
  return isDockerHub(host) ? DOCKER_HUB : [host];
}

/** Where the registry answers: `host[:port]`. @throws OciNixError `invalid-input` for what is no host */
export function endpointOf(host: string): string {
  const port = HOST.exec(host)?.[1];
  if (!HOST.test(host) || (port !== undefined && Number(port) > 65_535)) {
    throw new OciNixError("invalid-input", `${JSON.stringify(host)} is no registry`, {
      hint: "a host and, where needed, its port: registry.example:5000",
    });
  }
  return isDockerHub(host) ? "registry-1.docker.io" : host;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function hostnameOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Whether a URL names this machine itself. Names but `localhost` are not looked up. */
export function isLoopback(url: URL): boolean {
  const hostname = hostnameOf(url);
  const family = isIP(hostname);
  if (family === 0) return hostname === "localhost";
  return LOOPBACK.check(hostname, family === 6 ? "ipv6" : "ipv4");
}

/** A URL for messages: without the query, where upload states and signatures stand, and without credentials. */
export function speakableUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
