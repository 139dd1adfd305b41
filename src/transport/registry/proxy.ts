import { BlockList, isIP } from "node:net";
import { OciNixError } from "../../core/errors.js";
import { hostnameOf, isLoopback } from "./hosts.js";

/** A proxy that the environment names. */
export interface Proxy {
  /** Without credentials. */
  readonly url: URL;
  /** The `Proxy-Authorization` header. */
  readonly authorization: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY or their lower-case forms, read as docker and podman read them: this machine
 * is never reached over a proxy; in NO_PROXY `example.org` stands for itself and what is below, `.example.org` for what is below, `*` for all,
 * and addresses and networks (10.0.0.0/8) for addresses; each but a network may have a port.
 * @throws OciNixError `invalid-input` for a proxy that is no URL; `unsupported` for one that is not http: or https:
 */
export function proxyFor(url: URL, environment: Environment = process.env): Proxy | undefined {
  const name = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const value = environment[name] || environment[name.toLowerCase()];
  if (!value || isLoopback(url) || isExcepted(url, environment.NO_PROXY || environment.no_proxy || ""))
    return undefined;
  const withScheme = value.includes("://") ? value : `http://${value}`;
  // The value is not shown: it may hold a password.
  if (!URL.canParse(withScheme))
    throw new OciNixError("invalid-input", `${name} is no URL`, { hint: "http://proxy:3128" });
  const proxy = new URL(withScheme);
  if (proxy.protocol !== "http:" && proxy.protocol !== "https:") {
    throw new OciNixError("unsupported", `${name} names a proxy of the kind ${proxy.protocol.slice(0, -1)}`, {
      hint: "http: and https: proxies are supported",
    });
  }
  const { username, password } = proxy;
  const pair = Buffer.from(`${decode(username)}:${decode(password)}`).toString("base64");
  return {
    url: new URL(proxy.origin),
    authorization: username === "" && password === "" ? undefined : `Basic ${pair}`,
  };
}

/** A percent sign that begins no escape stands for itself. */
function decode(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    try {
      return decodeURIComponent(escapes);
    } catch {
      return escapes;
    }
  });
}

function isExcepted(url: URL, list: string): boolean {
  const hostname = hostnameOf(url).toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list
    .split(/[,\s]+/)
    .filter((entry) => entry !== "")
    .some((entry) => entry === "*" || matches(entry.toLowerCase(), hostname, port));
}

function matches(entry: string, hostname: string, port: string): boolean {
  const network = /^\[?([0-9a-f:.]+)\]?\/(\d{1,3})$/.exec(entry);
  if (network !== null) return isInNetwork(hostname, network[1] as string, Number(network[2]));
  const [, bracketed, plain, wantedPort] = /^(?:\[([0-9a-f:.]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
  const name = bracketed ?? plain ?? entry;
  if (wantedPort !== undefined && wantedPort !== port) return false;
  if (isIP(name) !== 0 || isIP(hostname) !== 0) return isSameAddress(name, hostname);
  const below = name.replace(/^\*?\./, "");
  return hostname.endsWith(`.${below}`) || (below === name && hostname === name);
}

function isSameAddress(a: string, b: string): boolean {
  return isIP(a) !== 0 && isInNetwork(b, a, isIP(a) === 6 ? 128 : 32);
}

function isInNetwork(address: string, network: string, prefix: number): boolean {
  const family = isIP(network);
  if (isIP(address) === 0 || family === 0 || prefix > (family === 6 ? 128 : 32)) return false;
  const addresses = new BlockList();
  addresses.addSubnet(network, prefix, family === 6 ? "ipv6" : "ipv4");
  return addresses.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
