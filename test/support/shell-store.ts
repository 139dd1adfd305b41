import { lstatSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "./command.js";
import { realStore } from "./real-store.js";

/** A store of its own with derivations as nixpkgs makes them, by a standard environment that is as small as can be. */
export interface ShellStore {
  /** For `--store-root`. */
  readonly storeRoot: string;
  /** The file of the Nix expression with its packages. */
  readonly expression: string;
  /** Its inputs are built, it is not. */
  readonly derivation: string;
  /** What `nix-instantiate` prints for another attribute of the expression. */
  instantiate(attribute: string): Promise<string>;
  /** Runs Nix on the store; gives what it prints, without space around. */
  nix(command: string, ...args: readonly string[]): Promise<string>;
  /** Builds another attribute; gives its store path. */
  build(attribute: string): Promise<string>;
}

/** Debian's programs find their libraries where Debian has them, and bash looks at its name. */
const WRAPPER = `
$busybox mkdir -p $out/bin
for name in $names; do
  $busybox printf '#!%s sh\\nexec %s --library-path %s --argv0 %s %s/%s "$@"\\n' $busybox $loader $libraries $name $from $name > $out/bin/$name
  $busybox chmod +x $out/bin/$name
done
`;

const SETUP = `
set -e
export PATH=
for package in $initialPath $nativeBuildInputs; do PATH=$PATH\${PATH:+:}$package/bin; done
runHook() { eval "\${!1-}"; }
genericBuild() { eval "$buildCommand"; }
`;

const BUILD_COMMAND = `
mkdir -p "$out" "$dev"
hello > "$out/greeting"
cat "$messagePath" > "$out/message"
printf '%s\\n' "$quoted" "$args" > "$dev/words"
echo "$IN_NIX_SHELL,$NIX_BUILD_TOP" > "$dev/environment"
`;

/** Needs the real store's tools and root's rights, as Nix builds in a chroot. */
export async function makeShellStore(directory: string): Promise<ShellStore> {
  const debian = await realStore("nix");
  const storeRoot = join(directory, "root");
  const env = {
    ...process.env,
    HOME: directory,
    // Nix makes it even where the store is below another root.
    NIX_STATE_DIR: join(directory, "state"),
    NIX_CONF_DIR: "/nonexistent",
    NIX_USER_CONF_FILES: "",
    NIX_PATH: "",
    NIX_CONFIG:
      "build-users-group =\nsandbox = false\nsandbox-paths = /bin /usr /lib? /lib64?\nsubstituters =\nexperimental-features = nix-command\n",
  };
  const { bash, "nix-bin": nixBin, "busybox-static": busybox } = debian.packages as Record<string, string>;
  const [loader, , bashLibraries] = debian.dynamicBash as readonly [string, string, string];
  const copied = [bash, nixBin, busybox] as readonly string[];
  const from = ["--no-check-sigs", "--from", `local?root=${debian.storeRoot}`, "--to", `local?root=${storeRoot}`];
  await runOk("nix", ["copy", ...from, ...copied], { env, timeoutMs: 300_000 });
  const nix = async (command: string, ...args: readonly string[]) =>
    (await runOk(command, ["--store", `local?root=${storeRoot}`, ...args], { env, timeoutMs: 300_000 })).trim();

  const closure = (await nix("nix-store", "--query", "--requisites", ...copied)).split("\n");
  const libraries = closure.flatMap((path) =>
    ["lib", "usr/lib"].flatMap((lib) => {
      const place = join(storeRoot, path, lib);
      const names = lstatSync(place, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(place) : [];
      return names
        .filter((name) => name === "nix" || name.endsWith("-linux-gnu"))
        .map((name) => `${path}/${lib}/${name}`);
    }),
  );
  // Nix has to know what in a string is a store path.
  const path = (text: string) => {
    const [, storePath, below] = /^(\/nix\/store\/[^/]+)(.*)$/.exec(text) ?? [];
    return `"\${builtins.storePath ${storePath}}${below}"`;
  };
  const expression = `
let
  busybox = ${path(debian.busybox)};
  derive = name: script: attributes: derivation ({
    inherit name busybox; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-ec" script ];
  } // attributes);
  wrap = name: from: libraries: names: derive name ${quote(WRAPPER)} {
    inherit from names; loader = ${path(loader)}; libraries = builtins.concatStringsSep ":" libraries;
  };
  bash = wrap "bash-5.2" ${path(`${bash}/bin`)} [ ${bashLibraries.split(":").map(path).join(" ")} ] "bash";
  bash-interactive = wrap "bash-interactive-5.2" ${path(`${bash}/bin`)} [ ${bashLibraries.split(":").map(path).join(" ")} ] "bash";
  coreutils = derive "coreutils-9.1" ''
    $busybox mkdir -p $out/bin
    for name in cat chmod grep env id ls mkdir readlink sleep stat touch; do $busybox ln -s $busybox $out/bin/$name; done
  '' { };
  cacert = derive "nss-cacert-3.108" ''
    $busybox mkdir -p $out/etc/ssl/certs
    echo CERTIFICATE > $out/etc/ssl/certs/ca-bundle.crt
  '' { };
  hello = derive "hello-2.12" ''
    $busybox mkdir -p $out/bin
    printf '#!%s sh\\necho Hello, world!\\n' $busybox > $out/bin/hello
    $busybox chmod +x $out/bin/hello
  '' { };
  setup = builtins.toFile "setup" ${quote(SETUP)};
  stdenv = derive "stdenv-linux" ''
    $busybox mkdir $out
    $busybox cp \${setup} $out/setup
  '' { };
  builder = builtins.toFile "builder.sh" "source $stdenv/setup\\nargs=\\"$*\\"\\ngenericBuild\\n";
  appWith = attributes: derivation ({
    name = "app-1.0"; system = builtins.currentSystem; outputs = [ "out" "dev" ];
    builder = "\${bash}/bin/bash"; args = [ "-e" builder "one" "it's two" "$three \`\\"\\\\" ];
    inherit stdenv; initialPath = [ coreutils ]; nativeBuildInputs = [ hello ];
    shellHook = "echo hooked into $name"; passAsFile = [ "message" ]; message = "a 'long'\\nmessage $HOME ü";
    quoted = "two\\nlines with \\"quotes\\" and $dollars ü"; buildCommand = ${quote(BUILD_COMMAND)};
  } // attributes);
in {
  inherit appWith bash-interactive cacert coreutils hello;
  nix = wrap "nix-2.8.0" ${path(`${nixBin}/usr/bin`)} [ ${libraries.map(path).join(" ")} ] "nix-store";
  inputs = [ bash coreutils stdenv hello ];
  app = appWith { };
  structured = appWith { __structuredAttrs = true; };
  bare = derivation { name = "bare"; system = builtins.currentSystem; builder = "\${hello}/bin/hello"; };
  unbuilt = appWith { nativeBuildInputs = [ (derive "unbuilt" "echo > $out" { }) ]; };
}
`;
  const file = join(directory, "shell.nix");
  writeFileSync(file, expression);
  const instantiate = (attribute: string) => nix("nix-instantiate", "--quiet", "--quiet", file, "-A", attribute);
  const build = (attribute: string) => nix("nix-build", "--no-out-link", "--quiet", "--quiet", file, "-A", attribute);
  await build("inputs");
  return { storeRoot, expression: file, derivation: await instantiate("app"), instantiate, nix, build };
}

/** A string of the Nix language. */
function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("${", "\\${")}"`;
}
