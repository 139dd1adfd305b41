import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tool } from "./tools.js";

/** What {@link startRegistry} needs. */
export const REGISTRY_TOOLS = ["docker-registry"] as const;

/** The one who may do everything where a registry wants credentials. */
export const REGISTRY_USER = { name: "tester", password: "correct horse" } as const;

/** A registry of its own, on loopback. */
export interface TestRegistry {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** All that was written to its log. */
  log(): string;
  stop(): Promise<void>;
}

const READY_MS = 20_000;
/** Of {@link REGISTRY_USER}, by bcrypt. */
const HTPASSWD = "tester:$2y$05$p6qO87pzt92xx1ZVUNniD.XF5Gl5G6bI.NcU2yvT3MkG7mDz1T4oa\n";

/**
 * Starts Debian's docker-registry with storage of its own. Resolves when it answers.
 * @param options.isPrivate whether it wants to know {@link REGISTRY_USER}'s name and password
 * @param options.relativeUrls whether its Locations are paths
 */
export async function startRegistry(
  options: { readonly isPrivate?: boolean; readonly relativeUrls?: boolean } = {},
): Promise<TestRegistry> {
  const directory = mkdtempSync(join(tmpdir(), "oci-nix-registry-"));
  const storage = join(directory, "storage");
  mkdirSync(storage);
  writeFileSync(join(directory, "htpasswd"), HTPASSWD);
  const config = {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", secret: "of these tests", relativeurls: options.relativeUrls === true },
    ...(options.isPrivate === true && {
      auth: { htpasswd: { realm: "tests", path: join(directory, "htpasswd") } },
    }),
  };
  // JSON is YAML.
  writeFileSync(join(directory, "config.yml"), JSON.stringify(config));
  const logFile = join(directory, "log");
  const output = openSync(logFile, "w");
  const child = spawn(tool("docker-registry"), ["serve", join(directory, "config.yml")], {
    stdio: ["ignore", output, output],
    env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
  });
  closeSync(output);
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const killNow = () => void child.kill("SIGKILL");
  process.once("exit", killNow);
  const log = () => readFileSync(logFile, "utf8");
  const stop = async () => {
    child.kill("SIGKILL");
    await exited;
    process.off("exit", killNow);
    rmSync(directory, { recursive: true, force: true });
  };
  for (const deadline = Date.now() + READY_MS; Date.now() < deadline && child.exitCode === null; await sleep(50)) {
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(log())?.[1];
    if (host !== undefined) return { host, log, stop };
  }
  const text = log();
  await stop();
  throw new Error(`docker-registry did not get ready\n${text}`);
}
