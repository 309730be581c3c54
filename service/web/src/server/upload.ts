import type { StudyFile } from "../study/files";
import { askForKey } from "./http";
import type { Job } from "./job";
import { Problem } from "./problem";

export type Options = Readonly<Record<string, string>>;

export interface Parcel {
  readonly task: string;
  readonly options: Options;
  readonly files: readonly StudyFile[];
  /** Run it anew, even where an equal study has been answered. */
  readonly isFresh: boolean;
}

/** Sends a study and returns its job. XMLHttpRequest, since fetch tells nothing of an upload's progress. */
export async function upload(
  { task, options, files, isFresh }: Parcel,
  sent: (part: number) => void,
  signal: AbortSignal,
): Promise<Job> {
  const form = new FormData();
  for (const { file, name } of files) form.append("files", file, name);
  const query = new URLSearchParams(options).toString();
  const address = `segment/${encodeURIComponent(task)}${query && `?${query}`}`;
  for (;;) {
    const { status, body, retryAfter } = await post(address, { form, isFresh }, sent, signal);
    if (status === 202) return body as Job;
    if (status !== 401) throw Problem.of(body, status, retryAfter);
    await askForKey();
  }
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfter: string | null;
}

interface Post {
  readonly form: FormData;
  readonly isFresh: boolean;
}

function post(address: string, { form, isFresh }: Post, sent: (part: number) => void, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Prefer", "respond-async");
    if (isFresh) request.setRequestHeader("Cache-Control", "no-cache");
    request.upload.addEventListener("progress", ({ loaded, total }) => sent(total ? loaded / total : 0));
    request.addEventListener("load", () => {
      resolve({ status: request.status, body: parse(request.responseText), retryAfter: request.getResponseHeader("Retry-After") });
    });
    request.addEventListener("error", () => reject(Problem.unreachable()));
    request.addEventListener("abort", () => reject(signal.reason as Error));
    // What has wholly arrived becomes a job: its answer is waited for, so that it can be cancelled there.
    let isSent = false;
    request.upload.addEventListener("load", () => (isSent = true));
    signal.addEventListener("abort", () => isSent || request.abort());
    request.send(form);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
