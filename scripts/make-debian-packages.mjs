// Writes testdata/packages/debian.json: what bench:layers plans. Needs Debian's apt, as root or not, and its archive.
//
// The packages of a few images with everything they depend on, as three releases have them: bookworm, with its security updates, and
// with backports on top. Only facts: names, versions, installed sizes, dependencies.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What each image is asked to hold. */
const IMAGES = {
  web: ["nginx-extras", "openssl", "ca-certificates", "php8.2-fpm", "php8.2-pgsql", "php8.2-gd", "php8.2-intl"],
  django: ["python3-django", "python3-psycopg2", "gunicorn", "python3-pil", "python3-lxml", "python3-redis", "gettext"],
  science: ["python3-scipy", "python3-pandas", "python3-matplotlib", "python3-sklearn"],
  database: ["postgresql-15", "postgresql-15-postgis-3", "pgbouncer"],
  java: ["openjdk-17-jre", "tomcat10", "libpostgresql-jdbc-java"],
  media: ["ffmpeg", "imagemagick", "python3-requests", "libimage-exiftool-perl"],
};

const SUITES = ["bookworm", "bookworm-security", "bookworm-backports"];

const directory = mkdtempSync(join(tmpdir(), "oci-nix-packages-"));
try {
  writeFileSync(
    join(directory, "sources.list"),
    ["debian bookworm", "debian-security bookworm-security", "debian bookworm-backports"]
      .map((line) => `deb http://deb.debian.org/${line} main\n`)
      .join(""),
  );
  const lists = join(directory, "lists");
  mkdirSync(join(lists, "partial"), { recursive: true });
  const settings = [
    `Dir::Etc::sourcelist=${join(directory, "sources.list")}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${lists}`,
    `Dir::Cache=${directory}`,
    "Acquire::GzipIndexes=false",
    "Acquire::Languages=none",
    "APT::Architecture=amd64",
  ];
  execFileSync("apt-get", [...settings.flatMap((setting) => ["-o", setting]), "update"], { stdio: "inherit" });

  const suites = SUITES.map((suite) => {
    const file = readdirSync(lists).find(
      (name) => name.includes(`_dists_${suite}_main_`) && name.endsWith("_Packages"),
    );
    return readPackages(readFileSync(join(lists, file), "utf8"));
  });
  // Backports are installed only where they are asked for: here of a few packages that images take from there.
  const wanted = (name, i) =>
    i < 2 || /^(postgresql|libpq|pgbouncer|python3-django|ffmpeg|libav|libsw|nginx|libnginx|curl|libcurl)/.test(name);
  const releases = suites.map((_, i) =>
    newest(suites.slice(0, i + 1).map((suite, j) => new Map([...suite].filter(([name]) => wanted(name, j))))),
  );
  const document = {
    images: IMAGES,
    releases: Object.fromEntries(
      SUITES.map((suite, i) => [suite, closureOf(releases[i], Object.values(IMAGES).flat())]),
    ),
  };
  const file = fileURLToPath(new URL("../testdata/packages/debian.json", import.meta.url));
  mkdirSync(fileURLToPath(new URL("../testdata/packages/", import.meta.url)), { recursive: true });
  writeFileSync(file, `${formatReleases(document)}\n`);
  for (const [name, packages] of Object.entries(document.releases)) console.log(name, Object.keys(packages).length);
} finally {
  rmSync(directory, { recursive: true });
}

/** One package a line. */
function formatReleases({ images, releases }) {
  const body = Object.entries(releases).map(([name, packages]) => {
    const lines = Object.entries(packages).map(([key, value]) => `   ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
    return `  ${JSON.stringify(name)}: {\n${lines.join(",\n")}\n  }`;
  });
  return `{\n "images": ${JSON.stringify(images)},\n "releases": {\n${body.join(",\n")}\n }\n}`;
}

function readPackages(text) {
  const packages = new Map();
  for (const paragraph of text.split("\n\n")) {
    const fields = new Map(
      paragraph.split("\n").flatMap((line) => {
        const match = /^([A-Za-z-]+): (.*)$/.exec(line);
        return match === null ? [] : [[match[1], match[2]]];
      }),
    );
    const name = fields.get("Package");
    if (name === undefined || packages.has(name)) continue;
    packages.set(name, {
      version: fields.get("Version"),
      size: Number(fields.get("Installed-Size") ?? 0) * 1024,
      depends: [fields.get("Pre-Depends"), fields.get("Depends")].filter(Boolean).flatMap((list) => list.split(", ")),
      provides: (fields.get("Provides") ?? "")
        .split(", ")
        .map((item) => item.split(" ", 1)[0])
        .filter(Boolean),
    });
  }
  return packages;
}

/** The newest version of each package. */
function newest([first, ...later]) {
  const packages = new Map(first);
  for (const suite of later) {
    for (const [name, candidate] of suite) {
      const known = packages.get(name);
      const isNewer =
        known === undefined ||
        spawnSync("dpkg", ["--compare-versions", candidate.version, "gt", known.version]).status === 0;
      if (isNewer) packages.set(name, candidate);
    }
  }
  return packages;
}

/** Everything the roots depend on; of alternatives the first that there is. */
function closureOf(packages, roots) {
  const providers = new Map();
  for (const name of [...packages.keys()].sort()) {
    for (const virtual of packages.get(name).provides) if (!providers.has(virtual)) providers.set(virtual, name);
  }
  const found = new Map();
  const visit = (name) => {
    if (found.has(name)) return;
    const { version, size, depends } = packages.get(name);
    const names = depends.flatMap((alternatives) => {
      const plain = alternatives.split("|").map((item) => item.trim().split(/[ :(]/, 1)[0]);
      return (
        plain.find((candidate) => packages.has(candidate)) ??
        plain.map((candidate) => providers.get(candidate)).find(Boolean) ??
        []
      );
    });
    const unique = [...new Set(names)].filter((other) => other !== name).sort();
    found.set(name, { version, size, depends: unique });
    for (const other of unique) visit(other);
  };
  for (const root of roots) {
    if (!packages.has(root)) throw new Error(`${root} is not in this release`);
    visit(root);
  }
  return Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
