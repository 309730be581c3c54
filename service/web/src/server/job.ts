import { ask, askJson } from "./http";
import { Problem } from "./problem";
import type { Geometry, Report } from "./report";

/** `sigap.job/1`, what the page reads of it. */
export interface Job {
  readonly id: string;
  readonly task: string;
  readonly state: "queued" | "running" | "succeeded" | "failed" | "cancelled" | "dead";
  readonly stage: "decode" | "infer" | "postprocess" | "measure" | null;
  readonly slices_done: number;
  readonly slices_total: number;
  readonly queue_position: number | null;
  readonly attempts: number;
  readonly reused: boolean;
  readonly problem: { readonly type: string; readonly title: string; readonly detail: string; readonly status: number; readonly geometry?: Geometry } | null;
}

const LOOK_AGAIN_MS = 2000;

export const hasEnded = (job: Job): boolean => job.state !== "queued" && job.state !== "running";

export const cancelJob = (id: string): Promise<Job> => askJson(`jobs/${id}`, { method: "DELETE" });
export const eraseJob = (id: string): Promise<Response> => ask(`jobs/${id}/result`, { method: "DELETE" });
export const getReport = (id: string): Promise<Report> => askJson(resultAddress(id, "json"));

export function resultAddress(id: string, format: string, label?: string): string {
  const query = new URLSearchParams({ format, ...(label === undefined ? {} : { label }) });
  return `jobs/${id}/result?${query}`;
}

/** The job after each change until it has ended. The stream is opened anew by the browser where it breaks. */
export function follow(id: string, changed: (job: Job) => void, signal: AbortSignal): Promise<Job> {
  return new Promise((resolve, reject) => {
    const stream = new EventSource(`jobs/${id}/events`);
    let timer = 0;
    const stop = (): void => {
      stream.close();
      window.clearTimeout(timer);
    };
    const take = (job: Job): void => {
      if (signal.aborted) return;
      changed(job);
      if (hasEnded(job)) {
        stop();
        resolve(job);
      }
    };
    // Where no stream gets through (a proxy, a key that has run out) the job is asked for instead.
    const poll = async (): Promise<void> => {
      try {
        const job = await askJson<Job>(`jobs/${id}`, { signal });
        take(job);
        if (!hasEnded(job)) timer = window.setTimeout(() => void poll(), LOOK_AGAIN_MS);
      } catch (error) {
        if (error instanceof Problem && error.status === 0) timer = window.setTimeout(() => void poll(), LOOK_AGAIN_MS);
        else reject(error as Error);
      }
    };
    stream.addEventListener("job", (event) => take(JSON.parse((event as MessageEvent<string>).data) as Job));
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) void poll();
    });
    signal.addEventListener("abort", () => {
      stop();
      reject(signal.reason as Error);
    });
  });
}
