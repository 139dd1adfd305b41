import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext, type SecureContextOptions } from "node:tls";
import { describeErrno, OciNixError } from "../../core/errors.js";
import { readRegularFile } from "../../core/json-file.js";

/** Where distributions keep the certificates of the authorities they trust; the first that is there counts. */
const SYSTEM_BUNDLES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
];

/** One pair of a client's certificate and key. */
interface ClientCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * The certificates for connections to a host: the authorities of the system (SSL_CERT_FILE or NIX_SSL_CERT_FILE in their place, and
 * NODE_EXTRA_CA_CERTS besides), and what podman and docker take from the first certs.d directory that there is for it: `*.crt` authorities,
 * `*.cert` with `*.key` the client's own.
 * @param names the host as `host[:port]`, in all its forms
 * @throws OciNixError `not-found`, `unreadable` or `invalid-input` for a file that is no certificate or lacks its other half
 */
export function secureContextFor(names: readonly string[]): SecureContext {
  const directory = certificateDirectories(names).find((path) => existsSync(path));
  if (directory === undefined) return contextWithoutOwn();
  const files = list(directory);
  const own = files.filter((file) => file.endsWith(".crt")).map((file) => readCertificate(join(directory, file)));
  const clients = clientCertificates(directory, files);
  return makeContext(directory, {
    ca: [...systemAuthorities(), ...own],
    cert: clients.map(({ cert }) => cert),
    key: clients.map(({ key }) => key),
  });
}

let withoutOwn: { readonly key: string; readonly context: SecureContext } | undefined;

/** Made once: to read all authorities takes tens of milliseconds. */
function contextWithoutOwn(): SecureContext {
  const { SSL_CERT_FILE, NIX_SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = process.env;
  const key = JSON.stringify([SSL_CERT_FILE, NIX_SSL_CERT_FILE, NODE_EXTRA_CA_CERTS]);
  if (withoutOwn?.key !== key) {
    withoutOwn = { key, context: makeContext("the authorities of the system", { ca: [...systemAuthorities()] }) };
  }
  return withoutOwn.context;
}

function makeContext(where: string, options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new OciNixError("invalid-input", `${where}: a certificate or key cannot be used: ${what}`, { cause: error });
  }
}

/** Whether certificates were put down for the host: then it speaks TLS. */
export function hasCertificates(names: readonly string[]): boolean {
  return certificateDirectories(names).some((path) => existsSync(path));
}

function certificateDirectories(names: readonly string[]): readonly string[] {
  const home = process.env.HOME || homedir();
  const roots = [join(home, ".config/containers/certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d"];
  return roots.flatMap((root) => names.map((name) => join(root, name)));
}

function clientCertificates(directory: string, files: readonly string[]): readonly ClientCertificate[] {
  const stems = (suffix: string) =>
    files.filter((file) => file.endsWith(suffix)).map((file) => file.slice(0, -suffix.length));
  const [certs, keys] = [stems(".cert"), stems(".key")];
  for (const [stem, has, lacks] of [
    ...certs.filter((name) => !keys.includes(name)).map((name) => [name, ".cert", ".key"] as const),
    ...keys.filter((name) => !certs.includes(name)).map((name) => [name, ".key", ".cert"] as const),
  ]) {
    throw new OciNixError("invalid-input", `${join(directory, stem + has)} has no ${stem}${lacks} beside it`, {
      hint: "a client's certificate is NAME.cert with NAME.key; an authority's is NAME.crt",
    });
  }
  return certs.map((stem) => ({
    cert: readRegularFile(join(directory, `${stem}.cert`)),
    key: readRegularFile(join(directory, `${stem}.key`)),
  }));
}

let systemBundle: readonly (string | Buffer)[] | undefined;

function systemAuthorities(): readonly (string | Buffer)[] {
  const { SSL_CERT_FILE, NIX_SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = process.env;
  const named = SSL_CERT_FILE || NIX_SSL_CERT_FILE;
  const extra = NODE_EXTRA_CA_CERTS ? [readRegularFile(NODE_EXTRA_CA_CERTS)] : [];
  if (named) return [readRegularFile(named), ...extra];
  if (systemBundle === undefined) {
    const found = SYSTEM_BUNDLES.find((file) => existsSync(file));
    systemBundle = found === undefined ? rootCertificates : [readRegularFile(found)];
  }
  return [...systemBundle, ...extra];
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    throw new OciNixError("unreadable", `cannot read ${directory}: ${describeErrno(error)}`, { cause: error });
  }
}

/** Node passes over authorities that are none. */
function readCertificate(file: string): Buffer {
  const bytes = readRegularFile(file);
  try {
    new X509Certificate(bytes);
    return bytes;
  } catch (error) {
    throw new OciNixError("invalid-input", `${file} is no certificate in PEM`, { cause: error });
  }
}
