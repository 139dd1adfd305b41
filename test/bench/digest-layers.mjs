#!/usr/bin/env node
// Computes the digests of an image's layers and writes nothing: the part of the work that `oci-nix stream` and everything else
// share. For benchmarks.
//
//   digest-layers SPEC.json     prints one digest a line, bottom layer first
//   digest-layers --how         prints which function of the library is measured

import { readFileSync } from "node:fs";
import * as library from "../../dist/index.js";

/** @type {Record<string, any>} whatever this build exports */
const api = library;

const HOW = typeof api.digestLayers === "function" ? "digestLayers" : "streamPlannedImage to the null sink";

const [file] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: digest-layers SPEC.json | --how\n");
  process.exitCode = 2;
} else if (file === "--how") {
  process.stdout.write(`${HOW}\n`);
} else {
  const spec = api.checkSpec(api.parseJson(readFileSync(file, "utf8"), file), file);
  const plan = await api.planImage(spec);
  for (const digest of await digestsOf(plan)) process.stdout.write(`${digest}\n`);
}

/**
 * The one place that knows the library's function.
 *
 * @param {any} plan @returns {Promise<string[]>}
 */
async function digestsOf(plan) {
  if (typeof api.digestLayers === "function") {
    /** @type {any[]} */
    const layers = await api.digestLayers(plan);
    return layers.map((layer) => (typeof layer === "string" ? layer : (layer.diffId ?? layer.digest)));
  }
  const { layers } = await api.streamPlannedImage(plan, api.nullSink);
  return layers.map((/** @type {{ diffId: string }} */ layer) => layer.diffId);
}
