import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeLayer } from "../../src/layers/plan.js";
import { planLayers } from "../../src/layers/plan-layers.js";
import { createClosure } from "../../src/nix/closure.js";
import type { StorePath } from "../../src/nix/store-path.js";
import {
  type Browser,
  type BrowserPage,
  CHROMIUM_TOOLS,
  type PageOptions,
  startChromium,
} from "../support/chromium.js";
import { runCli } from "../support/cli.js";
import { expectOk } from "../support/command.js";
import { chainClosure, planPage, updatePage } from "../support/plan-pages.js";
import { requireTools } from "../support/tools.js";

const LIMIT_MS = 120_000;

describe.skipIf(requireTools(...CHROMIUM_TOOLS))("the page of a plan in Chromium", { timeout: LIMIT_MS }, () => {
  let directory: string;
  let browser: Browser;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-plan-page-"));
    browser = await startChromium();
  }, LIMIT_MS);
  afterAll(async () => {
    await browser.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Opens a page, does something with it, and finds that nothing was wrong and nothing was loaded. */
  async function withPage(
    html: string,
    options: PageOptions,
    use: (page: BrowserPage) => Promise<void>,
  ): Promise<void> {
    const file = join(directory, "plan.html");
    writeFileSync(file, html);
    const page = await browser.open(`file://${file}`, options);
    try {
      await use(page);
      expect(page.problems).toEqual([]);
      expect(page.requests.filter((url) => !url.startsWith("data:"))).toEqual([]);
    } finally {
      await page.close();
    }
  }

  const count = (page: BrowserPage, selector: string) =>
    page.evaluate<number>(`document.querySelectorAll(${JSON.stringify(selector)}).length`);
  const textOf = (page: BrowserPage, selector: string) =>
    page.evaluate<string>(`document.querySelector(${JSON.stringify(selector)}).innerText`);
  const focused = (page: BrowserPage) => page.evaluate<string>("document.activeElement.getAttribute('aria-label')");

  it("is what the command line writes", async () => {
    const graph = join(directory, "graph.json");
    const closure = [...chainClosure(40).objects.values()];
    writeFileSync(
      graph,
      JSON.stringify(closure.map(({ path, narSize, references }) => ({ path, narSize, references }))),
    );
    const html = join(directory, "out.html");
    expectOk(await runCli(["plan", graph, "--max-layers", "10", "--html", html]), "plan");
    const page = await browser.open(`file://${html}`);
    expect(await count(page, "#map .tile")).toBeGreaterThan(10);
    expect(await textOf(page, "h1")).toBe("Layers of app-1.0");
    expect([page.problems, page.requests.filter((url) => !url.startsWith("data:"))]).toEqual([[], []]);
    await page.close();
  });

  it("runs nothing that a name holds, even if its markup were taken for markup", async () => {
    const name = `<img src=x onerror="window.harmed=1"><script>window.harmed=1<`;
    const path = `/nix/store/${"0".repeat(32)}-${name}` as StorePath;
    const objects = [{ path, narHash: undefined, narSize: 9, references: [] }];
    const closure = createClosure({ storeDir: "/nix/store", objects, source: "the test" });
    await withPage(
      planPage(closure, [storeLayer([path], `${name}/script></script><script>window.harmed=1</script>`)]),
      {},
      async (page) => {
        expect(await textOf(page, "h1")).toBe(`Layers of ${name}`);
        expect(await textOf(page, "#paths tbody th")).toBe(name);
        await page.evaluate("document.querySelector('#map .tile').click()");
        expect(await textOf(page, "#details h3")).toBe(name);
        expect(await page.evaluate("window.harmed ?? 0")).toBe(0);
      },
    );
  });

  it("lets a search and the legend decide what is shown, and says how much that is", async () => {
    await withPage(updatePage(300), {}, async (page) => {
      expect(await textOf(page, "#result")).toMatch(/^300 store paths, /);
      await page.evaluate("document.querySelector('#search').focus()");
      await page.type("PACKAGE29 ");
      // package29 and package290 to package299.
      expect(await textOf(page, "#result")).toMatch(/^11 of 300 store paths, /);
      expect(await count(page, "#paths tbody tr")).toBe(11);
      expect(await count(page, "#map .tile.match")).toBeGreaterThan(0);
      expect(await page.evaluate("document.querySelector('#result').getAttribute('role')")).toBe("status");
      await page.evaluate("document.querySelector('[data-fate=changed]').click()");
      expect(await textOf(page, "#result")).toMatch(/^1 of 300 store paths, /);
      expect(await textOf(page, "#paths tbody th")).toMatch(/^package294-2\./);
      await page.evaluate("document.querySelector('#search').select()");
      await page.type("nothing of the kind");
      expect(await textOf(page, "#result")).toBe("0 of 300 store paths, 0 B");
      expect(await count(page, "#paths tbody tr")).toBe(0);
    });
  });

  it("can be used with the keyboard alone", async () => {
    await withPage(updatePage(120), {}, async (page) => {
      // One tile is in the tab order, after the search and the legend.
      expect(await count(page, "#map .tile[tabindex='0']")).toBe(1);
      expect(await count(page, "#map .tile:not([tabindex='-1'], [tabindex='0'])")).toBe(0);
      await page.evaluate("document.querySelector('[data-fate=new]').focus()");
      await page.press("Tab");
      const first = await focused(page);
      expect(first).toMatch(/^\S+, [\d.]+ k?M?B, layer \d+, (kept|sent again|changed|new)$/);
      const seen = new Set([first]);
      for (const key of ["ArrowRight", "ArrowDown", "PageDown", "End"]) {
        await page.press(key);
        const now = await focused(page);
        expect(seen, key).not.toContain(now);
        seen.add(now);
      }
      expect(await count(page, "#map .tile[tabindex='0']")).toBe(1);
      await page.press("Home");
      expect(await focused(page)).toBe(first);
      await page.press("ArrowLeft");
      expect(await focused(page)).toBe(first);
      expect(await textOf(page, "#details h3")).toBe(first.split(",")[0]);
      await page.press("Enter");
      expect(await count(page, "#map .tile[aria-pressed=true]")).toBe(1);
      expect(await count(page, "#paths tr.pinned")).toBe(1);
      await page.press("Tab");
      expect(await page.evaluate("document.activeElement.closest('#details') !== null")).toBe(true);
      // A name in the panel leads there.
      await page.press("Enter");
      expect(await textOf(page, "#details h3")).not.toBe(first.split(",")[0]);
      expect(await page.evaluate("document.activeElement.id")).toBe("details");
      expect(await count(page, "#map .tile[aria-pressed=true]")).toBe(1);
      await page.press("Escape");
      expect(await count(page, "#map .tile[aria-pressed=true]")).toBe(0);
      expect(await textOf(page, "#details")).toMatch(/^Point at a tile/);
    });
  });

  it("shows what a store path needs and what needs it, when it is pointed at", async () => {
    const closure = chainClosure(30);
    const plans = planLayers(closure, { strategy: "popularity", maxLayers: 60 });
    await withPage(planPage(closure, plans), {}, async (page) => {
      const labels = (mark: string) =>
        page.evaluate<string[]>(
          `[...document.querySelectorAll("#map .tile.${mark}")].map((tile) => tile.getAttribute("aria-label").split("-")[0])`,
        );
      const [x, y] = await page.evaluate<[number, number]>(`(() => {
        const tile = [...document.querySelectorAll("#map .tile")].find((tile) => tile.ariaLabel.startsWith("package4-"));
        tile.scrollIntoView({ block: "center" });
        const { x, y, width, height } = tile.getBoundingClientRect();
        return [x + width / 2, y + height / 2];
      })()`);
      await page.point(x, y);
      expect(await textOf(page, "#details h3")).toBe("package4-1.4");
      // Package 4 needs 9, 10 and 17, which need 19 to 22; the application and package 1 need it.
      const needs = await labels("needs");
      for (const name of ["package9", "package10", "package17"]) expect(needs).toContain(name);
      expect(await labels("needed-by")).toContain("package1");
      expect(await labels("needed-by")).not.toContain("package2");
      expect(await textOf(page, "#details")).toMatch(/Needs\s+3, 7 in all[\s\S]*Needed by\s+1, 2 in all/);
      await page.point(5, 5);
      expect(await count(page, "#map .tile.needs")).toBe(0);
    });
  });

  it("says of excluded store paths that they are", async () => {
    const closure = chainClosure(8);
    const shipped = [...closure.objects.keys()].filter((path) => !path.includes("-package1-"));
    await withPage(
      planPage(
        closure,
        shipped.map((path) => storeLayer([path], "")),
      ),
      {},
      async (page) => {
        await page.evaluate(
          `[...document.querySelectorAll("#paths tbody button")].find((one) => one.innerText.startsWith("app")).click()`,
        );
        expect(await textOf(page, "#details")).toMatch(/package1-1\.1\s+excluded/);
        expect(await textOf(page, ".figures")).toContain("1 more excluded");
      },
    );
  });

  it("sorts its table by any column, and shows more rows when asked", async () => {
    await withPage(updatePage(260), {}, async (page) => {
      expect(await count(page, "#paths tbody tr")).toBe(100);
      await page.evaluate("document.querySelector('#paths > button').click()");
      expect(await count(page, "#paths tbody tr")).toBe(260);
      expect(await page.evaluate("document.querySelector('#paths > button').hidden")).toBe(true);
      const column = async (index: number) => {
        await page.evaluate(`document.querySelectorAll("#paths thead button")[${index}].click()`);
        return await page.evaluate<string[]>(
          `[...document.querySelectorAll("#paths tbody tr")].map((row) => row.cells[${index}].innerText)`,
        );
      };
      const names = await column(0);
      expect(names).toEqual([...names].sort());
      expect(await column(0)).toEqual([...names].sort().reverse());
      const layers = (await column(2)).map(Number);
      expect(layers).toEqual([...layers].sort((a, b) => b - a));
      expect(await page.evaluate("document.querySelectorAll('#paths [aria-sort]').length")).toBe(1);
    });
  });

  it.each([
    ["light", 1280],
    ["dark", 1280],
    ["light", 360],
    ["dark", 360],
  ] as const)("has enough contrast in %s colours at %d pixels, and nothing beyond its edges", async (theme, width) => {
    for (const html of [
      updatePage(150),
      planPage(chainClosure(150), planLayers(chainClosure(150), { strategy: "popularity", maxLayers: 9 })),
    ]) {
      await withPage(html, { width, height: 900, dark: theme === "dark" }, async (page) => {
        await page.evaluate("document.querySelector('#map .tile').click()");
        expect(await page.evaluate(CONTRASTS)).toEqual([]);
        expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(width);
        // The other theme, by the button.
        expect(await textOf(page, "#theme")).toBe(theme === "dark" ? "Light" : "Dark");
        const before = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        await page.evaluate("document.querySelector('#theme').click()");
        expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).not.toBe(before);
        expect(await page.evaluate(CONTRASTS)).toEqual([]);
      });
    }
  });

  it("follows the width of the window, and prints", async () => {
    await withPage(updatePage(100), {}, async (page) => {
      const wide = await page.evaluate<number>("document.querySelector('#map').clientWidth");
      await page.resize({ width: 400, height: 800 });
      expect(await page.evaluate<number>("document.querySelector('#map').clientWidth")).toBeLessThan(wide);
      expect(await page.evaluate(OUTSIDE)).toEqual([]);
      const pdf = await page.print();
      expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
    });
  });

  it.each([2000, 10_000])("is usable with %d store paths", async (paths) => {
    await withPage(updatePage(paths), {}, async (page) => {
      expect(await textOf(page, "#result")).toContain(paths === 2000 ? "2,000 store paths" : "10,000 store paths");
      expect(await page.evaluate(OUTSIDE)).toEqual([]);
      await page.evaluate("document.querySelector('#search').focus()");
      await page.type(`package${paths - 1}-`);
      expect(await count(page, "#paths tbody tr")).toBe(1);
      await page.evaluate("document.querySelector('#paths tbody button').click()");
      expect(await textOf(page, "#details h3")).toMatch(`package${paths - 1}-`);
    });
  });
});

