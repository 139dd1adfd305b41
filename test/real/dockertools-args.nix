# An image that a Nix build makes: the references of the arguments' file are its closure.
{ busybox, hello, node, program }:
let
  arguments = {
    name = "inside";
    contents = [ (builtins.storePath busybox) ];
    config.Cmd = [ "${builtins.storePath hello}/bin/hello" ];
  };
  file = derivation {
    name = "args.json";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    json = builtins.toJSON arguments;
    passAsFile = [ "json" ];
    args = [ "-euc" "/bin/cp $jsonPath $out" ];
  };
in
{
  inherit file;
  image = derivation {
    name = "inside.tar.gz";
    system = builtins.currentSystem;
    builder = "/bin/bash";
    __structuredAttrs = true;
    exportReferencesGraph.graph = [ file ];
    args = [
      "-euc"
      ''
        source ./.attrs.sh
        ${node} ${program} stream --dockertools-args ${file} --dockertools-function buildLayeredImage \
          --closure .attrs.json --no-cache > "''${outputs[out]}"
      ''
    ];
  };
}
