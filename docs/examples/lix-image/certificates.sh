# All certificates in one file, under the names that programs of several distributions look for.
certs=$out/etc/ssl/certs
"$busybox" mkdir -p "$certs"
"$busybox" cat "$cacert"/usr/share/ca-certificates/mozilla/*.crt > "$certs/ca-bundle.crt"
"$busybox" ln -s ca-bundle.crt "$certs/ca-certificates.crt"
