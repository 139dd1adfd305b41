import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parseRecord } from "../../../src/build/customisation/commands/fakeroot-record.js";
import { DOCKERTOOLS_FUNCTIONS, translateDockertoolsArguments } from "../../../src/build/dockertools/arguments.js";
import { isDockertoolsConf, planDockertoolsImage } from "../../../src/build/dockertools/conf.js";
import { recogniseInput } from "../../../src/build/input.js";
import { recordedLayers } from "../../../src/build/recorded-store-paths.js";
import { checkSpec, isSpec } from "../../../src/build/spec/spec.js";
import { openDigestCache } from "../../../src/cache/digest-cache.js";
import { importCache } from "../../../src/cache/exchange.js";
import { parseByteSize } from "../../../src/core/byte-size.js";
import { createDecompressor } from "../../../src/core/compression.js";
import { type Digest, parseDigest } from "../../../src/core/digest.js";
import { formatGoJson } from "../../../src/core/go-json.js";
import { formatJson, formatPythonJson, isJsonObject, parseJson } from "../../../src/core/json.js";
import { compileRegex } from "../../../src/core/regex.js";
import { goTimestamp, parseTimestamp } from "../../../src/core/timestamp.js";
import { checkDiskSpec } from "../../../src/disk/check-disk-spec.js";
import { entryPath, whiteoutOf } from "../../../src/examine/entry-path.js";
import { exportImage } from "../../../src/examine/export.js";
import { inspectImages } from "../../../src/examine/inspect.js";
import { validateImages } from "../../../src/examine/validate.js";
import { parsePipeline } from "../../../src/layers/pipeline/parse.js";
import { parseDerivation } from "../../../src/nix/derivation.js";
import { readLocalClosure } from "../../../src/nix/local-database.js";
import { parseClosure } from "../../../src/nix/read-closure.js";
import { findStorePath, parseStorePath, storePathsNamedIn } from "../../../src/nix/store-path.js";
import {
  checkContainerConfig,
  checkGoContainerConfig,
  containerConfigProblems,
} from "../../../src/oci/container-config.js";
import { parseStorePathsComment } from "../../../src/oci/image.js";
import { inheritConfig } from "../../../src/oci/inherit-config.js";
import { diffIdsOf, parseManifest } from "../../../src/oci/manifest.js";
import { parsePlatform, parsePlatformObject } from "../../../src/oci/platform.js";
import {
  checkName,
  checkRefName,
  checkTag,
  familiarName,
  fullName,
  parseImageName,
  splitImageName,
} from "../../../src/oci/reference.js";
import { TarEntries } from "../../../src/tar/entries.js";
import { readArchive } from "../../../src/transport/archive-reader.js";
import { dockerHost } from "../../../src/transport/docker-daemon/host.js";
import {
  formatNix2containerImage,
  isNix2containerImage,
  parseHistory,
  parseNix2containerImage,
  parseNix2containerLayers,
  parsePerms,
  parseRewrites,
} from "../../../src/transport/nix2container.js";
import { imageFromManifest } from "../../../src/transport/nix2container-pulled.js";
import { readOciLayout } from "../../../src/transport/oci-layout-reader.js";
import { parseChallenges } from "../../../src/transport/registry/challenge.js";
import { SYSTEM_CLOCK } from "../../../src/transport/registry/clock.js";
import { findCredential } from "../../../src/transport/registry/credentials.js";
import { parseLock } from "../../../src/transport/registry/lock.js";
import { proxyFor } from "../../../src/transport/registry/proxy.js";
import { parseRegistryName } from "../../../src/transport/registry/reference.js";
import { parseRetryAfter } from "../../../src/transport/registry/retry.js";
import { parseDocument } from "../../../src/transport/stored-files.js";
import { parseTransport } from "../../../src/transport/transport.js";
import { PROJECT } from "../cli.js";
import { hexSha256, packTar } from "../confs.js";
import { type HostileInputs, hostileBytes, hostileJson, hostileText } from "./mutations.js";
import { cacheDatabase, layoutIn, seedArchives, seedDatabase, seedLayers } from "./seeds.js";

/** Something that takes what others wrote. */
export interface HostileParser extends HostileInputs {
  /** What it takes, in words. */
  readonly title: string;
  /** Of a thousand cases that others get, how many this one gets: those that read files are slow. */
  readonly share: number;
  run(bytes: Buffer): unknown;
}

