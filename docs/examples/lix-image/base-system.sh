# Makes the tree that is copied to the root of the image.
mkdir() { "$busybox" mkdir -p "$@"; }
link() { "$busybox" ln -s "$1" "$out/$2"; }

mkdir "$out/bin" "$out/etc/nix" "$out/etc/ssl" "$out/root" "$out/tmp" "$out/usr/bin" "$out/var/empty" "$out/var/tmp"
link "$busybox" bin/sh
link "$busybox" bin/false
link "$coreutils/usr/bin/env" usr/bin/env
link "$certificates/etc/ssl/certs" etc/ssl/certs
# Debian 12 has both /lib and /usr/lib; its successors have the latter alone.
for name in lib lib64; do
  if [ -e "$debian/$name" ]; then link "$debian/$name" "$name"
  elif [ -e "$debian/usr/$name" ]; then link "$debian/usr/$name" "$name"
  fi
done
for name in lib libexec share; do link "$debian/usr/$name" "usr/$name"; done

# Users.
passwd() { echo "$1:x:$2:$3:$4:$5:$6" >> "$out/etc/passwd"; echo "$1:!:1::::::" >> "$out/etc/shadow"; }
group() { echo "$1:x:$2:$3" >> "$out/etc/group"; }
passwd root 0 0 'System administrator' /root /bin/sh
passwd nobody 65534 65534 'Unprivileged account' /var/empty /bin/false
group root 0 ''
group nobody 65534 ''
builders=
n=1
while [ "$n" -le 32 ]; do
  passwd "nixbld$n" $((30000 + n)) 30000 "Nix build user $n" /var/empty /bin/false
  builders=$builders${builders:+,}nixbld$n
  n=$((n + 1))
done
group nixbld 30000 "$builders"

# Nix.
"$busybox" cat > "$out/etc/nix/nix.conf" <<CONF
sandbox = false
build-users-group = nixbld
trusted-public-keys = cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=
CONF
state=nix/var/nix
mkdir "$out/$state/gcroots" "$out/$state/profiles/per-user/root"
link /nix/var/nix/profiles "$state/gcroots/profiles"
link "$profile" "$state/profiles/default-1-link"
link default-1-link "$state/profiles/default"
link "$channels" "$state/profiles/per-user/root/channels-1-link"
link channels-1-link "$state/profiles/per-user/root/channels"

home() {
  mkdir "$out/$1/.nix-defexpr"
  link /nix/var/nix/profiles/default "$1/.nix-profile"
  link /nix/var/nix/profiles/per-user/root/channels "$1/.nix-defexpr/channels"
  echo 'https://nixos.org/channels/nixpkgs-unstable nixpkgs' > "$out/$1/.nix-channels"
}
home root
if [ -n "$uid" ]; then
  passwd user "$uid" "$gid" User /home/user /bin/sh
  group user "$gid" ''
  home home/user
fi
