import { compareStrings, OciNixError } from "../core/errors.js";
import type { StorePath } from "./store-path.js";

/** One store object as the Nix database and its exports describe it. */
export interface StoreObject {
  readonly path: StorePath;
  /** SHA-256 of the NAR, as `sha256:` and 52 characters of Nix base-32; undefined where the source does not tell. */
  readonly narHash: string | undefined;
  /** Size of the NAR in bytes; undefined where the source does not tell. */
  readonly narSize: number | undefined;
  /** Sorted, without duplicates; a self-reference is kept. */
  readonly references: readonly StorePath[];
  readonly deriver?: StorePath;
  readonly ca?: string;
}

/**
 * Store objects closed under references, without cycles other than self-references.
 * Made here only, so the invariants always hold.
 */
export interface Closure {
  readonly storeDir: string;
  /** Sorted. The paths asked for, or those nobody else refers to. */
  readonly roots: readonly StorePath[];
  /** Sorted by path; one object a path. */
  readonly objects: ReadonlyMap<StorePath, StoreObject>;
}

/**
 * Builds a closure from objects in any order.
 *
 * @param source where the objects came from, for errors
 * @param roots the paths asked for: objects that they do not reach are left out. Without it every object is kept and the roots are
 *   the paths no other path refers to.
 * @throws OciNixError `invalid-input`: empty, not closed, cyclic, or two descriptions of one path that differ
 */
export function createClosure(input: {
  readonly storeDir: string;
  readonly objects: Iterable<StoreObject>;
  readonly roots?: Iterable<StorePath>;
  readonly source: string;
}): Closure {
  const given = new Map<StorePath, StoreObject>();
  for (const object of input.objects) {
    const normal = { ...object, references: [...new Set(object.references)].sort(compareStrings) };
    const known = given.get(object.path);
    given.set(object.path, known === undefined ? normal : merge(known, normal, input.source));
  }
  for (const object of given.values()) {
    for (const reference of object.references) {
      if (!given.has(reference)) {
        throw new OciNixError(
          "invalid-input",
          `${input.source} is not closed under references: ${object.path} refers to ${reference}, which is not in it`,
          { hint: "export the whole closure, for example with: nix path-info --recursive --json" },
        );
      }
    }
  }
  const roots = input.roots === undefined ? unreferenced(given) : sortedUnique(input.roots);
  for (const root of roots) {
    if (!given.has(root)) {
      throw new OciNixError("not-found", `${root} is not in ${input.source}`, {
        hint: "give a store path that the closure holds",
      });
    }
  }
  const kept = input.roots === undefined ? given : reachable(given, roots);
  checkAcyclic(kept, input.source);
  if (kept.size === 0) throw new OciNixError("invalid-input", `${input.source} holds no store paths`);
  const objects = new Map([...kept.entries()].sort(([a], [b]) => compareStrings(a, b)));
  return { storeDir: input.storeDir, roots, objects };
}

/** The closure of nothing: of images that have nothing of the store. {@link createClosure} takes that for a mistake. */
export function emptyClosure(storeDir: string): Closure {
  return { storeDir, roots: [], objects: new Map() };
}

/** NAR sizes summed over everything each path reaches, itself included; undefined where one of the sizes is unknown. */
export function closureSizes(closure: Closure): ReadonlyMap<StorePath, number | undefined> {
  const graph = indexReferences(closure.objects);
  const narSizes = Float64Array.from(closure.objects.values(), (object) => object.narSize ?? Number.NaN);
  const sizes = new Map<StorePath, number | undefined>();
  // A node is seen in the walk from a path if it bears that path's stamp, so nothing is cleared between walks.
  const seen = new Int32Array(narSizes.length).fill(-1);
  const pending = new Int32Array(narSizes.length);
  let start = 0;
  for (const path of closure.objects.keys()) {
    let sum = 0;
    let waiting = 0;
    seen[start] = start;
    pending[waiting++] = start;
    while (waiting > 0) {
      const node = pending[--waiting] as number;
      sum += narSizes[node] as number;
      const end = graph.starts[node + 1] as number;
      for (let i = graph.starts[node] as number; i < end; i++) {
        const reference = graph.references[i] as number;
        if (seen[reference] === start) continue;
        seen[reference] = start;
        pending[waiting++] = reference;
      }
    }
    sizes.set(path, Number.isNaN(sum) ? undefined : sum);
    start++;
  }
  return sizes;
}

