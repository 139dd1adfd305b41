# A small store: programs that need nothing but what is in it, and what refers to them.
{
  # A program that is linked statically.
  busybox,
}:
let
  script = name: text: attributes:
    derivation ({ inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-euc" text ]; } // attributes);

  # Applets are symlinks to it.
  tools = script "busybox-1.0" ''
    /bin/mkdir -p $out/bin
    /bin/cp $program $out/bin/busybox
    for name in $applets; do /bin/ln -s busybox $out/bin/$name; done
  '' {
    program = builtins.path { path = busybox; name = "busybox"; };
    applets = [ "sh" "cat" "env" "find" "id" "ls" "mkdir" "readlink" "stat" "test" "touch" ];
  };

  # A program that prints what a store path of its own holds.
  program = name: text:
    script "${name}-1.0" ''
      /bin/mkdir -p $out/bin
      printf '#!%s/bin/sh\nread -r line < %s\necho "$line"\n' $tools $text > $out/bin/${name}
      /bin/chmod +x $out/bin/${name}
    '' {
      inherit tools;
      text = builtins.toFile "${name}-text" (text + "\n");
    };

  hello = program "hello" "Hello, world!";

  # Each refers to the one before.
  chain = builtins.foldl' (below: n: script "link-${toString n}" "echo $below > $out" { inherit below; }) hello [ 1 2 3 4 5 6 7 8 ];

  paths = {
    inherit hello chain;
    busybox = tools;
    # A program that nothing here refers to.
    stranger = program "stranger" "Nobody knows me.";
    # A store path that is itself a symlink.
    symlink = script "symlink-1.0" "/bin/ln -s $hello $out" { inherit hello; };
    cacert = script "nss-cacert-3.108" ''
      /bin/mkdir -p $out/etc/ssl/certs
      echo CERTIFICATE > $out/etc/ssl/certs/ca-bundle.crt
    '' { };
  };
in
{
  all = builtins.attrValues paths;
  paths = builtins.mapAttrs (name: drv: drv.outPath) paths;
}
