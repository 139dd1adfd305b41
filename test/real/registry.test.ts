import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { OciNixError } from "../../src/core/errors.js";
import { toJson } from "../../src/core/json.js";
import { formatIndex, MediaType } from "../../src/oci/manifest.js";
import type { OutgoingImage } from "../../src/transport/deliver.js";
import { foresee } from "../../src/transport/foresee.js";
import type { ImageTarget, StoredImage } from "../../src/transport/image.js";
import { openOciLayoutTarget } from "../../src/transport/oci-layout.js";
import { readOciLayout } from "../../src/transport/oci-layout-reader.js";
import { formatLock, lockOf, parseLock } from "../../src/transport/registry/lock.js";
import { parseRegistryName } from "../../src/transport/registry/reference.js";
import { openRegistrySource } from "../../src/transport/registry/source.js";
import { openRegistryTarget, type RegistryTargetOptions } from "../../src/transport/registry/target.js";
import { runCli, startCli } from "../support/cli.js";
import { expectOk, runOk } from "../support/command.js";
import { packTar } from "../support/confs.js";
import { type Fault, type FaultProxy, type Injection, startFaultProxy } from "../support/fault-proxy.js";
import { LayoutFixture } from "../support/layouts.js";
import { deliverAll } from "../support/outgoing.js";
import { REAL_STORE_TOOLS, type RealStore, realStore } from "../support/real-store.js";
import { REGISTRY_TOOLS, startRegistry, type TestRegistry } from "../support/registry.js";
import { documentOf, layersOfStored, noise, type PushedLayer, pushedImage } from "../support/registry-images.js";
import { requireTools } from "../support/tools.js";

const MB = 1 << 20;
const LIMIT_MS = 120_000;