/** The references of the n-th object are the numbers `references[starts[n]]` up to, not including, `references[starts[n + 1]]`. */
function indexReferences(objects: ReadonlyMap<StorePath, StoreObject>): {
  readonly starts: Int32Array;
  readonly references: Int32Array;
} {
  const numbers = new Map<StorePath, number>();
  const starts = new Int32Array(objects.size + 1);
  let total = 0;
  for (const [path, object] of objects) {
    numbers.set(path, numbers.size);
    total += object.references.length;
    starts[numbers.size] = total;
  }
  const references = new Int32Array(total);
  let next = 0;
  for (const object of objects.values()) {
    for (const reference of object.references) references[next++] = numbers.get(reference) as number;
  }
  return { starts, references };
}

/** The objects that `roots` reach, roots included. */
function reachable(
  objects: ReadonlyMap<StorePath, StoreObject>,
  roots: Iterable<StorePath>,
): Map<StorePath, StoreObject> {
  const found = new Map<StorePath, StoreObject>();
  const pending = [...roots];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (found.has(path)) continue;
    const object = objects.get(path) as StoreObject;
    found.set(path, object);
    for (const reference of object.references) pending.push(reference);
  }
  return found;
}

function unreferenced(objects: ReadonlyMap<StorePath, StoreObject>): StorePath[] {
  const referenced = new Set<StorePath>();
  for (const object of objects.values()) {
    for (const reference of object.references) if (reference !== object.path) referenced.add(reference);
  }
  return sortedUnique([...objects.keys()].filter((path) => !referenced.has(path)));
}

function sortedUnique(paths: Iterable<StorePath>): StorePath[] {
  return [...new Set(paths)].sort(compareStrings);
}

/** One description of two of the same path: what only one of them knows is kept, and they must agree on the rest. */
function merge(a: StoreObject, b: StoreObject, source: string): StoreObject {
  const agreed = <T extends string | number>(
    field: string,
    one: T | undefined,
    other: T | undefined,
  ): T | undefined => {
    if (one === undefined || other === undefined || one === other) return one ?? other;
    throw new OciNixError("invalid-input", `${source} describes ${a.path} twice, with ${field} ${one} and ${other}`, {
      hint: "the descriptions are of different builds of one path: export the closure from one store",
    });
  };
  agreed("references", a.references.join(" ") || "none", b.references.join(" ") || "none");
  const narHash = agreed("narHash", a.narHash, b.narHash);
  const narSize = agreed("narSize", a.narSize, b.narSize);
  // Two derivations may give the same content-addressed path, so which of them is named first is no contradiction.
  return { ...b, ...a, narHash, narSize };
}

/** @throws OciNixError `invalid-input` showing one cycle; self-references are allowed */
function checkAcyclic(objects: ReadonlyMap<StorePath, StoreObject>, source: string): void {
  // Depth-first with an explicit stack: a closure may be thousands of paths deep.
  const done = new Set<StorePath>();
  const open = new Map<StorePath, number>();
  const stack: { readonly object: StoreObject; next: number }[] = [];
  const enter = (path: StorePath) => {
    open.set(path, stack.length);
    stack.push({ object: objects.get(path) as StoreObject, next: 0 });
  };
  for (const start of objects.keys()) {
    if (done.has(start)) continue;
    enter(start);
    while (stack.length > 0) {
      const frame = stack[stack.length - 1] as (typeof stack)[number];
      const reference = frame.object.references[frame.next++];
      if (reference === undefined) {
        stack.pop();
        open.delete(frame.object.path);
        done.add(frame.object.path);
      } else if (reference !== frame.object.path && !done.has(reference)) {
        const at = open.get(reference);
        if (at !== undefined) {
          const cycle = [...stack.slice(at).map((entry) => entry.object.path), reference];
          throw new OciNixError("invalid-input", `${source} has a cycle of references: ${cycle.join(" -> ")}`);
        }
        enter(reference);
      }
    }
  }
}
