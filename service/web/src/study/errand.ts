import { cancelJob, eraseJob, follow, getReport, hasEnded, type Job } from "../server/job";
import { askJson } from "../server/http";
import { Problem } from "../server/problem";
import { type Options, upload } from "../server/upload";
import { NO_FIELDS, START, type State, type Store } from "../state";
import type { Key } from "../text";

const HASH = /^#job\/([0-9a-f]{32})$/;

/** What happens to a study: it is sent, followed, cancelled, answered, erased. Only one is on its way at a time. */
export class Errand {
  private stop = new AbortController();

  constructor(private readonly store: Store) {}

  async send(): Promise<void> {
    const { task, files, fields } = this.store.now;
    if (!task || !files.length) return;
    const { isFresh, ...named } = fields;
    const options: Options = Object.fromEntries(Object.entries(named).filter(([, value]) => value.trim() !== ""));
    const { signal } = this.begin({ phase: "sending", sent: 0, job: null });
    await this.guard(signal, async () => {
      const sent = (part: number): void => this.store.change({ sent: part });
      const job = await upload({ task, options, files, isFresh }, sent, signal);
      // Cancelled between the last byte and the answer: nobody would wait for it.
      if (signal.aborted) await cancelJob(job.id).catch(() => undefined);
      else await this.attend(job, signal);
    });
  }

  /** Shows the job that the address names, after the page was loaded anew. */
  async resume(): Promise<void> {
    const id = named();
    if (!id) return;
    const { signal } = this.begin({});
    await this.guard(signal, async () => this.attend(await askJson<Job>(`jobs/${id}`, { signal }), signal));
  }

  /** Whether the address names another job than the one that is shown. */
  isElsewhere(): boolean {
    const id = named();
    return id !== undefined && id !== this.store.now.job?.id;
  }

  async cancel(): Promise<void> {
    const { job } = this.store.now;
    this.stop.abort(new DOMException("cancelled", "AbortError"));
    if (job) await cancelJob(job.id).catch(() => undefined);
    this.back(job ? "cancelled" : "uploadCancelled");
  }

  async erase(): Promise<void> {
    const { job } = this.store.now;
    if (!job) return;
    try {
      await eraseJob(job.id);
      this.renew("erased");
    } catch (error) {
      this.fail(error);
    }
  }

  /** Back to an empty form; what was answered stays on the server for its time. */
  renew(word: Key | null = null): void {
    this.stop.abort(new DOMException("left", "AbortError"));
    forget();
    this.store.change({ ...START, models: this.store.now.models, word });
  }

  private begin(changes: Partial<State>): AbortController {
    this.stop.abort(new DOMException("left", "AbortError"));
    this.stop = new AbortController();
    this.store.change({ problem: null, word: null, report: null, lesion: null, ...changes });
    return this.stop;
  }

  private async attend(job: Job, signal: AbortSignal): Promise<void> {
    history.replaceState(null, "", `#job/${job.id}`);
    this.store.change({ phase: "working", job, task: job.task });
    const ended = hasEnded(job) ? job : await follow(job.id, (news) => this.store.change({ job: news }), signal);
    if (ended.state === "cancelled") {
      this.back("cancelled");
      return;
    }
    if (ended.problem) throw Problem.of(ended.problem, ended.problem.status);
    performance.mark("sigap:ended");
    const report = await getReport(ended.id);
    if (!signal.aborted) this.store.change({ phase: "answered", job: ended, report });
  }

  private async guard(signal: AbortSignal, errand: () => Promise<void>): Promise<void> {
    try {
      await errand();
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  /** The form stays as it was, with the problem above it. */
  private fail(error: unknown): void {
    forget();
    const problem = error instanceof Problem ? error : new Problem("unexpected", "", String(error), 0);
    this.store.change({ phase: "choosing", job: null, problem });
  }

  private back(word: Key): void {
    forget();
    this.store.change({ phase: "choosing", job: null, sent: 0, word });
  }
}

function named(): string | undefined {
  return HASH.exec(location.hash)?.[1];
}

function forget(): void {
  history.replaceState(null, "", location.pathname + location.search);
}

export const withoutChoice = { series_uid: NO_FIELDS.series_uid, acquisition: NO_FIELDS.acquisition };
