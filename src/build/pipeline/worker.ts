import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { layerProfile } from "../../tar/profiles.js";
import { Cell, type ListedLayer, type Report, reportOf, type WorkerData } from "./shared.js";
import { Tasks } from "./tasks.js";

/** A stop changes the tick, too; the bound is for a notification that came just before the wait. */
const WAIT_MS = 50;

/** Does what is to be done until nothing is left. */
async function work(data: WorkerData): Promise<void> {
  const { storeRoot, owner, profile, mtime, port } = data;
  const control = new Int32Array(data.control);
  const tasks = new Tasks(
    { control, slots: Buffer.from(data.slots) },
    data,
    { storeRoot, owner, profile: layerProfile(profile), mtime },
    () => receiveMessageOnPort(port)?.message as ListedLayer,
    report,
  );
  try {
    while (Atomics.load(control, Cell.stop) === 0) {
      const tick = Atomics.load(control, Cell.tick);
      if (await tasks.step()) continue;
      if (tasks.areTakenOn) return;
      Atomics.wait(control, Cell.tick, tick, WAIT_MS);
    }
  } finally {
    tasks.close();
  }
}

function report(what: Report): void {
  parentPort?.postMessage(what);
}

try {
  await work(workerData as WorkerData);
} catch (error) {
  report(reportOf(error));
}
