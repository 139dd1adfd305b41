# nix-build '<example>' -A hello
{
  system ? builtins.currentSystem,
}:
{
  hello = derivation {
    name = "hello-1.0";
    inherit system;
    builder = "/bin/sh";
    args = [ "-c" "echo 'echo Hello from the channel' > $out" ];
  };
}
