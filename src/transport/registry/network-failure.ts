import { errnoOf, OciNixError } from "../../core/errors.js";

/** Why there was no answer. */
export interface Failure {
  /** `connection refused (ECONNREFUSED)`. */
  readonly words: string;
  readonly kind:
    | "not-sent" // There was no connection: another attempt repeats nothing.
    | "broken" // Nobody knows how far it came.
    | "certificate" // The host, or what stands between, is not trusted, or does not trust us.
    | "permanent"; // Another attempt fails as well.
  /** Of an error that another attempt fails with as well: what it is to us. */
  readonly code: "unavailable" | "denied" | "invalid-input";
  /** Whether there was no answer, however long it was waited for. */
  readonly isSilence: boolean;
}

/** A host that gave no answer. */
export class Unreachable extends OciNixError {
  readonly failure: Failure;

  constructor(failure: Failure, message: string, options: { readonly hint?: string; readonly cause?: unknown }) {
    super(failure.code, message, options);
    this.failure = failure;
  }

  /** The same, with whose host it is in front of its message. */
  of(whose: string): Unreachable {
    const { failure, message, hint, cause } = this;
    return new Unreachable(failure, `${whose}: ${message}`, { cause, ...(hint === undefined ? {} : { hint }) });
  }
}

/** A body that the other side does not take. */
export class StalledBody extends Error {
  readonly code = "OCI_NIX_STALLED";
}

/** A document that does not come to its end. */
export class LateBody extends Error {
  readonly code = "OCI_NIX_LATE";
}

const SILENCES: ReadonlySet<string> = new Set(["UND_ERR_HEADERS_TIMEOUT", "OCI_NIX_STALLED"]);

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
  OCI_NIX_LATE: "it came too slowly",
  OCI_NIX_STALLED: "it takes no more of what is sent",
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
  const { kind, words, isRefusal } = kindOf(error);
  const mayPass = kind === "not-sent" || kind === "broken";
  const refused = kind === "certificate" || isRefusal === true ? "denied" : "invalid-input";
  return { kind, words, code: mayPass ? "unavailable" : refused, isSilence: SILENCES.has(errnoOf(error) ?? "") };
}

type Kind = Pick<Failure, "kind" | "words"> & { readonly isRefusal?: boolean };

function kindOf(error: unknown): Kind {
  const code = errnoOf(error) ?? "";
  const message = error instanceof Error ? error.message : String(error);
  const proxyStatus = /^Proxy .*?\((\d{3})\)/.exec(message)?.[1];
  if (proxyStatus !== undefined) {
    const words = proxyStatus === "407" ? "the proxy wants other credentials" : "the proxy refuses the connection";
    const kind = proxyStatus.startsWith("5") ? "not-sent" : "permanent";
    return { kind, words: `${words} (status ${proxyStatus})`, isRefusal: true };
  }
  const found = (kind: Kind["kind"], words: string | undefined): Kind | undefined =>
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
