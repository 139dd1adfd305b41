import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { tool } from "./tools.js";

/** What {@link startChromium} needs. */
export const CHROMIUM_TOOLS = ["chromium"] as const;

export interface PageOptions {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
}

/** A page in a browser that has no network but loopback, in which every script runs as a user's would. */
export interface BrowserPage {
  /** What was written to the console as an error or a warning, or thrown, or refused by the page's own policy. */
  readonly problems: readonly string[];
  /** Addresses that were asked for, the page's own left out. */
  readonly requests: readonly string[];
  /** The value of an expression, which may be a promise of something that is JSON. */
  evaluate<T>(expression: string): Promise<T>;
  /** Presses and lets go a key by its name: `ArrowLeft`, `Tab`, `a`. */
  press(key: string, modifiers?: { readonly shift?: boolean }): Promise<void>;
  type(text: string): Promise<void>;
  /** Moves the mouse there, and clicks where that is wanted. */
  point(x: number, y: number, click?: boolean): Promise<void>;
  resize(options: PageOptions): Promise<void>;
  /** @param options.whole the whole page rather than what is seen of it */
  screenshot(file: string, options?: { readonly whole?: boolean }): Promise<void>;
  /** The bytes of a PDF, as printed. */
  print(): Promise<Buffer>;
  close(): Promise<void>;
}

export interface Browser {
  /** Opens an address and waits until it is loaded. */
  open(url: string, options?: PageOptions): Promise<BrowserPage>;
  stop(): Promise<void>;
}

type Message = Readonly<Record<string, unknown>>;
type Listener = (method: string, params: Message) => void;

const KEY_CODES: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  PageUp: 33,
  PageDown: 34,
  End: 35,
  Home: 36,
  ArrowLeft: 37,
  ArrowUp: 38,
  ArrowRight: 39,
  ArrowDown: 40,
};

/** Starts a headless Chromium with a profile of its own. */
export async function startChromium(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "oci-nix-chromium-"));
  const child = spawn(
    tool("chromium"),
    [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"],
      ...["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe"],
      `--user-data-dir=${profile}`,
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
  );
  const connection = new Connection(child);
  const killNow = () => void child.kill("SIGKILL");
  process.once("exit", killNow);
  const stop = async () => {
    const exited = new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve();
      child.once("exit", () => resolve());
    });
    await connection.send("Browser.close").catch(killNow);
    const timer = setTimeout(killNow, 5000);
    await exited;
    clearTimeout(timer);
    process.off("exit", killNow);
    rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
  };
  await connection.send("Browser.getVersion");
  return { open: (url, options = {}) => openPage(connection, url, options), stop };
}

/** The DevTools protocol over a pipe: JSON, each message ended by a zero byte. */
class Connection {
  readonly #input: Writable;
  readonly #pending = new Map<number, { resolve(result: Message): void; reject(error: Error): void }>();
  readonly #listeners = new Map<string, Listener>();
  #last = 0;
  #rest = "";

  constructor(child: ChildProcess) {
    this.#input = child.stdio[3] as Writable;
    const output = child.stdio[4] as Readable;
    output.setEncoding("utf8");
    output.on("data", (text: string) => this.#receive(text));
    this.#input.on("error", () => undefined);
    const fail = (error: Error) => {
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    };
    child.once("error", fail);
    child.once("exit", () => fail(new Error("chromium has ended")));
  }

  send(method: string, params: Message = {}, sessionId?: string): Promise<Message> {
    const id = ++this.#last;
    this.#input.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  listen(sessionId: string, listener: Listener): void {
    this.#listeners.set(sessionId, listener);
  }

  #receive(text: string): void {
    const messages = (this.#rest + text).split("\0");
    this.#rest = messages.pop() as string;
    for (const each of messages) {
      const { id, result, error, method, params, sessionId } = JSON.parse(each);
      if (id === undefined) {
        this.#listeners.get(sessionId)?.(method, params);
        continue;
      }
      const waiting = this.#pending.get(id);
      this.#pending.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error.message));
    }
  }
}

async function openPage(connection: Connection, url: string, options: PageOptions): Promise<BrowserPage> {
  const { targetId } = await connection.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await connection.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method: string, params?: Message) => connection.send(method, params, sessionId as string);
  const problems: string[] = [];
  const requests: string[] = [];
  const loaded = new Promise<void>((resolve) => {
    connection.listen(sessionId as string, (method, params) => {
      if (method === "Page.loadEventFired") resolve();
      if (method === "Runtime.exceptionThrown") problems.push(JSON.stringify(params.exceptionDetails));
      if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type as string)) {
        problems.push(JSON.stringify(params.args));
      }
      if (method === "Log.entryAdded") problems.push(JSON.stringify(params.entry));
      if (method !== "Network.requestWillBeSent") return;
      const { url: asked } = params.request as { readonly url: string };
      if (asked !== url) requests.push(asked);
    });
  });
  const resize = async ({ width = 1280, height = 900, dark = false }: PageOptions) => {
    await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
    await send("Emulation.setEmulatedMedia", { features });
  };
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`);
  await resize(options);
  const { errorText } = await send("Page.navigate", { url });
  if (errorText !== undefined) throw new Error(`${url}: ${String(errorText)}`);
  await loaded;
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { readonly value: T }).value;
  };
  const settle = () => evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)))");
  await settle();
  return {
    problems,
    requests,
    evaluate,
    async press(key, { shift = false } = {}) {
      const code = KEY_CODES[key] ?? key.toUpperCase().charCodeAt(0);
      const isText = key.length === 1 || key === "Enter";
      const event = { key, code: key, windowsVirtualKeyCode: code, modifiers: shift ? 8 : 0 };
      const text = isText ? { text: key === "Enter" ? "\r" : key } : {};
      await send("Input.dispatchKeyEvent", { ...event, type: isText ? "keyDown" : "rawKeyDown", ...text });
      await send("Input.dispatchKeyEvent", { ...event, type: "keyUp" });
      await settle();
    },
    async type(text) {
      await send("Input.insertText", { text });
      await settle();
    },
    async point(x, y, click = false) {
      await send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
      const button = { x, y, button: "left", clickCount: 1 };
      if (click) {
        await send("Input.dispatchMouseEvent", { ...button, type: "mousePressed" });
        await send("Input.dispatchMouseEvent", { ...button, type: "mouseReleased" });
      }
      await settle();
    },
    async resize(to) {
      await resize(to);
      await settle();
    },
    async screenshot(file, { whole = false } = {}) {
      const { data } = await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
      writeFileSync(file, Buffer.from(data as string, "base64"));
    },
    async print() {
      const { data } = await send("Page.printToPDF", { printBackground: false });
      return Buffer.from(data as string, "base64");
    },
    async close() {
      await connection.send("Target.closeTarget", { targetId });
    },
  };
}
