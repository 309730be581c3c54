import { h } from "../dom";
import type { Job } from "../server/job";
import type { State } from "../state";
import { named, t } from "../text";

const STEPS = ["upload", "queue", "decode", "infer", "postprocess", "measure"] as const;
type Step = (typeof STEPS)[number];

/** The way of a study through the server, with the step that it is at. */
export function progress(state: State, cancel: () => void): HTMLElement {
  const now = stepOf(state);
  return h(
    "section",
    { class: "progress", "aria-labelledby": "progress-heading" },
    h("h2", { id: "progress-heading" }, state.task ? named("task", state.task) : t("progressHeading")),
    h("ol", { class: "steps" }, ...STEPS.map((step) => item(step, now, state))),
    h("button", { type: "button", id: "cancel", on: { click: cancel } }, t("cancel")),
  );
}

/** The step in words, for those who hear the page. */
export const stepInWords = (state: State): string => t(`step.${stepOf(state)}`);

function item(step: Step, now: Step, state: State): HTMLElement {
  const place = STEPS.indexOf(step) - STEPS.indexOf(now);
  const how = place < 0 ? "done" : place === 0 ? "now" : "ahead";
  const part = how === "now" ? partOf(step, state) : null;
  const bar = part === null ? null : h("progress", { max: 1, value: part, "aria-label": t(`step.${step}`) });
  return h(
    "li",
    { class: how, "aria-current": how === "now" ? "step" : null },
    h("span", {}, t(`step.${step}`)),
    h("span", { class: "quiet" }, how === "done" ? t("state.done") : how === "now" ? detail(step, state) : null),
    bar,
  );
}

export function stepOf({ phase, job }: State): Step {
  if (phase === "sending" || !job) return "upload";
  if (job.state === "queued") return "queue";
  return job.stage ?? (job.state === "running" ? "decode" : "measure");
}

function partOf(step: Step, { sent, job }: State): number | null {
  if (step === "upload") return sent;
  return step === "infer" && job && job.slices_total ? job.slices_done / job.slices_total : null;
}

function detail(step: Step, { sent, job }: State): string {
  if (step === "upload") return t("percent", { percent: Math.floor(sent * 100) });
  if (!job) return "";
  const words = { queue: place(job), infer: t("slicesDone", { done: job.slices_done, total: job.slices_total }) };
  const again = job.attempts > 1 ? ` (${t("attempt", { count: job.attempts })})` : "";
  return (step in words ? words[step as keyof typeof words] : t("state.now")) + again;
}

function place({ queue_position }: Job): string {
  if (queue_position === null) return t("state.now");
  return queue_position === 1 ? t("next") : t("place", { place: queue_position });
}
