# nix-build '<example>' -A hello
{
  system ? builtins.currentSystem,
}:
let
  coreutils = builtins.storePath "@coreutils@";
in
{
  hello = derivation {
    name = "hello-1.0";
    inherit system coreutils;
    builder = "/bin/sh";
    args = [
      "-euc"
      ''
        $coreutils/bin/mkdir -p $out/bin
        printf '#!/bin/sh\necho Hello from the channel\n' > $out/bin/hello
        $coreutils/bin/chmod +x $out/bin/hello
      ''
    ];
  };
}
