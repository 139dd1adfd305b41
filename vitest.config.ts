import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Kinds of tests, by directory, those whose files take longest first: so no long file is left to run alone at the end. */
const KINDS = ["fault", "hostile", "acceptance", "real", "cli", "property", "golden", "unit"];

class LongestKindFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) =>
      KINDS.findIndex((kind) => moduleId.includes(`/test/${kind}/`)) >>> 0;
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // For what hangs: slow machines run these tests, too.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    // Node loads what is compiled sooner than vitest does.
    server: { deps: { external: [/\/dist\//] } },
    // Vitest would leave a processor to itself, which has next to nothing to do; and some files wait for guests and daemons.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestKindFirst },
  },
});
