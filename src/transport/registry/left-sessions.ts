import type { RegistryHttp } from "./http.js";
import type { Repository } from "./repository.js";
import type { UploadSession } from "./upload-session.js";

/** How long an interrupted push may take to tidy up. */
const CANCEL_MS = 1000;

/** Uploads that were begun and will not be ended. */
export class LeftSessions {
  #sessions: UploadSession[] = [];

  add(session: UploadSession): void {
    this.#sessions.push(session);
  }

  /**
   * Cancels them, as well as that can be done: registries forget them in time.
   * @param open gives connections of their own, as those of what is aborted send nothing any more
   */
  async cancel(
    open: (signal: AbortSignal) => { readonly http: RegistryHttp; readonly repository: Repository },
  ): Promise<void> {
    const sessions = this.#sessions;
    this.#sessions = [];
    if (sessions.length === 0) return;
    const { http, repository } = open(AbortSignal.timeout(CANCEL_MS));
    const attempts = repository.attempts();
    // Nobody waits for that.
    attempts.end();
    const once = repository.within(attempts);
    await Promise.allSettled(sessions.map((session) => once.cancelUpload(session)));
    await http.close().catch(() => undefined);
  }
}
