import { createHash } from "node:crypto";
import { nameOf, packageNameOf } from "../layers/package-name.js";
import { CHANCE_STEPS, counted, FATES, formatBytes, formatChance, formatCount } from "./client/format.js";
import { clientScript } from "./client-script.js";
import { escapeHtml, scriptData } from "./escape.js";
import { type PlanPageInput, pageDataOf } from "./page-data.js";
import { STYLE } from "./style.js";

/**
 * A plan as one HTML page that loads nothing: a map of layers and store paths, search, tables. Its bytes are a function of the input.
 * @throws OciNixError as {@link clientScript}
 */
export function formatPlanPage(input: PlanPageInput): string {
  const data = pageDataOf(input);
  const script = clientScript();
  const title = `Layers of ${rootsOf(input)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="oci-nix plan">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#tables">Skip the map, to the tables</a>
<header>
<div>
<h1>${escapeHtml(title)}</h1>
<p class="hint">${escapeHtml(subtitle(input))}</p>
</div>
<button type="button" id="theme" class="plain" hidden></button>
</header>
<main>
<dl class="figures">
${figures(input)}
</dl>
${advice(input)}<section aria-labelledby="map-heading" class="chart" hidden>
<h2 id="map-heading" class="unseen">Map of layers and store paths</h2>
<div class="tools">
<label class="search"><span class="unseen">Search store paths</span><input id="search" type="search" placeholder="Search store paths" autocomplete="off" spellcheck="false"></label>
<p id="result" role="status"></p>
${legend(data.hasPrevious)}
</div>
<p id="map-help" class="unseen">Each tile is a store path, as large as it is. Arrow keys move, Page Up and Page Down go to another layer, Enter keeps a path in the panel, Escape lets it go. The tables below hold the same.</p>
<div class="panes">
<div id="map" role="group" aria-label="Map of store paths" aria-describedby="map-help"></div>
<aside id="details" aria-label="Details" tabindex="-1"></aside>
</div>
</section>
<div id="tables">
<section aria-labelledby="layers-heading">
<h2 id="layers-heading">Layers</h2>
<div class="scroll" tabindex="0" role="group" aria-labelledby="layers-heading">
${layersTable(input)}
</div>
</section>
<section aria-labelledby="paths-heading">
<h2 id="paths-heading">Store paths</h2>
<div id="paths"><p class="hint">This list and the map are made by the page's script, which did not run.</p></div>
</section>
</div>
</main>
<footer class="hint">Sizes are those of NARs, unpacked${data.hasPrevious ? "; what an update sends is judged by store paths" : ""}. Chances, and what a release pushes, are expectations: a change at a store path renames all that refer to it.</footer>
<script type="application/json" id="plan-data">${scriptData(data)}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** Nothing but what the page itself holds may run, and nothing may be loaded. */
function policy(script: string): string {
  const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(STYLE)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}

const SHOWN_ROOTS = 3;

function rootsOf({ closure }: PlanPageInput): string {
  const [only, ...others] = closure.roots;
  if (only !== undefined && others.length === 0) return nameOf(only);
  const names = [...new Set(closure.roots.map(packageNameOf))];
  const more = names.length - SHOWN_ROOTS;
  return names.slice(0, SHOWN_ROOTS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function subtitle({ strategy, maxLayers, update }: PlanPageInput): string {
  const from = update === undefined ? "" : `, compared with ${update.source}`;
  const limit = maxLayers === undefined ? "" : ` into at most ${counted(maxLayers, "layer")}`;
  return `Split by ${strategy}${limit}${from}`;
}

/** What the plan comes to, in a few numbers. */
function figures({ layers, closure, update }: PlanPageInput): string {
  const sizes = layers.map(({ narSize }) => narSize);
  const size = sizes.reduce<number | undefined>(
    (sum, each) => (sum === undefined || each === undefined ? undefined : sum + each),
    0,
  );
  const paths = new Set(layers.flatMap(({ storePaths }) => storePaths)).size;
  const expected = layers.reduce((sum, { expectedBytes }) => sum + expectedBytes, 0);
  const excluded = closure.objects.size - paths;
  const figure = (term: string, value: string, note = "") =>
    `<div><dt>${escapeHtml(term)}</dt><dd>${escapeHtml(value)}${note === "" ? "" : `<small>${escapeHtml(note)}</small>`}</dd></div>`;
  const all = [
    figure("Layers", String(layers.length)),
    figure("Store paths", formatCount(paths), excluded > 0 ? `${excluded} more excluded` : ""),
    figure("Size", formatBytes(size ?? null)),
    figure("Pushed by a release", size === undefined ? "unknown" : formatBytes(expected), "expected on average"),
  ];
  if (update !== undefined) {
    const { kept, uploaded, dropped, idealBytes } = update;
    const share =
      uploaded.bytes === undefined || idealBytes === undefined
        ? ""
        : idealBytes === 0
          ? "of store paths that are all there"
          : `${multiple(uploaded.bytes / idealBytes)} the ideal ${formatBytes(idealBytes)}`;
    all.push(
      figure("This update uploads", formatBytes(uploaded.bytes ?? null), share),
      figure("It keeps", formatBytes(kept.bytes ?? null), counted(kept.layers, "layer")),
      figure(
        "It drops",
        counted(dropped.layers, "layer"),
        dropped.bytes === undefined ? "" : `${formatBytes(dropped.bytes)} stored`,
      ),
    );
  }
  return all.join("\n");
}

/** `104 % of`, `12 times`. */
function multiple(times: number): string {
  return times < 10 ? `${Math.round(times * 100)} % of` : `${formatCount(Math.round(times))} times`;
}

function advice({ advice }: PlanPageInput): string {
  if (advice === undefined) return "";
  const { savedPerRelease, costNow, paysAfter } = advice;
  const text = `A fresh split would save ${formatBytes(savedPerRelease)} a release and cost ${formatBytes(costNow)} now: it pays after ${counted(paysAfter, "release")}.`;
  return `<p class="advice">${escapeHtml(text)}</p>\n`;
}

function legend(hasPrevious: boolean): string {
  if (hasPrevious) {
    const keys = Object.entries(FATES).map(
      ([fate, { sign, words }]) =>
        `<button type="button" data-fate="${fate}" aria-pressed="false"><span class="swatch fate-${fate}" aria-hidden="true">${sign}</span>${words}</button>`,
    );
    return `<div id="legend" role="group" aria-label="Show only">${keys.join("")}</div>`;
  }
  const steps = CHANCE_STEPS.map((least, i) => {
    const next = CHANCE_STEPS[i + 1];
    const text = next === undefined ? `${formatChance(least)} or more` : `&lt; ${formatChance(next)}`;
    return `<li><span class="swatch chance-${i}" aria-hidden="true"></span>${text}</li>`;
  });
  return `<div id="legend"><span>Changes in</span><ul>${steps.join("")}</ul><span>of releases</span></div>`;
}

const BAR = 72;

/** All layers, bottom first: there without any script. */
function layersTable({ layers, update }: PlanPageInput): string {
  const largest = Math.max(1, ...layers.map(({ narSize = 0 }) => narSize));
  const heading = [
    '<th scope="col" class="number">Layer</th>',
    '<th scope="col">Holds</th>',
    '<th scope="col" class="number">Size</th>',
    '<td class="bar-cell"></td>',
    '<th scope="col" class="number">Changes</th>',
    '<th scope="col" class="number">Per release</th>',
    ...(update === undefined ? [] : ['<th scope="col">Update</th>']),
    '<th scope="col">Why</th>',
  ];
  const rows = layers.map(({ storePaths, narSize, chanceOfChange, expectedBytes, reason }, i) => {
    const width = Math.round(((narSize ?? 0) / largest) * BAR * 10) / 10;
    const [only] = storePaths;
    const held =
      storePaths.length === 1 && only !== undefined ? nameOf(only) : counted(storePaths.length, "store path");
    const fate = update?.fates[i];
    const swatch = `<span class="swatch fate-${fate === "kept" ? "kept" : "again"}" aria-hidden="true"></span>`;
    const cells = [
      `<th scope="row" class="number">${i + 1}</th>`,
      `<td class="held">${escapeHtml(held)}</td>`,
      `<td class="number">${formatBytes(narSize ?? null)}</td>`,
      `<td class="bar-cell"><svg width="${BAR}" height="8" aria-hidden="true"><rect width="${Math.max(width, 1)}" height="8" rx="2"/></svg></td>`,
      `<td class="number">${formatChance(chanceOfChange)}</td>`,
      `<td class="number">${narSize === undefined ? "unknown" : formatBytes(expectedBytes)}</td>`,
      ...(fate === undefined ? [] : [`<td class="nowrap">${swatch}${fate}</td>`]),
      `<td class="why">${escapeHtml(reason)}</td>`,
    ];
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<table>
<caption class="unseen">Layers, bottom first</caption>
<thead><tr>${heading.join("")}</tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>`;
}
