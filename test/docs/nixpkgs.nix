# What documents take of nixpkgs: packages and functions of the same names, of what the store of tests has.
{ }:
let
  packages = import <packages>;
  # Paths of this machine, which no store path is made of.
  node = builtins.getEnv "NODE";
  program = builtins.getEnv "OCI_NIX";
  build = name: script: attributes: derivation ({
    inherit name script;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    passAsFile = [ "script" ];
    args = [ "-euc" "export PATH=$path/usr/bin:/bin:/usr/sbin; . $scriptPath" ];
    path = "";
  } // attributes);
in
rec {
  inherit (packages) bash-interactive cacert coreutils hello nix;
  bashInteractive = bash-interactive;
  app = build "app-1.0" ''
    mkdir -p $out/bin $out/share/web
    printf '#!%s/bin/bash\necho app "$@"\n' "$shell" > $out/bin/app
    chmod +x $out/bin/app
    ln -s "$hello/bin/hello" $out/bin/greet
    echo '<p>hello</p>' > $out/share/web/index.html
  '' { inherit hello; shell = bash-interactive; };
  base = build "base-1.0" "mkdir -p $out/var/tmp $out/tmp $out/etc; echo base > $out/etc/issue" { };

  # Documents show their digests, which are of these lines.
  message = derivation {
    name = "message-1.0"; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "/bin/mkdir -p $out/share; echo Hello > $out/share/message" ];
  };
  greeting = derivation {
    name = "greeting-1.0"; system = "x86_64-linux"; builder = "/bin/sh"; inherit message;
    args = [ "-c" "/bin/mkdir -p $out/share; echo $message/share/message > $out/share/greeting" ];
  };
  greeting-next = derivation {
    name = "greeting-1.0"; system = "x86_64-linux"; builder = "/bin/sh"; inherit message;
    args = [ "-c" "/bin/mkdir -p $out/share; echo see $message/share/message > $out/share/greeting; echo 1 > $out/share/new" ];
  };

  # A system as NixOS has it, whose initial root file system says that it is there.
  nixos = build "nixos-system-web-25.11" ''
    mkdir -p $out root/proc
    cp /boot/vmlinuz-*-cloud-amd64 $out/kernel
    cp /bin/busybox root/busybox
    printf '#!/busybox sh\necho web login:\n/busybox poweroff -f\n' > root/init
    chmod +x root/init
    cd root
    printf '%s\n' proc busybox init | busybox cpio -o -H newc -F $out/initrd
    echo console=ttyS0 > $out/kernel-params
    ln -s /bin/true $out/init
    echo 25.11 > $out/nixos-version
  '' { };

  oci-nix = build "oci-nix" ''
    mkdir -p $out/bin
    printf '#!/bin/sh\nexec %s %s "$@"\n' ${node} ${program} > $out/bin/oci-nix
    chmod +x $out/bin/oci-nix
  '' { };
  writeText = name: text: build name "cp $textPath $out" { inherit text; passAsFile = [ "script" "text" ]; };
  closureInfo = { rootPaths }: derivation {
    name = "closure-info";
    system = builtins.currentSystem;
    builder = node;
    __structuredAttrs = true;
    exportReferencesGraph.closure = rootPaths;
    args = [ "-e" ''
      const { closure, outputs } = JSON.parse(fs.readFileSync(".attrs.json"));
      const lines = closure.map(({ path, narHash, narSize, references }) =>
        [path, narHash, narSize, "", references.length, ...references, ""].join("\n"));
      fs.mkdirSync(outputs.out);
      fs.writeFileSync(outputs.out + "/registration", lines.join(""));
    '' ];
  };
  runCommand = name: { nativeBuildInputs }: script: build name script {
    path = builtins.concatStringsSep "" (map (input: "${input}/bin:") nativeBuildInputs);
  };
  writeShellApplication = { name, runtimeInputs, text }: build name ''
    mkdir -p $out/bin
    printf '#!/bin/bash\nexport PATH=%s\n%s\n' "$inputs$PATH" "$(cat $textPath)" > $out/bin/$name
    chmod +x $out/bin/$name
  '' {
    inherit text;
    passAsFile = [ "script" "text" ];
    inputs = builtins.concatStringsSep "" (map (input: "${input}/bin:") runtimeInputs);
  };
}
