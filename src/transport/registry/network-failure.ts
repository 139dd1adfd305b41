import { errnoOf } from "../../core/errors.js";

/** Why there was no answer. */
export interface Failure {
  /** `connection refused (ECONNREFUSED)`. */
  readonly words: string;
  readonly kind:
    | "not-sent" // There was no connection: another attempt repeats nothing.
    | "broken" // Nobody knows how far it came.
    | "certificate" // The host, or what stands between, is not trusted, or does not trust us.
    | "permanent"; // Another attempt fails as well.
}

const NOT_SENT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  EAI_AGAIN: "its name cannot be looked up at present",
  UND_ERR_CONNECT_TIMEOUT: "no connection within the time limit",
};

const BROKEN: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection broke off",
  ECONNABORTED: "the connection broke off",
  EPIPE: "the connection broke off",
  ETIMEDOUT: "the connection timed out",
  UND_ERR_SOCKET: "the other side closed the connection",
  UND_ERR_HEADERS_TIMEOUT: "no answer within the time limit",
  UND_ERR_BODY_TIMEOUT: "the answer stalled",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "the answer ended too early",
};

const CERTIFICATES: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself alone",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is signed by an authority that is not known here",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is signed by an authority that is not known here",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate is signed by an authority that is not known here",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is signed by an authority that is not known here",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  CERT_REVOKED: "its certificate was revoked",
  CERT_SIGNATURE_FAILURE: "its certificate's signature is wrong",
  CERT_UNTRUSTED: "its certificate is not trusted",
  HOSTNAME_MISMATCH: "its certificate is for another host",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
};

const PERMANENT: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no host of this name",
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: "what was sent is not as long as was said",
  UND_ERR_INVALID_ARG: "what is to be sent is no HTTP",
  UND_ERR_HEADERS_OVERFLOW: "the answer's headers are too long",
  EPROTO: "it does not speak TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS",
};

/** Words for what a connection failed with, and what it means for another attempt. */
export function explainFailure(error: unknown): Failure {
  const code = errnoOf(error) ?? "";
  const message = error instanceof Error ? error.message : String(error);
  const proxyStatus = /^Proxy .*?\((\d{3})\)/.exec(message)?.[1];
  if (proxyStatus !== undefined) {
    const words = proxyStatus === "407" ? "the proxy wants other credentials" : "the proxy refuses the connection";
    return { kind: proxyStatus.startsWith("5") ? "not-sent" : "permanent", words: `${words} (status ${proxyStatus})` };
  }
  const found = (kind: Failure["kind"], words: string | undefined): Failure | undefined =>
    words === undefined ? undefined : { kind, words: `${words} (${code})` };
  const known =
    found("not-sent", NOT_SENT[code]) ??
    found("broken", BROKEN[code]) ??
    found("certificate", CERTIFICATES[code]) ??
    found("permanent", PERMANENT[code]);
  if (known !== undefined) return known;
  if (code === "UND_ERR_PRX_TLS")
    return { kind: "certificate", words: `the proxy's certificate does not hold (${code})` };
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA/.test(code)) {
    return { kind: "certificate", words: `it refuses our side of TLS, and may want a client's certificate (${code})` };
  }
  if (code.startsWith("HPE_")) return { kind: "broken", words: `its answer is no HTTP (${code})` };
  if (code.startsWith("ERR_SSL_")) return { kind: "permanent", words: `TLS failed (${code})` };
  if (code.startsWith("ERR_TLS_") || code.includes("CERT"))
    return { kind: "certificate", words: `${message} (${code})` };
  return { kind: "broken", words: code === "" ? message : `${message} (${code})` };
}
