# What the image holds besides packages, built by Nix from store paths that are valid in its store.
{
  # The packages of the image by name, with everything they need: { nix-bin = "/nix/store/…-nix-bin-2.8.0"; … }
  packages,
  # Names of those that the default profile holds.
  installed,
  # { uid, gid } of the one who owns Nix in the image and needs no root; null: root does.
  user ? null,
}:
let
  at = name: builtins.storePath packages.${name};
  busybox = "${at "busybox-static"}/bin/busybox";
  system = builtins.currentSystem;

  # A derivation whose builder is a script for the static shell.
  script = name: file: env: derivation (env // {
    inherit name system busybox;
    builder = busybox;
    args = [ "sh" "-eu" file ];
  });

  # A package as nix-env knows it; what follows the hash and a dash is its name.
  installedPackage = path: ''
    { type = "derivation"; name = "${builtins.substring 33 (-1) (baseNameOf (builtins.unsafeDiscardStringContext path))}";
      system = "${system}"; outPath = "${path}"; outputs = [ "out" ]; out = { outPath = "${path}"; }; meta = { }; }
  '';

  # One tree of links to everything in the packages, made by what makes nix-env's profiles.
  environment = paths: derivation {
    name = "user-environment";
    system = "builtin";
    builder = "builtin:buildenv";
    # Active, priority, number of outputs, outputs.
    derivations = map (path: [ "true" 5 1 path ]) paths;
    manifest = builtins.toFile "env-manifest.nix" "[\n${builtins.concatStringsSep "" (map installedPackage paths)}]\n";
  };
in
rec {
  # What `nix-env --query` shows; nix-env --install makes its successors.
  profile = environment (map at installed);

  # Debian's programs look for their libraries and files in /lib, /usr/lib and /usr/share.
  debian = environment (map at (builtins.attrNames packages));

  certificates = script "ca-bundle" ./certificates.sh { cacert = at "ca-certificates"; };

  channels = script "channels" ./channels.sh {
    example = ./channel;
    coreutils = at "coreutils";
  };

  base = script "base-system" ./base-system.sh {
    inherit profile debian certificates channels;
    coreutils = at "coreutils";
    uid = if user == null then "" else toString user.uid;
    gid = if user == null then "" else toString user.gid;
  };
}
