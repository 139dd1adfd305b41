# A channel is a directory of Nix expressions, and what a user subscribes to is a directory of channels.
"$busybox" mkdir "$out"
"$busybox" cp -r "$example" "$out/example"