/** Texts whose contrast with what is behind them is under 4.5 to 1. */
const CONTRASTS = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (colours) => {
    canvas.fillStyle = "white";
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (data) => {
    const [r, g, b] = [...data].slice(0, 3).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  /** The colours behind an element, bottom first; of a tile that stands for several store paths each of its colours. */
  const behind = (element) => {
    const colours = [];
    for (let at = element; at !== null; at = at.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(at);
      if (at.classList.contains("many")) return backgroundImage.match(/(?:rgb|color)\\([^)]*\\)/g).map((each) => [each]);
      colours.unshift(backgroundColor);
    }
    return [colours];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!isText || element.closest("script, .unseen, [aria-hidden=true] .swatch") || element.offsetParent === null) continue;
    const { color } = getComputedStyle(element);
    for (const under of behind(element)) {
      const [a, b] = [luminance(over(under)), luminance(over([...under, color]))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) bad.push([element.tagName, element.className, element.textContent.slice(0, 30), color, ...under]);
    }
  }
  return bad;
})()`;

/** Tiles that reach beyond the map. */
const OUTSIDE = `(() => {
  const map = document.querySelector("#map").getBoundingClientRect();
  return [...document.querySelectorAll("#map .tile")]
    .map((tile) => tile.getBoundingClientRect())
    .filter(({ left, top, right, bottom }) => left < map.left - 1 || top < map.top - 1 || right > map.right + 1 || bottom > map.bottom + 1)
    .map((rect) => JSON.stringify(rect));
})()`;
