#!/usr/bin/env bash
# Rebuilds testdata/sample-store (Debian on x86-64, with nix-bin and gcc). The result depends on the compiler in bin/hello only.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export NIX_CONF_DIR=/nonexistent NIX_CONFIG='experimental-features = nix-command'
options=(--store "local?root=$work" --option sandbox false --option build-users-group "" --option substituters ""
  --option sandbox-paths "/bin /usr /lib? /lib64?")

root=$(nix-build "${options[@]}" --no-out-link -A environment default.nix)
mapfile -t closure < <(nix-store "${options[@]}" --query --requisites "$root" | sort)

rm -rf ../nix
mkdir -p ../nix/store
for path in "${closure[@]}"; do cp -R --preserve=mode,links "$work$path" ../nix/store/; done
# Git removes and replaces files in these directories.
chmod -R u+w ../nix

# narHash, narSize and references as Nix's database has them.
nix path-info "${options[@]}" --json "${closure[@]}" | node -e '
  const objects = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const graph = objects.map(({ path, narHash, narSize, references }) => ({ path, narHash, narSize, references: references.sort() }));
  graph.sort((a, b) => (a.path < b.path ? -1 : 1));
  console.log(JSON.stringify(graph, undefined, 2));
' > ../closure.json
