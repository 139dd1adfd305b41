# The sample store's five paths. Built by build.sh; PATH is Debian's inside Nix's sandbox.
let
  package =
    name: inputs: script:
    derivation (
      inputs
      // {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-euc" "export PATH=/usr/bin:/bin\n${script}" ];
      }
    );
in
rec {
  message = package "greeting-message-1.0" { } ''
    mkdir -p $out/share/greeting
    echo "Good morning." > $out/share/greeting/message
  '';

  # A file name that is not ASCII.
  translations = package "greeting-translations-1.0" { inherit message; } ''
    mkdir -p $out/share/greeting/de $out/share/greeting/fr
    echo "Guten Morgen." > $out/share/greeting/de/message
    echo "Bonjour." > "$out/share/greeting/fr/ça va"
    ln -s $message/share/greeting $out/share/greeting/en
  '';

  # One with a reference to itself.
  greeting = package "greeting-1.0" { inherit message; source = ./hello.c; } ''
    mkdir -p $out/bin $out/etc
    gcc -Os -nostdlib -static -ffreestanding -fno-asynchronous-unwind-tables -fno-stack-protector \
      -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,-z,noexecstack -s -o $out/bin/hello $source
    echo "program=$out/bin/hello message=$message/share/greeting/message" > $out/etc/greeting.conf
  '';

  script = package "greet-everybody-1.0" { inherit greeting translations; } ''
    mkdir -p $out/bin
    printf '#!/bin/sh\n%s/bin/hello\ncat %s/share/greeting/de/message\n' $greeting $translations > $out/bin/greet-everybody
    chmod +x $out/bin/greet-everybody
  '';

  environment = package "greeting-environment-1.0" { inherit greeting script; } ''
    mkdir -p $out/bin
    ln -s $greeting/bin/hello $script/bin/greet-everybody $out/bin/
    ln -s $greeting/etc $out/etc
  '';
}