const testdata = (name: string) => readFileSync(join(PROJECT, "testdata", name));
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const D: Digest = `sha256:${"ab".repeat(32)}`;
const A = "/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-greeting-translations-1.0";
const B = "/nix/store/ihlffjdbh63dzhp7sm3pvv93cmrwbi0g-greeting-environment-1.0";

/** All of them. Files are made below a directory that {@link HostileParsers.close} removes. */
export interface HostileParsers {
  readonly parsers: readonly HostileParser[];
  close(): void;
}

export async function hostileParsers(): Promise<HostileParsers> {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-hostile-"));
  const file = (name: string, bytes: Buffer): string => {
    const path = join(directory, name);
    writeFileSync(path, bytes);
    return path;
  };
  const parsers: HostileParser[] = [];
  const add = (title: string, inputs: HostileInputs, run: (bytes: Buffer) => unknown, share = 1000) => {
    parsers.push({ title, ...inputs, share, run });
  };
  const asJson = (run: (value: ReturnType<typeof parseJson>) => unknown) => (bytes: Buffer) =>
    run(parseDocument(bytes, "input"));

  const closures = readdirSync(join(PROJECT, "testdata/closures")).filter((name) => /\.(json|txt)$/.test(name));
  const textClosures = closures.filter((name) => name.endsWith(".txt")).map((name) => testdata(`closures/${name}`));
  const jsonClosures = closures.filter((name) => name.endsWith(".json")).map((name) => testdata(`closures/${name}`));
  const closure = (bytes: Buffer) => parseClosure(bytes.toString("utf8"), { source: "input" });
  add("registrations", hostileBytes(textClosures), closure);
  add("closure graphs, .attrs.json and path-info JSON", hostileJson(jsonClosures), closure);

  add("JSON", hostileJson([...jsonClosures, json({ a: [1, "b", { c: null }] })]), (bytes) => {
    const value = parseJson(bytes.toString("utf8"), "input");
    formatJson(value);
    formatPythonJson(value);
    formatGoJson(value, "\t");
  });
  add(
    "JSON of any bytes",
    hostileBytes(jsonClosures),
    asJson((value) => formatJson(value)),
  );

  const derivation = Buffer.from(
    `Derive([("dev","${B}","",""),("out","${A}","r:sha256","ab")],[("${A}.drv",["dev","out"])],["${B}"],"x86_64-linux","/bin/sh",["-c","true \\"x\\"\\n"],[("PATH","/bin"),("out","${A}")])`,
  );
  const dynamic = Buffer.from(
    `DrvWithVersion("xp-dyn-drv",[("out","","","")],[("${A}.drv",(["out"],[("out",["out"])]))],[],"x86_64-linux","b",[],[])`,
  );
  add("derivations", hostileBytes([derivation, dynamic]), (bytes) =>
    parseDerivation(bytes.toString("latin1"), "/nix/store", "input"),
  );
  add(
    "derivations of pieces",
    hostileText(
      ["Derive(", "DrvWithVersion(", "[", "]", "(", ")", ",", '"', `"${A}"`, '"out"', "\\n"],
      [derivation.toString()],
    ),
    (bytes) => parseDerivation(bytes.toString("latin1"), "/nix/store", "input"),
  );

  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: D, size: 2 },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: D, size: 3, annotations: { a: "b" } }],
    annotations: { a: "b" },
  };
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      {
        ...manifest.config,
        mediaType: manifest.mediaType,
        platform: { os: "linux", architecture: "arm", variant: "v7" },
      },
    ],
  };
  const containerConfig = {
    User: "1000:1000",
    ExposedPorts: { "80/tcp": {} },
    Env: ["PATH=/bin", "A=b"],
    Entrypoint: ["/bin/sh"],
    Cmd: ["-c"],
    Healthcheck: { Test: ["CMD", "true"], Interval: 1, Retries: 3 },
    Volumes: { "/data": {} },
    WorkingDir: "/",
    Labels: { a: "b" },
    StopSignal: "SIGTERM",
    OnBuild: [],
    StopTimeout: 1,
    ArgsEscaped: true,
  };
  const imageConfig = {
    created: "2024-01-31T00:00:00.5Z",
    architecture: "amd64",
    os: "linux",
    config: containerConfig,
    rootfs: { type: "layers", diff_ids: [D] },
    history: [
      {
        created: "2024-01-31T00:00:00Z",
        created_by: "x",
        comment: `store paths: ['${A}', "${B}"]`,
        empty_layer: false,
      },
    ],
  };
  add(
    "manifests and indexes",
    hostileJson([json(manifest), json(index)]),
    asJson((value) => parseManifest(value, undefined, "input")),
  );
  add(
    "image configs",
    hostileJson([json(imageConfig)]),
    asJson((value) => {
      diffIdsOf(value, "input");
      parsePlatformObject(value, "input");
      const inner = isJsonObject(value) ? (value.get("config") ?? null) : null;
      containerConfigProblems(inner, "input");
      inheritConfig(inner, new Map([["Env", ["A=c"]]]), "all", "input");
    }),
  );
  add(
    "container configs",
    hostileJson([json(containerConfig)]),
    asJson((value) => checkContainerConfig(value, "input")),
  );
  add(
    "container configs in Go's way",
    hostileJson([json(containerConfig)]),
    asJson((value) => checkGoContainerConfig(value, "input")),
  );
  add(
    "history comments and annotations",
    hostileText(
      [
        "store paths: [",
        "store paths, moved or changed: [",
        "]",
        "'",
        '"',
        ", ",
        A,
        B,
        "\\x00",
        "-customisation-layer",
      ],
      [`store paths: ['${A}', "${B}"]`],
    ),
    (bytes) => {
      const comment = bytes.toString("utf8");
      parseStorePathsComment(comment);
      const names = { "dev.oci-nix.store-paths": comment, "dev.oci-nix.store-dir": comment };
      recordedLayers([{ comment, size: 1 }, { annotations: names }, { annotations: JSON.parse('{"__proto__":{}}') }]);
    },
  );

  const spec = {
    name: "app",
    tag: "1",
    closure: { roots: [A], storeRoot: "/", storeDir: "/nix/store" },
    config: containerConfig,
    contents: [A],
    files: [{ target: "/etc/x", text: "y", mode: "0644" }],
    helpers: ["fakeNss"],
    created: "now",
    uid: 0,
    architecture: "amd64",
  };
  add(
    "spec files",
    hostileJson([json(spec)]),
    asJson((value) => [isSpec(value), checkSpec(value, "input")]),
  );
  const disk = { closure: spec.closure, diskSize: 2048, contents: [{ source: "/a/*", target: "/b" }] };
  add(
    "disk spec files",
    hostileJson([json(disk)]),
    asJson((value) => checkDiskSpec(value, "input")),
  );
  add(
    "dockerTools' arguments",
    hostileJson([
      json({
        name: "app",
        tag: "1",
        contents: [A],
        config: containerConfig,
        maxLayers: 3,
        created: "now",
        extraCommands: "",
        fakeRootCommands: "",
      }),
    ]),
    asJson((value) => {
      for (const name of DOCKERTOOLS_FUNCTIONS.slice(0, 2)) {
        const { spec: translated } = translateDockertoolsArguments(value, { source: "input", function: name });
        checkSpec(translated, "input");
      }
    }),
  );
  const conf = {
    from_image: null,
    store_dir: "/nix/store",
    created: "1970-01-01T00:00:01+00:00",
    mtime: "1970-01-01T00:00:01+00:00",
    uid: 0,
    gid: "0",
    uname: "root",
    gname: "root",
    architecture: "amd64",
    repo_tag: "app:1",
    config: containerConfig,
    customisation_layer: A,
    store_layers: [[B]],
  };
  const confStore = join(directory, "conf-store");
  mkdirSync(join(confStore, A), { recursive: true });
  mkdirSync(join(confStore, B));
  writeFileSync(join(confStore, A, "layer.tar"), await packTar([["a", "text"]]));
  writeFileSync(join(confStore, A, "checksum"), hexSha256(readFileSync(join(confStore, A, "layer.tar"))));
  add(
    "dockerTools' conf.json",
    hostileJson([json(conf)]),
    asJson(async (value) => {
      if (!isDockertoolsConf(value)) return;
      const plan = await planDockertoolsImage(value, { source: "input", storeRoot: confStore });
      plan.close();
    }),
  );
  const pipeline = [
    ["subcomponent_out", [A]],
    ["over", "rest", ["pipe", [["split_paths", [B, { children_of: A }]], ["flatten"]]]],
    ["limit_layers", 3],
    ["reorder", ["main"]],
  ];
  add(
    "layering pipelines",
    hostileJson([json(pipeline)]),
    asJson((value) => parsePipeline(value, "input")),
  );

  const perms = [{ path: A, regex: "(a|b)*", mode: "0755", uid: 1, gid: 2, uname: "u", gname: "g" }];
  const rewrites = [{ path: A, regex: "^/(nix)", repl: "$1$" + "{1}$name$$" }];
  const nix2container = {
    version: 1,
    "image-config": containerConfig,
    layers: [
      {
        digest: D,
        size: 1,
        diff_ids: D,
        paths: [
          {
            path: A,
            options: {
              rewrite: { regex: "^/(nix)", repl: "$1" },
              perms: [{ regex: "a*", mode: "0755", uid: 1, gid: 2 }],
            },
          },
        ],
        mediatype: "application/vnd.oci.image.layer.v1.tar",
        History: { created: "2024-01-31T00:00:00.50Z", created_by: "x" },
      },
    ],
    arch: "amd64",
    created: "0001-01-01T00:00:00Z",
  };
  add(
    "nix2container's image files",
    hostileJson([json(nix2container)]),
    asJson((value) => [isNix2containerImage(value), formatNix2containerImage(parseNix2containerImage(value, "input"))]),
  );
  add(
    "nix2container's layers files",
    hostileJson([json(nix2container.layers)]),
    asJson((value) => parseNix2containerLayers(value, "input")),
  );
  add(
    "nix2container's rewrites",
    hostileJson([json(rewrites)]),
    asJson((value) => parseRewrites(value, "input")),
  );
  add(
    "nix2container's permission rules",
    hostileJson([json(perms)]),
    asJson((value) => parsePerms(value, "input")),
  );
  add(
    "nix2container's history",
    hostileJson([json(nix2container.layers[0]?.History)]),
    asJson((value) => parseHistory(value, "input")),
  );
  const blobs = file(
    "blobs.json",
    json({ ["ab".repeat(32)]: file("blob", json({ rootfs: { type: "layers", diff_ids: [D] } })) }),
  );
  add(
    "pulled manifests",
    hostileJson([json(manifest)]),
    (bytes) => imageFromManifest(file("manifest.json", bytes), blobs),
    300,
  );

  add(
    "regular expressions of permission rules and rewrites",
    hostileText(
      [
        "a",
        "b",
        "(",
        ")",
        "*",
        "+",
        "?",
        "|",
        "[",
        "]",
        "{2}",
        "{1000}",
        "^",
        "$",
        ".",
        "\\pL",
        "(?i)",
        "(?P<n>",
        "\\b",
        "[:alpha:]",
        "é",
        "\\C",
      ],
      ["^/(a|b)+[[:alpha:]]*\\b$"],
    ),
    (bytes) => {
      const regex = compileRegex(bytes.toString("utf8"), "input");
      for (const subject of ["", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "\xff\xc3\xa9/nix", `${"a".repeat(2000)}!`]) {
        regex.test(subject);
        regex.replaceAll(subject, "$1$" + "{n}$$$constructor$" + "{__proto__}$99999999999999999999");
      }
    },
  );

  const names = [
    "docker.io",
    "library",
    "app",
    ":",
    "/",
    "@",
    D,
    "latest",
    "localhost",
    ":5000",
    "[::1]",
    "_",
    "__",
    "-",
    ".",
    "A",
    "oci",
    "docker",
    "docker-archive",
    "//",
    "tcp://",
    "unix://",
    "linux/",
    "amd64",
    "~",
    "%41",
    "\\",
  ];
  const text = (run: (value: string) => unknown) => (bytes: Buffer) => run(bytes.toString("utf8"));
  const named = (title: string, valid: string, run: (value: string) => unknown) =>
    add(title, hostileText(names, [valid]), text(run));
  named("image names", "r.example:5000/team/app", (value) => checkName(value, "input"));
  named("image tags", "v1.0_a", (value) => checkTag(value, "input"));
  named("image names with tags", "r.example:5000/team/app:1", (value) => parseImageName(value, "input"));
  named("names in layouts", "r.example/app:1", (value) => checkRefName(value, "input"));
  named("names as engines show them", "docker.io/library/app:1", (value) => [
    splitImageName(value),
    fullName(value),
    familiarName(value),
  ]);
  named("names in registries", "r.example:5000/team/app:1", (value) => parseRegistryName(value, "input"));
  named("places", "docker://r.example/app:1", (value) => parseTransport(value));
  named("platforms", "linux/arm/v7", (value) => parsePlatform(value, "input"));
  named("digests", D, (value) => parseDigest(value, "input"));
  named("engine addresses", "tcp://127.0.0.1:2375", (value) => dockerHost({ DOCKER_HOST: value, HOME: directory }));
  named("proxies", "http://u:p@proxy.example:3128", (value) => [
    proxyFor(new URL("https://a.example"), { HTTPS_PROXY: value }),
    proxyFor(new URL("https://a.example"), { HTTPS_PROXY: "p", NO_PROXY: value }),
  ]);
  add(
    "store paths",
    hostileText(["/nix/store/", A, "/", "-x", "..", "?", "=", "0".repeat(32)], [A]),
    text((value) => {
      findStorePath(value);
      storePathsNamedIn(value, "/nix/store");
      parseStorePath(value);
    }),
  );
  add(
    "times",
    hostileText(["2024", "-01-31", "T", "00:00:00", ".5", "Z", "+01:00", "now", "99"], ["2024-01-31T00:00:00Z"]),
    text((value) => [parseTimestamp(value, "input"), goTimestamp(value, "input")]),
  );
  add(
    "sizes",
    hostileText(["1", "500", ".", "MB", " ", "KiB", "e9"], ["500MB"]),
    text((value) => parseByteSize(value, "input")),
  );
  add("names of entries", hostileText(["a", "/", ".", "..", ".wh.", ".wh..wh..opq", "\\"], ["./a/.wh.b"]), (bytes) => [
    entryPath(bytes.toString("latin1")),
    whiteoutOf(bytes.toString("latin1")),
  ]);

  const docker = {
    auths: {
      "https://index.docker.io/v1/": { auth: "dTpw" },
      "r.example": { username: "u", password: "p", identitytoken: "" },
      "r.example/team": { registrytoken: "t" },
    },
    credHelpers: {},
    credsStore: "",
  };
  add(
    "Docker's config and podman's auth.json",
    hostileJson([json(docker)]),
    async (bytes) => {
      process.env.REGISTRY_AUTH_FILE = file("auth.json", bytes);
      // A helper that a changed document names is not to be found.
      const path = process.env.PATH;
      process.env.PATH = "/nonexistent";
      try {
        await findCredential("r.example", "team/app", { clock: SYSTEM_CLOCK, signal: new AbortController().signal });
      } finally {
        delete process.env.REGISTRY_AUTH_FILE;
        process.env.PATH = path;
      }
    },
    300,
  );
  add(
    "challenges",
    hostileText(
      [
        "Bearer ",
        "Basic ",
        "realm=",
        '"https://a.example/token"',
        "service=",
        "scope=",
        ",",
        "=",
        "==",
        '"',
        "\\",
        "token68AAAA",
      ],
      ['Bearer realm="https://a.example/token",service="r.example",scope="repository:a:pull"'],
    ),
    (bytes) => parseChallenges(bytes.toString("latin1")),
  );
  add(
    "Retry-After",
    hostileText(["1", "Wed, 21 Oct 2026 07:28:00 GMT", "-", "9999999999"], ["Wed, 21 Oct 2026 07:28:00 GMT"]),
    text((value) => parseRetryAfter(value, 0)),
  );
  add(
    "lock files",
    hostileJson([
      json({ name: "r.example/a", tag: "1", requested: D, digest: D, platform: "linux/amd64", manifest: D }),
    ]),
    text((value) => parseLock(value, "input")),
  );
  add(
    "fakeroot's records",
    hostileBytes([Buffer.from("dev=10,ino=1,mode=100644,uid=0,gid=0,nlink=1,rdev=0\n")]),
    text(parseRecord),
  );

  const exported = Buffer.from(
    [
      { format: "oci-nix digests", version: 1, layers: 1, blobs: 1 },
      { layer: D, diffId: D, size: 1, title: "t" },
      { blob: D, codec: "gzip:6", digest: D, size: 1 },
    ]
      .map((line) => JSON.stringify(line))
      .join("\n"),
  );
  add(
    "exported digests",
    hostileBytes([exported]),
    (bytes) => importCache(join(directory, "cache"), bytes.toString("utf8"), "input"),
    100,
  );
  const deepExport = hostileJson([json({ format: "oci-nix digests", version: 1, layers: 0, blobs: 0 })]);
  const deepLines = hostileJson([
    json({ layer: D, diffId: D, size: 1, title: "t" }),
    json({ blob: D, codec: "gzip:6", digest: D, size: 1 }),
  ]);
  const heading = JSON.stringify({ format: "oci-nix digests", version: 1, layers: 1, blobs: 0 });
  add(
    "lines of exported digests",
    deepLines,
    (bytes) => importCache(join(directory, "cache"), `${heading}\n${bytes.toString("utf8")}`, "input"),
    100,
  );
  add(
    "headings of exported digests",
    deepExport,
    (bytes) => importCache(join(directory, "cache"), bytes.toString("utf8"), "input"),
    100,
  );
  add(
    "INPUT",
    hostileJson([json(spec), json(conf), json(nix2container)]),
    (bytes) => recogniseInput([file("input.json", bytes)], "/"),
    300,
  );

  const layers = await seedLayers();
  add(
    "layers",
    hostileBytes(layers),
    (bytes) => {
      const entries = new TarEntries({ open: () => true, close: () => undefined }, "input");
      for (let at = 0; at < bytes.length; at += 1000) entries.write(bytes.subarray(at, at + 1000));
      entries.end();
    },
    2000,
  );
  const packed = layers.map((layer) => gzipSync(layer));
  for (const name of ["gzip", "zstd"] as const) {
    add(
      `${name} data`,
      hostileBytes(
        name === "gzip" ? packed : [Buffer.from("28b52ffd045855000020616263640100238e087fc85dea", "hex"), ...packed],
      ),
      async (bytes) => {
        let size = 0;
        const count = (piece: Uint8Array) => {
          size += piece.length;
        };
        const filter = createDecompressor(name, { write: count }, "input");
        try {
          await filter.write(bytes);
          await filter.end();
        } finally {
          filter.close();
        }
        if (size > 1 << 24) throw new Error(`${size} bytes came out`);
      },
      300,
    );
  }
  const examine = async (source: Awaited<ReturnType<typeof readArchive>>) => {
    try {
      inspectImages(source);
      await validateImages(source);
      for (const image of source.images) await exportImage(image, { write: () => undefined });
    } finally {
      source.close();
    }
  };
  const archives = await seedArchives();
  add("archives", hostileBytes(archives), async (bytes) => examine(await readArchive(file("archive.tar", bytes))), 150);
  add(
    "compressed archives",
    hostileBytes(archives.map((archive) => gzipSync(archive))),
    async (bytes) => examine(await readArchive(file("archive.tar.gz", bytes))),
    50,
  );
  const layout = layoutIn(directory, layers[0] as Buffer);
  const database = seedDatabase(directory);
  add(
    "index.json of layouts",
    hostileJson([layout.index, json(index)]),
    async (bytes) => examine(await readOciLayout(layout.replace(bytes))),
    150,
  );

  add(
    "Nix databases",
    hostileBytes([database.bytes]),
    async (bytes) => {
      database.replace(bytes);
      await readLocalClosure([A], { storeRoot: database.storeRoot });
    },
    300,
  );
  const cached = join(directory, "cache-db");
  const cacheSeed = cacheDatabase(cached);
  add(
    "digest caches",
    hostileBytes([cacheSeed]),
    (bytes) => {
      for (const name of readdirSync(cached)) rmSync(join(cached, name), { recursive: true, force: true });
      writeFileSync(join(cached, "digests.sqlite"), bytes);
      const cache = openDigestCache(cached);
      try {
        cache.layer(D);
        cache.blob(D, "gzip:6");
        cache.repositoriesOf("r.example", D);
      } finally {
        cache.close();
      }
    },
    60,
  );
  return { parsers, close: () => rmSync(directory, { recursive: true, force: true }) };
}
