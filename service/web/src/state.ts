import type { Job } from "./server/job";
import type { Models } from "./server/models";
import type { Problem } from "./server/problem";
import type { Report } from "./server/report";
import type { StudyFile } from "./study/files";
import type { Key } from "./text";

/** Where a study is on its way: being chosen, on its way to the server, there, or answered. */
export type Phase = "choosing" | "sending" | "working" | "answered";

/** The form's fields, as they are typed; what is empty is not sent. */
export interface Fields {
  readonly pixel_spacing_mm: string;
  readonly slice_thickness_mm: string;
  readonly priority: string;
  readonly series_uid: string;
  readonly acquisition: string;
  readonly isFresh: boolean;
}

export interface State {
  readonly models: Models | null;
  readonly files: readonly StudyFile[];
  readonly isReading: boolean;
  readonly bodyPart: string | null;
  readonly task: string | null;
  readonly fields: Fields;
  readonly phase: Phase;
  /** Part of the upload that has been sent, 0 to 1. */
  readonly sent: number;
  readonly job: Job | null;
  readonly report: Report | null;
  readonly problem: Problem | null;
  /** A calm word about what has just happened. */
  readonly word: Key | null;
  /** The lesion that the crosshair was moved to. */
  readonly lesion: number | null;
}

export const NO_FIELDS: Fields = {
  pixel_spacing_mm: "",
  slice_thickness_mm: "",
  priority: "",
  series_uid: "",
  acquisition: "",
  isFresh: false,
};

export const START: State = {
  models: null,
  files: [],
  isReading: false,
  bodyPart: null,
  task: null,
  fields: NO_FIELDS,
  phase: "choosing",
  sent: 0,
  job: null,
  report: null,
  problem: null,
  word: null,
  lesion: null,
};

/** Holds the state; whoever watches is told once after each round of changes. */
export class Store {
  private state = START;
  private isTold = true;
  private readonly watchers: ((state: State, before: State) => void)[] = [];
  private before = START;

  get now(): State {
    return this.state;
  }

  change(changes: Partial<State>): void {
    if (this.isTold) this.before = this.state;
    this.state = { ...this.state, ...changes };
    if (!this.isTold) return;
    this.isTold = false;
    queueMicrotask(() => this.tell());
  }

  watch(watcher: (state: State, before: State) => void): void {
    this.watchers.push(watcher);
  }

  /** Everything is drawn anew, after the language or the theme has changed; nothing else has. */
  redraw(): void {
    this.before = this.state;
    this.tell();
  }

  private tell(): void {
    this.isTold = true;
    for (const watcher of this.watchers) watcher(this.state, this.before);
  }
}
