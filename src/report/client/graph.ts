/** References in both directions. */
export interface Relations {
  readonly needs: readonly (readonly number[])[];
  readonly neededBy: readonly (readonly number[])[];
}

export function relationsOf(references: readonly (readonly number[])[]): Relations {
  const neededBy = references.map((): number[] => []);
  for (const [path, targets] of references.entries()) for (const target of targets) neededBy[target]?.push(path);
  return { needs: references, neededBy };
}

/** All that can be reached from a node, itself left out. */
export function reach(start: number, next: readonly (readonly number[])[]): ReadonlySet<number> {
  const found = new Set<number>([start]);
  // A set gives what is added to it while it is walked.
  for (const node of found) for (const other of next[node] ?? []) found.add(other);
  found.delete(start);
  return found;
}

/** A shortest way from one of the roots to a node, both included. */
export function chainTo(node: number, roots: ReadonlySet<number>, neededBy: readonly (readonly number[])[]): number[] {
  const below = new Map<number, number | undefined>([[node, undefined]]);
  for (const [at] of below) {
    if (roots.has(at)) {
      const chain: number[] = [];
      for (let step: number | undefined = at; step !== undefined; step = below.get(step)) chain.push(step);
      return chain;
    }
    for (const user of neededBy[at] ?? []) if (!below.has(user)) below.set(user, at);
  }
  return [node];
}
