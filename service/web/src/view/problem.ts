import { h } from "../dom";
import type { Problem } from "../server/problem";
import type { Notice } from "../server/report";
import { current, known, t } from "../text";

export interface ProblemActions {
  /** Sends the same study again with one of the choices that the refusal has listed. */
  choose(name: "series_uid" | "acquisition", value: string): void;
}

/** What went wrong and what to do; the form below it is as it was. */
export function problemBanner(problem: Problem, actions: ProblemActions): HTMLElement {
  const reasons = problem.geometry?.reasons ?? [];
  return h(
    "section",
    { class: "banner refused", id: "problem", role: "alert", tabindex: -1 },
    h("h2", {}, title(problem)),
    ...(reasons.length ? reasons.map((reason) => notice(reason)) : [detail(problem)]),
    problem.retryAfterS !== null && h("p", {}, t("retryAfter", { count: problem.retryAfterS })),
    ...reasons.flatMap((reason) => choices(reason, actions)),
  );
}

function title({ slug, title: said, geometry }: Problem): string {
  if (geometry?.verdict === "refused") return t("geometryRefused");
  return known(`problem.${slug}`) ?? known(`slug.${slug}`) ?? (said || t("problemHeading"));
}

function detail({ slug, detail: said }: Problem): HTMLElement {
  const own = known(`problem.${slug}.do`);
  return own ? h("p", {}, own) : english(said);
}

/** One reason or warning: in the page's language where it knows the code, with the server's sentence and its numbers. */
export function notice({ code, message }: Notice): HTMLElement {
  const own = known(`code.${code}`);
  return h("div", { class: "notice", "data-code": code }, own && h("p", {}, h("strong", {}, own)), english(message));
}

/** A sentence of the server's, marked as English where the page speaks another language. */
export const english = (sentence: string): HTMLElement =>
  h("p", { lang: current() === "en" ? null : "en", class: current() === "en" ? null : "english" }, sentence);

function choices(reason: Notice, { choose }: ProblemActions): HTMLElement[] {
  const listed = (name: string): Entry[] => (Array.isArray(reason[name]) ? (reason[name] as Entry[]) : []);
  if (reason.code === "several_series") {
    return listed("series").map((entry) => choice("series_uid", entry, t("useSeries"), choose));
  }
  if (reason.code === "interleaved_acquisitions") {
    return listed("acquisitions").map((entry) => choice("acquisition", entry, t("useAcquisition"), choose));
  }
  return [];
}

type Entry = Readonly<Record<string, unknown>>;

function choice(name: "series_uid" | "acquisition", entry: Entry, label: string, choose: ProblemActions["choose"]): HTMLElement {
  const { [name]: key, slices, plane: _plane, modality: _modality, ...others } = entry;
  const said = Object.values(others).filter((part) => typeof part === "string" && part !== "");
  const about = [...said, typeof slices === "number" ? t("seriesOf", { count: slices }) : ""].filter(Boolean);
  return h(
    "p",
    { class: "choice" },
    h("span", {}, about.join(", ")),
    h("code", {}, String(key)),
    h("button", { type: "button", disabled: key === null, on: { click: () => choose(name, String(key)) } }, label),
  );
}
