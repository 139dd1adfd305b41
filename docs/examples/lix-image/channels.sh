# A channel is a directory of Nix expressions, and what a user subscribes to is a directory of channels.
"$busybox" mkdir -p "$out/example"
"$busybox" sed "s|@coreutils@|$coreutils|" "$example/default.nix" > "$out/example/default.nix"
