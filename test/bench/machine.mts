import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** Versions of the commands compared with. */
  readonly commands: Readonly<Record<string, string>>;
  /** Of the project that is measured. */
  readonly commit: string;
  /** Before anything is measured. */
  readonly load: readonly number[];
}

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  tar: ["--version"],
  openssl: ["version"],
  sha256sum: ["--version"],
  tee: ["--version"],
  cat: ["--version"],
  bash: ["--version"],
  skopeo: ["--version"],
  python3: ["--version"],
};

export function describeMachine(project: string): Machine {
  const processors = cpus();
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.split(" ") ?? [];
  const commands: Record<string, string> = {};
  for (const [command, args] of Object.entries(COMMANDS)) {
    const version = firstLine(command, args);
    if (version !== undefined) commands[command] = version;
  }
  const dirty = firstLine("git", ["-C", project, "status", "--porcelain"]) ? ", with changes" : "";
  return {
    cpu: `${processors[0]?.model.trim() ?? "unknown"}${flags.includes("sha_ni") ? " with SHA extensions" : ""}`,
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    commands,
    commit: `${firstLine("git", ["-C", project, "rev-parse", "--short", "HEAD"]) ?? "unknown"}${dirty}`,
    load: loadavg(),
  };
}

export function formatMachine(machine: Machine): string {
  const load = machine.load.map((value) => value.toFixed(2)).join(" ");
  return [
    `- Machine: ${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}; load before: ${load}`,
    `- Commit: ${machine.commit}`,
    `- Commands: ${Object.values(machine.commands).join("; ")}`,
  ].join("\n");
}

function firstLine(command: string, args: readonly string[]): string | undefined {
  try {
    const text = execFileSync(command, [...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return text.split("\n", 1)[0];
  } catch {
    return undefined;
  }
}
