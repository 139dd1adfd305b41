import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { storeLayer } from "../../../src/layers/plan.js";
import { createClosure } from "../../../src/nix/closure.js";
import type { StorePath } from "../../../src/nix/store-path.js";
import { clientScript } from "../../../src/report/client-script.js";
import { chainClosure, planPage, updatePage } from "../../support/plan-pages.js";

/** All that would end a script, an attribute or an element. */
const HOSTILE = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"&<!--\u2028`;

describe("the page of a plan", () => {
  it("is the same for the same plan", () => {
    expect(updatePage(50)).toBe(updatePage(50));
  });

  it("holds all figures without its script", () => {
    const page = updatePage(150);
    expect(page).toMatch(/<dt>Layers<\/dt><dd>60<\/dd>/);
    expect(page).toMatch(/<dt>Store paths<\/dt><dd>150<\/dd>/);
    expect(page).toContain("compared with docker://r.example/app:1");
    expect(page).toContain("it pays after 15 releases");
    expect(page.match(/<tr><th scope="row"/g)).toHaveLength(60);
  });

  it("escapes whatever names and reasons hold", () => {
    const name = HOSTILE.replaceAll("/", "\\");
    const path = `/nix/store/${"0".repeat(32)}-${name}` as StorePath;
    const objects = [{ path, narHash: undefined, narSize: 1, references: [] }];
    const closure = createClosure({ storeDir: "/nix/store", objects, source: "the test" });
    const page = planPage(closure, [storeLayer([path], HOSTILE)], {
      source: HOSTILE,
      layers: [{ storePaths: [path] }],
    });
    expect(page.match(/<\/script/g)).toHaveLength(2);
    expect(page).not.toMatch(/<img|<!--/);
    expect(page).toContain("&lt;/script&gt;&lt;script&gt;alert(1)");
    const [, data = ""] = /<script type="application\/json" id="plan-data">(.*)<\/script>/.exec(page) ?? [];
    expect(JSON.parse(data)).toMatchObject({ paths: [`${"0".repeat(32)}-${name}`], layers: [{ reason: HOSTILE }] });
  });

  it("allows its own script and style by their digests, and nothing else", () => {
    const page = planPage(chainClosure(3), [storeLayer([...chainClosure(3).objects.keys()], "")]);
    const digestOf = (text = "") => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    const script = digestOf(/<script>([\s\S]*?)<\/script>/.exec(page)?.[1]);
    const style = digestOf(/<style>([\s\S]*?)<\/style>/.exec(page)?.[1]);
    expect(page).toContain(
      `content="default-src 'none'; script-src ${script}; style-src ${style}; img-src data:; base-uri 'none'; form-action 'none'"`,
    );
    expect(page).not.toMatch(/ (style|on[a-z]+)=|https?:/);
  });

  it("has a script in one piece", () => {
    expect(clientScript()).not.toMatch(/^(import|export)\b/m);
  });
});
