import { type MeasuredImage, OciNixError, parseByteSize } from "../../index.js";
import { type Planned, total } from "./planned.js";
import { counted, size } from "./text.js";

/** What a plan may come to at most. */
export interface Budget {
  /** As it was given. */
  readonly text: string;
  readonly of: "layers" | "bytes";
  readonly limit: number;
}

export interface BudgetResult {
  readonly budget: string;
  readonly limit: number;
  readonly found: number;
  readonly kept: boolean;
}

/** `40layers`, `40 layers`, or a size in bytes. @throws OciNixError `usage` */
export function parseBudget(text: string): Budget {
  const [, count] = /^(\d{1,9}) ?layers?$/.exec(text) ?? [];
  if (count !== undefined) return { text, of: "layers", limit: Number(count) };
  try {
    return { text, of: "bytes", limit: parseByteSize(text, "--budget") };
  } catch {
    throw new OciNixError("usage", `--budget ${JSON.stringify(text)} is neither a number of layers nor a size`, {
      hint: "--budget 40layers, --budget 500MB",
    });
  }
}

/**
 * Holds a plan against budgets. Bytes are those that the update uploads, or, without a previous image, all; as packed where they were
 * measured, else NAR bytes.
 * @throws OciNixError `invalid-input` where sizes are needed that nobody knows
 */
export function checkBudgets(
  budgets: readonly Budget[],
  { layers, update }: Planned,
  exact: MeasuredImage | undefined,
): readonly BudgetResult[] {
  return budgets.map(({ text, of, limit }) => {
    const bytes = () =>
      exact?.uploadBytes ??
      (update === undefined ? total(layers.map(({ narSize }) => narSize)) : update.uploaded.bytes);
    const found = of === "layers" ? layers.length : bytes();
    if (found === undefined) {
      throw new OciNixError("invalid-input", `--budget ${text}: the closure graph does not tell all sizes`, {
        hint: "give a graph with narSize, or --exact, which measures",
      });
    }
    return { budget: text, limit, found, kept: found <= limit };
  });
}

/** What is over budget; undefined where nothing is. */
export function overBudget(
  budgets: readonly Budget[],
  results: readonly BudgetResult[],
  { update }: Planned,
): OciNixError | undefined {
  const over = budgets.flatMap(({ of, limit, text }, i) => {
    const result = results[i];
    if (result === undefined || result.kept) return [];
    if (of === "layers") return [`${counted(result.found, "layer")}, and ${counted(limit, "layer")} are allowed`];
    const what = update === undefined ? "in all" : "to upload";
    return [`${size(result.found)} (${result.found} bytes) ${what}, and ${text} are allowed`];
  });
  if (over.length === 0) return undefined;
  return new OciNixError("limit", `the plan is over budget: ${over.join("; ")}`, {
    hint: update === undefined ? "oci-nix plan --html shows what takes the room" : "oci-nix plan --why PATH tells why",
  });
}