describe.skipIf(requireTools("skopeo", ...REGISTRY_TOOLS))("a registry", { timeout: LIMIT_MS }, () => {
  let registry: TestRegistry;
  /** In front of the registry: one that passes on what happens, and one that behaves as if the registry kept parts. */
  let plain: FaultProxy;
  let keeping: FaultProxy;
  let directory: string;
  let repositories = 0;
  let app: string;

  beforeAll(async () => {
    registry = await startRegistry();
    plain = await startFaultProxy(registry.host);
    keeping = await startFaultProxy(registry.host, { keepsParts: true });
  });
  afterAll(async () => {
    await plain?.stop();
    await keeping?.stop();
    await registry?.stop();
  });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-nix-push-"));
    app = `team/app${++repositories}`;
    plain.reset();
    keeping.reset();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const nameAt = (proxy: { readonly host: string }, rest: string) =>
    parseRegistryName(`${proxy.host}/${rest}`, "the test");
  const targetAt = (proxy: FaultProxy, rest: string, options: RegistryTargetOptions = {}): ImageTarget =>
    openRegistryTarget(nameAt(proxy, rest), options);
  const push = async (
    image: OutgoingImage,
    proxy: FaultProxy,
    rest = `${app}:1`,
    options: RegistryTargetOptions = {},
  ) => {
    const [delivered] = await deliverAll([image], [targetAt(proxy, rest, options)]);
    if (delivered === undefined) throw new Error("one image gives one");
    return delivered;
  };
  const fileOf = (bytes: Buffer): PushedLayer => {
    const file = join(directory, `layer${readdirSync(directory).length}`);
    writeFileSync(file, bytes);
    return { bytes, file };
  };
  /** What another program pulls. */
  const skopeo = async (rest: string) => {
    const to = mkdtempSync(join(directory, "pulled-"));
    const from = `docker://${registry.host}/${rest}`;
    await runOk("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", from, `dir:${to}`]);
    const manifest = readFileSync(join(to, "manifest.json"));
    const layers = (JSON.parse(String(manifest)) as { layers: { digest: string }[] }).layers;
    return { manifest, layers: layers.map(({ digest }) => readFileSync(join(to, digest.slice("sha256:".length)))) };
  };
  /** What is in the registry is what was pushed. */
  const expectThere = async (layers: readonly PushedLayer[], rest = `${app}:1`) => {
    const source = await openRegistrySource(nameAt(registry, rest));
    try {
      const [image] = source.images;
      if (image === undefined) throw new Error("no image");
      const read = await layersOfStored(image);
      expect(read.map((bytes, i) => bytes.equals((layers[i] as PushedLayer).bytes))).toEqual(layers.map(() => true));
    } finally {
      source.close();
    }
  };
  const methods = (proxy: FaultProxy) => proxy.requests.map(({ method }) => method);

  describe("that is pushed to", () => {
    it("has the image that skopeo then pulls, by tag and by digest", async () => {
      const layers = [
        { bytes: noise(3 * MB, "unknown") },
        { bytes: noise(2 * MB, "known"), known: true },
        { bytes: Buffer.from("small") },
        { bytes: Buffer.alloc(0), known: true },
        fileOf(noise(9 * MB, "file")),
      ];
      const { manifest } = await push(pushedImage(layers), plain);
      for (const rest of [`${app}:1`, `${app}@${manifest.digest}`]) {
        const pulled = await skopeo(rest);
        expect(documentOf(MediaType.manifest, String(pulled.manifest)).descriptor).toEqual(manifest);
        expect(pulled.layers.map((bytes, i) => bytes.equals(layers[i]?.bytes as Buffer))).toEqual(
          layers.map(() => true),
        );
      }
      expect(plain.requests.some(({ method, url }) => method === "DELETE" && url.includes("/uploads/"))).toBe(false);
    });

    it("takes an image that it has without one byte and one request but questions", async () => {
      const layers = [
        { bytes: noise(MB, "a"), known: true },
        { bytes: noise(MB, "b"), known: true },
      ];
      await push(pushedImage(layers), plain);
      plain.reset();
      const again = pushedImage(layers);
      await push(again, plain);
      const other = plain.requests.filter(({ method, url }) => method !== "HEAD" && url !== "/v2/");
      expect(other).toEqual([]);
      expect(plain.requests.map(({ sent }) => sent).reduce((a, b) => a + b)).toBe(0);
      expect(again.made).toEqual([]);
    });

    it("takes of a changed image the changed layer and the config", async () => {
      const [lower, upper, other] = ["a", "b", "c"].map((seed) => ({ bytes: noise(MB, seed), known: true }));
      await push(pushedImage([lower as PushedLayer, upper as PushedLayer]), plain);
      plain.reset();
      const image = pushedImage([lower as PushedLayer, other as PushedLayer]);
      const { config } = await push(image, plain, `${app}:2`);
      expect(plain.uploaded()).toBe(MB + config.size);
      expect(image.made).toEqual([1]);
    });

    it("is asked about a layer whose digest turns out to be small and known", async () => {
      await push(pushedImage([{ bytes: Buffer.from("small") }]), plain);
      plain.reset();
      await push(pushedImage([{ bytes: Buffer.from("small") }]), plain);
      expect(methods(plain)).not.toContain("POST");
    });

    it("has an image without a tag by its digest, and refuses another than the digest that it is pushed to", async () => {
      const image = pushedImage([{ bytes: noise(MB, "a") }]);
      const name = { ...nameAt(plain, app), tag: undefined };
      const [delivered] = await deliverAll([image], [openRegistryTarget(name)]);
      const digest = delivered?.manifest.digest as `sha256:${string}`;
      expect(plain.requests.filter(({ method, url }) => method === "PUT" && /manifests/.test(url))).toMatchObject([
        { url: `/v2/${app}/manifests/${digest}` },
      ]);
      await push(image, plain, `${app}@${digest}`);
      await expect(push(pushedImage([{ bytes: noise(MB, "b") }]), plain, `${app}@${digest}`)).rejects.toThrow(
        /the image is sha256:/,
      );
    });

    it("gets several tags for one upload", async () => {
      const layers = [{ bytes: noise(MB, "a") }];
      await push(pushedImage(layers), plain, `${app}:1`, { tags: ["2"] });
      await expectThere(layers, `${app}:2`);
      expect(plain.uploaded()).toBeLessThan(1.1 * MB);
    });

    it("says where blobs are, and takes them from there", async () => {
      const layers = [{ bytes: noise(MB, "mounted"), known: true }];
      const known = new Map<string, string>();
      const locations = {
        repositoriesOf: (host: string, digest: string) => [known.get(`${host} ${digest}`) ?? []].flat(),
        remember: (host: string, digest: string, repository: string) => void known.set(`${host} ${digest}`, repository),
      };
      await push(pushedImage(layers), plain, `${app}:1`, { locations });
      plain.reset();
      const image = pushedImage(layers);
      await push(image, plain, `${app}-2:1`, { locations });
      expect(image.made).toEqual([]);
      expect(plain.uploaded()).toBe(0);
      plain.reset();
      await push(pushedImage(layers), plain, `${app}-3:1`, { mountFrom: ["no/such", app] });
      expect(plain.uploaded()).toBe(0);
      await expectThere(layers, `${app}-3:1`);
    });

    it("that mounts nothing is uploaded to in the session that it opened instead", async () => {
      const layers = [{ bytes: noise(MB, "refused"), known: true }];
      await push(pushedImage(layers), plain);
      plain.reset();
      plain.inject({ method: "POST", path: /mount=/, times: 9, fault: { kind: "no-mount" } });
      await push(pushedImage(layers), plain, `${app}-2:1`, { mountFrom: [app] });
      // One for the layer, one for the config.
      expect(methods(plain).filter((method) => method === "POST")).toHaveLength(2);
      await expectThere(layers, `${app}-2:1`);
    });

    it("that knows no mounts, as some say with an error, is uploaded to", async () => {
      const layers = [{ bytes: noise(MB, "refused"), known: true }];
      plain.inject({ method: "POST", path: /mount=/, times: 9, fault: { kind: "answer", status: 405 } });
      await push(pushedImage(layers), plain);
      await expectThere(layers);
    });
  });

  describe("two repositories of which get an image", () => {
    const layers = () => [
      { bytes: noise(9 * MB, "a") },
      { bytes: noise(3 * MB, "b"), known: true },
      { bytes: Buffer.from("small") },
      fileOf(noise(5 * MB, "c")),
    ];
    const pushTwice = async (image: OutgoingImage) => {
      const targets = [targetAt(plain, `${app}:1`), targetAt(plain, `${app}-b:1`)];
      const fates = await foresee([image], targets);
      await deliverAll([image], targets);
      return fates[0]?.map(({ fates }) => fates);
    };

    it("is sent it once, and gives it from the one to the other", async () => {
      const pushed = layers();
      const image = pushedImage(pushed);
      expect(await pushTwice(image)).toEqual(pushed.map(() => ["uploads", "mounts"]));
      expect(image.made).toEqual([0, 1, 2]);
      expect(plain.uploaded()).toBeLessThan(17.1 * MB);
      for (const rest of [`${app}:1`, `${app}-b:1`]) await expectThere(pushed, rest);
    });

    it("is sent nothing but questions where the first has it already", async () => {
      const pushed = layers().map((layer) => ({ ...layer, known: true }));
      await push(pushedImage(pushed), plain);
      plain.reset();
      const image = pushedImage(pushed);
      expect(await pushTwice(image)).toEqual(pushed.map(() => ["exists", "mounts"]));
      expect(image.made).toEqual([]);
      expect(plain.uploaded()).toBeLessThan(0.1 * MB);
      await expectThere(pushed, `${app}-b:1`);
    });

    it("and that mounts nothing gets the layers made again for the other", async () => {
      const pushed = layers();
      plain.inject({ method: "POST", path: /mount=/, times: 99, fault: { kind: "no-mount" } });
      await pushTwice(pushedImage(pushed));
      expect(plain.uploaded()).toBeGreaterThan(34 * MB);
      for (const rest of [`${app}:1`, `${app}-b:1`]) await expectThere(pushed, rest);
    });

    it("and that loses what it was sent gets it again for both", async () => {
      const pushed = [{ bytes: noise(60 * MB, "long") }, { bytes: noise(MB, "short") }];
      plain.inject({ method: "PATCH", path: /\/uploads\//, fault: { kind: "drop", after: 50 * MB } });
      const image = pushedImage(pushed);
      await pushTwice(image);
      expect(image.made).toEqual([0, 1, 0]);
      expect(plain.uploaded()).toBeLessThan(112 * MB);
      for (const rest of [`${app}:1`, `${app}-b:1`]) await expectThere(pushed, rest);
    });

    it("fails for both where one cannot be written to", async () => {
      plain.inject({
        method: "POST",
        path: new RegExp(`${app}/blobs/uploads`),
        times: 99,
        fault: { kind: "answer", status: 403 },
      });
      await expect(pushTwice(pushedImage(layers()))).rejects.toMatchObject({ code: "denied" });
    });
  });

  const uploads: Injection["path"] = /\/uploads\//;

  describe("whose connection breaks", () => {
    it.each<[string, PushedLayer, Fault]>([
      ["the one request of a known blob", { bytes: noise(20 * MB, "a"), known: true }, { kind: "cut", after: 15 * MB }],
      ["the stream of an unknown blob", { bytes: noise(60 * MB, "b") }, { kind: "cut", after: 50 * MB }],
    ])("gets the rest of %s in chunks", async (_, layer, fault) => {
      const method = layer.known === true ? "PUT" : "PATCH";
      keeping.inject({ method, path: uploads, fault });
      const image = pushedImage([layer]);
      await push(image, keeping);
      expect(image.made).toEqual([0]);
      expect(keeping.uploaded()).toBeLessThan(layer.bytes.length * 1.2);
      await expectThere([layer]);
    });

    it("gets a file from where it broke, and the next chunk again where that broke", async () => {
      const layer = fileOf(noise(50 * MB, "file"));
      keeping.inject(
        { method: "PUT", path: uploads, fault: { kind: "drop", after: 10 * MB } },
        { method: "PATCH", path: uploads, times: 3, fault: { kind: "cut", after: 5 * MB } },
        { method: "PATCH", path: uploads, times: 2, fault: { kind: "silence" } },
      );
      await push(pushedImage([layer]), keeping);
      await expectThere([layer]);
    });

    it("gets chunks of the size that it wants", async () => {
      const min = 12 * MB;
      const layer = { bytes: noise(60 * MB, "chunks") };
      keeping.inject(
        { method: "POST", times: 9, fault: { kind: "headers", headers: { "OCI-Chunk-Min-Length": String(min) } } },
        { method: "PATCH", fault: { kind: "cut", after: 9 * MB } },
      );
      await push(pushedImage([layer]), keeping);
      const spans = keeping.requests.flatMap(({ method, headers }) =>
        method === "PATCH" && headers["content-range"] !== undefined ? [String(headers["content-range"])] : [],
      );
      const sizes = spans.map(
        (span) =>
          1 -
          span
            .split("-")
            .map(Number)
            .reduce((a, b) => a - b),
      );
      expect(sizes.length).toBeGreaterThan(2);
      expect(sizes.slice(0, -1).every((size) => size >= min)).toBe(true);
      await expectThere([layer]);
    });

    it("and that forgets what arrived gets all of it again, from memory or a file", async () => {
      const layers = [
        { bytes: noise(20 * MB, "a") },
        { bytes: noise(20 * MB, "b"), known: true },
        fileOf(noise(20 * MB, "c")),
      ];
      plain.inject(
        { method: "PUT", path: uploads, times: 2, fault: { kind: "drop", after: 10 * MB } },
        { method: "PATCH", path: uploads, times: 1, fault: { kind: "drop", after: 10 * MB } },
      );
      const image = pushedImage(layers);
      await push(image, plain);
      expect(image.made).toEqual([0, 1]);
      await expectThere(layers);
    });

    it("and that forgets more than is in memory gets a layer that is made once more", async () => {
      const layers = [{ bytes: noise(60 * MB, "long") }, { bytes: noise(2 * MB, "short") }];
      plain.inject({ method: "PATCH", path: uploads, fault: { kind: "drop", after: 50 * MB } });
      const image = pushedImage(layers);
      await push(image, plain);
      expect(image.made).toEqual([0, 1, 0]);
      await expectThere(layers);
    });

    it("costs another target nothing", async () => {
      const layers = [{ bytes: noise(60 * MB, "long") }, { bytes: noise(MB, "short") }];
      plain.inject({ method: "PATCH", path: uploads, fault: { kind: "drop", after: 50 * MB } });
      const image = pushedImage(layers);
      const layout = openOciLayoutTarget(join(directory, "layout"), "1");
      const [delivered] = await deliverAll([image], [layout, targetAt(plain, `${app}:1`)]);
      expect(image.made).toEqual([0, 1, 0]);
      expect(delivered?.written).toEqual([0, 1]);
      await expectThere(layers);
      const { images } = await readOciLayout(join(directory, "layout"), { tag: "1" });
      const read = await layersOfStored(images[0] as StoredImage);
      expect(read.map((bytes, i) => bytes.equals((layers[i] as PushedLayer).bytes))).toEqual([true, true]);
    });

    it("again and again is given up, and tells so", async () => {
      const layers = [{ bytes: noise(60 * MB, "long") }];
      plain.inject({ path: uploads, method: "PATCH", times: 99, fault: { kind: "drop", after: 50 * MB } });
      plain.inject({ path: uploads, method: "PUT", times: 99, fault: { kind: "drop", after: 50 * MB } });
      await expect(push(pushedImage(layers), plain)).rejects.toMatchObject({ code: "unavailable" });
    });
  });

  describe("that answers amiss", () => {
    const layers = () => [{ bytes: noise(5 * MB, "a") }, { bytes: noise(5 * MB, "b"), known: true }];

    it.each<[string, Injection]>([
      ["429", { method: "PATCH", fault: { kind: "answer", status: 429, headers: { "Retry-After": "1" } } }],
      [
        "429 to the first request",
        { method: "POST", fault: { kind: "answer", status: 429, headers: { "Retry-After": "1" } } },
      ],
      ["500", { method: "PUT", path: uploads, times: 3, fault: { kind: "answer", status: 500 } }],
      ["503 to a status", { method: "GET", fault: { kind: "answer", status: 503 } }],
      ["401 amid an upload", { method: "PATCH", fault: { kind: "answer", status: 401 } }],
      ["404 to a Location", { method: "PATCH", fault: { kind: "answer", status: 404 } }],
      ["413 to a large request", { method: "PUT", path: uploads, fault: { kind: "answer", status: 413 } }],
      ["with an old Location", { method: "PATCH", fault: { kind: "stale" } }],
      ["nothing, though all is there", { method: "PUT", path: uploads, times: 2, fault: { kind: "silence" } }],
      ["late", { path: uploads, times: 3, fault: { kind: "slow", ms: 300 } }],
    ])("%s gets the image all the same", async (_, injection) => {
      plain.inject(injection);
      await push(pushedImage(layers()), plain);
      await expectThere(layers());
    });

    it.each<[string, Injection, string, RegExp]>([
      [
        "who may not write there",
        {
          method: "POST",
          times: 9,
          fault: { kind: "answer", status: 403, body: '{"errors":[{"code":"DENIED","message":"not yours"}]}' },
        },
        "denied",
        /cannot upload to \S+team\/app\d+: the registry answered 403: .*not yours \(DENIED\)/,
      ],
      [
        "who has no credentials",
        { times: 99, fault: { kind: "answer", status: 401, headers: { "WWW-Authenticate": 'Basic realm="x"' } } },
        "denied",
        /the registry answered 401/,
      ],
      ["what is too large", { method: "PATCH", times: 9, fault: { kind: "answer", status: 413 } }, "limit", /413/],
      [
        "what was changed on the way",
        { method: "PUT", path: uploads, times: 9, fault: { kind: "corrupt" } },
        "verification",
        /DIGEST_INVALID/,
      ],
      [
        "a manifest that it does not like",
        {
          method: "PUT",
          path: /manifests/,
          times: 9,
          fault: {
            kind: "answer",
            status: 400,
            body: '{"errors":[{"code":"MANIFEST_INVALID","message":"no \\u001b[31mzstd"}]}',
          },
        },
        "output",
        /cannot write the manifest \S+:1: the registry answered 400: no {1,2}\[31mzstd \(MANIFEST_INVALID\)/,
      ],
    ])("refuses %s, and says so", async (_, injection, code, message) => {
      plain.inject(injection);
      const failure = await push(pushedImage(layers()), plain).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(OciNixError);
      expect(failure).toMatchObject({ code, message: expect.stringMatching(message) });
    });

    it("refuses a file that is not what it should be, which is named", async () => {
      const layer = fileOf(noise(5 * MB, "damaged"));
      writeFileSync(layer.file as string, noise(5 * MB, "other"));
      await expect(push(pushedImage([layer]), plain)).rejects.toMatchObject({
        code: "verification",
        hint: `run it again; where that does not help, ${layer.file} is damaged: remove it`,
      });
    });

    it("is left alone at once when the push is interrupted, which says what is there already", async () => {
      const controller = new AbortController();
      plain.inject({ method: "PATCH", fault: { kind: "slow", ms: 20_000 } });
      const image = pushedImage([{ bytes: noise(2 * MB, "first"), known: true }, { bytes: noise(90 * MB, "second") }]);
      const pushing = push(image, plain, `${app}:1`, { signal: controller.signal });
      const timer = setInterval(() => {
        if (
          methods(plain).includes("PATCH") &&
          plain.requests.some(({ method, status }) => method === "PUT" && status === 201)
        ) {
          clearInterval(timer);
          // The proxy has the answer before the client has.
          setTimeout(() => controller.abort(new OciNixError("interrupted", "stop")), 500);
        }
      }, 50);
      const failure = await pushing.catch((error: unknown) => error);
      clearInterval(timer);
      expect(failure).toMatchObject({
        code: "interrupted",
        message: `stop (one blob is at ${plain.host}/${app} already and need not be sent again)`,
      });
      expect(methods(plain)).toContain("DELETE");
    });
  });

  it("is told of by an interrupted command: what is there already", async () => {
    const fixture = new LayoutFixture();
    const tars = await Promise.all(["a", "b"].map((text) => packTar([[text, text.repeat(5 * MB)]])));
    fixture.add(fixture.image({ layers: tars.map((tar) => ({ tar })) }), "1");
    const layout = fixture.write(join(directory, "layout"));
    plain.inject({ method: "PUT", path: uploads, fault: { kind: "slow", ms: 30_000 } });
    const running = startCli(["copy", `oci:${layout}:1`, `docker://${plain.host}/${app}:1`]);
    const isHalfDone = () => {
      const puts = plain.requests.filter(({ method }) => method === "PUT");
      return puts.length === 2 && puts.some(({ status }) => status === 201);
    };
    await vi.waitUntil(isHalfDone, { timeout: 20_000 });
    running.child.kill("SIGINT");
    const { status, stderr } = await running.ended;
    expect(status).toBe(130);
    expect(stderr).toContain(
      `interrupted by SIGINT (one blob is at ${plain.host}/${app} already and need not be sent again)`,
    );
    expect(methods(plain)).toContain("DELETE");
  });

  it("gets right or refuses whatever goes wrong", async () => {
    const fault: fc.Arbitrary<Fault> = fc.oneof(
      fc.record({
        kind: fc.constant("answer" as const),
        status: fc.constantFrom(401, 404, 408, 416, 429, 500, 502, 503),
      }),
      fc.record({
        kind: fc.constantFrom("drop" as const, "cut" as const),
        after: fc.integer({ min: 0, max: 12 * MB }),
      }),
      fc.constantFrom<Fault>({ kind: "silence" }, { kind: "stale" }, { kind: "corrupt" }, { kind: "slow", ms: 50 }),
    );
    const injection = fc.record({
      method: fc.constantFrom("HEAD", "POST", "PUT", "PATCH", "GET"),
      times: fc.integer({ min: 1, max: 3 }),
      fault,
    });
    const injections = fc.array(injection, { minLength: 1, maxLength: 4 });
    const outcomes = { right: 0, refused: 0 };
    let run = 0;
    await fc.assert(
      fc.asyncProperty(injections, fc.boolean(), fc.boolean(), async (injections, keeps, isTwice) => {
        const proxy = keeps ? keeping : plain;
        proxy.reset();
        proxy.inject(...injections.filter((each) => keeps || each.fault.kind !== "cut"));
        const seed = `random ${++run} `;
        const layers = [
          { bytes: noise(10 * MB, `${seed}a`) },
          { bytes: noise(3 * MB, `${seed}b`), known: true },
          fileOf(noise(11 * MB, `${seed}c`)),
          { bytes: Buffer.from(seed) },
        ];
        const places = [`${app}-${run}:1`, ...(isTwice ? [`${app}-${run}-b:1`] : [])];
        try {
          await deliverAll(
            [pushedImage(layers)],
            places.map((rest) => targetAt(proxy, rest)),
          );
        } catch (error) {
          expect(error).toBeInstanceOf(OciNixError);
          outcomes.refused++;
          return;
        }
        proxy.reset();
        for (const rest of places) await expectThere(layers, rest);
        outcomes.right++;
      }),
      { numRuns: 25 },
    );
    expect(outcomes.right).toBeGreaterThan(5);
  });

  describe("that is read", () => {
    const layers = [{ bytes: noise(5 * MB, "read a") }, { bytes: noise(2 * MB, "read b") }];
    const read = async (
      proxy: { readonly host: string },
      rest: string,
      options: Parameters<typeof openRegistrySource>[1] = {},
    ) => {
      const source = await openRegistrySource(nameAt(proxy, rest), options);
      try {
        const [image] = source.images;
        if (image === undefined) throw new Error("no image");
        return { image, layers: await layersOfStored(image) };
      } finally {
        source.close();
      }
    };
    /** Puts a document where images' manifests are. */
    const put = async (rest: string, mediaType: string, text: string) => {
      const response = await fetch(`http://${registry.host}/v2/${rest.replace(":", "/manifests/")}`, {
        method: "PUT",
        headers: { "Content-Type": mediaType },
        body: text,
      });
      expect([response.status, await response.text()]).toEqual([201, ""]);
    };

    it("gives the image that is pushed, by tag and by digest", async () => {
      const { manifest, config } = await push(pushedImage(layers), plain);
      for (const rest of [`${app}:1`, `${app}@${manifest.digest}`, `${app}:1@${manifest.digest}`]) {
        const { image, layers: bytes } = await read(plain, rest);
        expect(image.manifest?.descriptor).toEqual(manifest);
        expect(image.config.descriptor).toEqual(config);
        expect(bytes.every((each, i) => each.equals(layers[i]?.bytes as Buffer))).toBe(true);
      }
    });

    it("goes on where a blob broke off, and is believed only where the digest is right", async () => {
      await push(pushedImage(layers), plain);
      plain.inject({ method: "GET", path: /blobs/, fault: { kind: "slow", ms: 1 } });
      plain.inject({ method: "GET", path: /blobs/, times: 3, fault: { kind: "truncate", after: MB } });
      const { layers: bytes } = await read(plain, `${app}:1`);
      expect(bytes.every((each, i) => each.equals(layers[i]?.bytes as Buffer))).toBe(true);
      expect(plain.requests.filter(({ headers }) => headers.range !== undefined).length).toBeGreaterThan(1);
      plain.inject({ method: "GET", path: /blobs/, fault: { kind: "slow", ms: 1 } });
      plain.inject({ method: "GET", path: /blobs/, fault: { kind: "answer", status: 200, body: "x".repeat(5 * MB) } });
      await expect(read(plain, `${app}:1`)).rejects.toThrow(/arrived as sha256:/);
    });

    it("gives the image of a platform from an index, from one within it as well", async () => {
      const entries = [];
      for (const architecture of ["amd64", "arm64"]) {
        const platform = { os: "linux", architecture };
        const { manifest } = await push(pushedImage(layers, platform), plain, `${app}:${architecture}`);
        entries.push({ ...manifest, platform });
      }
      const inner = formatIndex(entries.slice(1).map(toJson));
      await put(`${app}:inner`, MediaType.index, inner);
      await put(
        `${app}:all`,
        MediaType.index,
        formatIndex([entries[0], documentOf(MediaType.index, inner).descriptor].map(toJson)),
      );
      const platform = { os: "linux", architecture: "arm64", variant: undefined };
      const { image } = await read(plain, `${app}:all`, { platform });
      expect(image.manifest?.descriptor.digest).toBe(entries[1]?.digest);
      await expect(read(plain, `${app}:all`)).rejects.toMatchObject({
        code: "usage",
        message: expect.stringContaining("is for several platforms: linux/amd64, linux/arm64"),
      });
      await expect(
        read(plain, `${app}:all`, { platform: { ...platform, architecture: "s390x" } }),
      ).rejects.toMatchObject({
        code: "not-found",
        hint: "it is for linux/amd64, linux/arm64",
      });
      await expect(read(plain, `${app}:arm64`, { platform: { ...platform, architecture: "amd64" } })).rejects.toThrow(
        "is not there for linux/amd64",
      );
    });

    it("gives images of Docker's own kind", async () => {
      await push(pushedImage(layers), plain);
      const [from, to] = [`docker://${registry.host}/${app}:1`, `docker://${registry.host}/${app}:docker`];
      await runOk("skopeo", [
        "copy",
        "--insecure-policy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--format=v2s2",
        from,
        to,
      ]);
      const { image } = await read(plain, `${app}:docker`);
      expect(image.manifest?.descriptor.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
      expect(image.layers.map(({ compression }) => compression)).toEqual(["none", "none"]);
    });

    it("gives what a lock file says, though the tag went on, and nothing else", async () => {
      const { manifest } = await push(pushedImage(layers), plain);
      const name = nameAt(plain, `${app}:1`);
      const { image } = await read(plain, `${app}:1`);
      const text = formatLock(lockOf(image, name));
      const lock = parseLock(text, "the lock file");
      expect(formatLock(lock)).toBe(text);
      expect(JSON.parse(text)).toMatchObject({ tag: "1", digest: manifest.digest, platform: "linux/amd64" });
      await push(pushedImage([layers[1] as PushedLayer]), plain);
      expect((await read(plain, `${app}:1`, { lock })).image.manifest?.descriptor).toEqual(manifest);
      await expect(read(plain, `${app}:2`, { lock })).rejects.toMatchObject({ code: "conflict" });
      await expect(
        read(plain, `${app}:1`, { lock: { ...lock, digest: `sha256:${"0".repeat(64)}` } }),
      ).rejects.toMatchObject({ code: "not-found", message: expect.stringContaining("MANIFEST_UNKNOWN") });
    });

    it.each<[string, Injection["fault"], string, RegExp]>([
      [
        "that is another",
        { kind: "answer", status: 200, body: "{}", headers: { "Docker-Content-Digest": `sha256:${"0".repeat(64)}` } },
        "verification",
        /arrived as sha256:/,
      ],
      [
        "of schema 1",
        { kind: "answer", status: 200, body: '{"schemaVersion":1,"fsLayers":[]}' },
        "unsupported",
        /schema 1/,
      ],
      [
        "that is none",
        { kind: "answer", status: 200, body: "<html>", headers: { "Content-Type": "text/html" } },
        "invalid-input",
        /not valid JSON/,
      ],
      ["that is endless", { kind: "answer", status: 200, body: " ".repeat(21 * MB) }, "limit", /longer than/],
    ])("refuses a manifest %s", async (_, fault, code, message) => {
      plain.inject({ method: "GET", path: /manifests/, fault });
      await expect(read(plain, `${app}:1`)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    });

    it("says what is not there", async () => {
      await expect(read(plain, "no/such:1")).rejects.toMatchObject({
        code: "not-found",
        message: expect.stringMatching(
          /cannot read the manifest \S+no\/such:1: the registry answered 404.*MANIFEST_UNKNOWN/,
        ),
      });
    });
  });
});

describe.skipIf(requireTools("skopeo", ...REGISTRY_TOOLS, ...REAL_STORE_TOOLS))(
  "a real closure at a registry",
  { timeout: 600_000 },
  () => {
    let store: RealStore;
    let registry: TestRegistry;
    let proxy: FaultProxy;
    let directory: string;

    beforeAll(async () => {
      store = await realStore("small");
      registry = await startRegistry();
      proxy = await startFaultProxy(registry.host);
      directory = mkdtempSync(join(tmpdir(), "oci-nix-push-"));
    }, 600_000);
    afterAll(async () => {
      await proxy?.stop();
      await registry?.stop();
      rmSync(directory, { recursive: true, force: true });
    });

    const build = async (roots: readonly string[], ...flags: readonly string[]) => {
      proxy.reset();
      const args = [
        ...roots,
        "--store-root",
        store.storeRoot,
        "--max-layers",
        "125",
        "--compression",
        "zstd:1",
        "--json",
      ];
      const built = expectOk(await runCli(["build", ...args, ...flags], { timeoutMs: 300_000 }), "build");
      return JSON.parse(built.stderr) as {
        manifest: string;
        layers: { digest: string; size: number; written: boolean }[];
      };
    };

    it("gets of a changed image what changed, of an unchanged one nothing, and gives what was built", async () => {
      const to = ["--to", `docker://${proxy.host}/app:1`];
      const leaf = store.packages["busybox-static"] as string;
      const others = store.roots.filter((root) => root !== leaf);
      const first = await build(others, ...to);
      expect(first.layers.length).toBeGreaterThan(90);
      const all = proxy.uploaded();
      expect(all).toBeGreaterThan(10 * MB);

      const second = await build([...others, leaf], ...to);
      const fresh = second.layers.filter(({ digest }) => !first.layers.some((layer) => layer.digest === digest));
      expect(fresh).toHaveLength(1);
      expect(second.layers.filter(({ written }) => written)).toEqual(fresh);
      const bodies = proxy.requests.filter(({ url, sent }) => url.includes("/blobs/") && sent > 0);
      expect(bodies).toHaveLength(2);
      const config = proxy.uploaded() - (fresh[0]?.size ?? 0);
      expect(config).toBeGreaterThan(0);
      expect(config).toBeLessThan(64 * 1024);

      const third = await build([...others, leaf], ...to);
      expect(third.manifest).toBe(second.manifest);
      expect(proxy.requests.filter(({ method, url }) => method !== "HEAD" && url !== "/v2/")).toEqual([]);

      const layout = await build([...others, leaf], "--to", `oci:${join(directory, "layout")}:1`);
      expect(layout.manifest).toBe(second.manifest);
      const pulled = join(directory, "pulled");
      const from = `docker://${registry.host}/app:1`;
      await runOk("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", from, `dir:${pulled}`]);
      for (const { digest } of second.layers) {
        const hex = digest.slice("sha256:".length);
        expect(
          readFileSync(join(pulled, hex)).equals(readFileSync(join(directory, "layout", "blobs", "sha256", hex))),
        ).toBe(true);
      }
      const copied = join(directory, "copied");
      const copy = await runCli(["copy", `docker://${registry.host}/app:1`, `oci:${copied}:1`], { timeoutMs: 300_000 });
      expect(String(expectOk(copy, "copy").stdout)).toBe(`${second.manifest}\n`);
      const again = await runCli(["copy", `oci:${copied}:1`, `docker://${proxy.host}/other/app:2`], {
        timeoutMs: 300_000,
      });
      expect(String(expectOk(again, "copy").stdout)).toBe(`${second.manifest}\n`);
    });
  },
);
