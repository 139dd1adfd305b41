interface Scope {
  /** `repository:ns/app`. */
  readonly resource: string;
  readonly actions: readonly string[];
}

/** `repository:ns/app:pull,push`; names may hold colons, so the last one counts. */
function parseScope(text: string): Scope {
  const colon = text.lastIndexOf(":");
  const actions = text.slice(colon + 1).split(",");
  return { resource: text.slice(0, Math.max(colon, 0)), actions: actions.filter((action) => action !== "") };
}

/** Each resource once, in the order of first mention, with all actions that are asked for. */
export function unionOfScopes(...lists: readonly (readonly string[])[]): readonly string[] {
  const union = new Map<string, Set<string>>();
  for (const { resource, actions } of lists.flat().map(parseScope)) {
    const known = union.get(resource) ?? new Set();
    for (const action of actions) known.add(action);
    union.set(resource, known);
  }
  return [...union].map(([resource, actions]) => `${resource}:${[...actions].join(",")}`);
}

/** Whether rights to `granted` are rights to all of `wanted`. */
export function coversScopes(granted: readonly string[], wanted: readonly string[]): boolean {
  const rights = new Map(granted.map(parseScope).map(({ resource, actions }) => [resource, new Set(actions)]));
  return wanted
    .map(parseScope)
    .every(({ resource, actions }) => actions.every((action) => rights.get(resource)?.has(action)));
}

/** The repository that the first scope of one names. */
export function repositoryOf(scopes: readonly string[]): string | undefined {
  return scopes
    .map((scope) => /^repository(?:\([^)]*\))?:(.+):[^:]*$/.exec(scope)?.[1])
    .find((name) => name !== undefined);
}
