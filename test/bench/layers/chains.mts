import type { Closure } from "../../../src/index.js";
import { APP, type Archive, closureOf, imagePackages, type Package, type Packages } from "./packages.mjs";
import { randomFrom } from "./random.mjs";

/** Releases of one image, oldest first. */
export interface Chain {
  readonly image: string;
  readonly closures: readonly Closure[];
}

/** What happens from one release to the next. */
export const EVENTS = ["app", "leaf", "middle", "libc", "add", "remove"] as const;
export type EventName = (typeof EVENTS)[number];

export const RELEASES = 12;

/** How often each comes in the life of an image, as we see it. */
export const USUAL: readonly EventName[] = [
  ...(["app", "app", "app", "app", "leaf", "leaf", "leaf"] as const),
  ...(["middle", "add", "remove", "libc"] as const),
];

/**
 * Chains in which the same happens at every release, or, with several events, one of them by chance.
 * The program itself changes at each.
 */
export function chainsOf(archive: Archive, events: readonly EventName[], seed: number): readonly Chain[] {
  const packages = [...archive.releases.values()][0] as Packages;
  return [...archive.images].map(([image, roots], i) => {
    const random = randomFrom(seed * 1000 + i);
    // A dependency that is added comes from another image.
    const others = [...archive.images.values()].flat().filter((name) => !roots.includes(name));
    let current = imagePackages(packages, roots, image);
    const closures = [closureOf(current)];
    for (let release = 2; release <= RELEASES; release++) {
      const event = events[Math.floor(random() * events.length)] as EventName;
      current = changed(current, event, { random, others, release });
      closures.push(closureOf(current));
    }
    return { image, closures };
  });
}

/** The releases that Debian made of each image, the program changing with them. */
export function debianChains(archive: Archive): readonly Chain[] {
  return [...archive.images].map(([image, roots]) => ({
    image,
    closures: [...archive.releases.values()].map((packages, i) =>
      closureOf(bumped(imagePackages(packages, roots, image), APP, i + 1, 1)),
    ),
  }));
}

interface Circumstances {
  readonly random: () => number;
  readonly others: readonly string[];
  readonly release: number;
}

function changed(packages: Packages, event: EventName, { random, others, release }: Circumstances): Packages {
  const after = bumped(packages, APP, release, 0.9 + 0.2 * random());
  const bump = (name: string) => bumped(after, name, release, 0.9 + 0.2 * random());
  const app = after.get(APP) as Package;
  const dependants = dependantsOf(after);
  const among = (from: number, to: number) => {
    const names = [...dependants].filter(([name, count]) => name !== APP && count >= from && count < to);
    return names[Math.floor(random() * names.length)]?.[0] ?? "libc6";
  };
  const share = dependants.size;
  switch (event) {
    case "app":
      return after;
    case "leaf":
      return bump(among(1, Math.max(6, share * 0.04)));
    case "middle":
      return bump(among(share * 0.04, share * 0.4));
    case "libc":
      return bump("libc6");
    case "add": {
      const candidates = others.filter((name) => !dependants.has(name));
      const added = candidates[Math.floor(random() * candidates.length)];
      return added === undefined ? after : withApp(after, { ...app, depends: [...app.depends, added] });
    }
    case "remove": {
      if (app.depends.length < 2) return after;
      const removed = app.depends[Math.floor(random() * app.depends.length)];
      return withApp(after, { ...app, depends: app.depends.filter((name) => name !== removed) });
    }
  }
}

function withApp(packages: Packages, app: Package): Packages {
  return new Map([...packages, [APP, app]]);
}

/** The packages with a new version of one of them. */
function bumped(packages: Packages, name: string, release: number, growth: number): Packages {
  const { version, size, depends } = packages.get(name) as Package;
  const base = version.replace(/\+r\d+$/, "");
  return new Map([...packages, [name, { version: `${base}+r${release}`, size: Math.round(size * growth), depends }]]);
}

/** For each package of the image how many others depend on it, directly or not. */
function dependantsOf(packages: Packages): ReadonlyMap<string, number> {
  const reach = new Map<string, ReadonlySet<string>>();
  const walking = new Set<string>();
  const visit = (name: string): ReadonlySet<string> => {
    const known = reach.get(name);
    if (known !== undefined) return known;
    walking.add(name);
    const all = new Set<string>();
    for (const other of (packages.get(name) as Package).depends) {
      if (walking.has(other) || !packages.has(other)) continue;
      all.add(other);
      for (const further of visit(other)) all.add(further);
    }
    walking.delete(name);
    reach.set(name, all);
    return all;
  };
  visit("entrypoint");
  const counts = new Map([...reach.keys()].map((name) => [name, 0]));
  for (const all of reach.values()) for (const name of all) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
