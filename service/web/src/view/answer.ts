import { h, swatch } from "../dom";
import type { Label, Model } from "../server/models";
import type { Geometry, LabelMeasure, Report } from "../server/report";
import type { State } from "../state";
import { counted, current, named, number, t, volume } from "../text";
import { english, notice } from "./problem";

/** Whether the study's numbers can be trusted, before the numbers. */
export function geometryBanner({ verdict, reasons }: Geometry): HTMLElement {
  const words = { ok: t("geometryOk"), warning: t("geometryWarning"), refused: t("geometryRefused") };
  return h("section", { class: `banner ${verdict}`, id: "geometry", "data-verdict": verdict }, h("p", {}, words[verdict]), ...reasons.map(notice));
}

/** What was found, or the calm answer that nothing was. */
export function finding(report: Report, model: Model): HTMLElement {
  const sought = model.labels.some(({ role }) => role === "lesion") ? "lesion" : "organ";
  const measures = report.labels.filter(({ name }) => model.labels.find((label) => label.name === name)?.role === sought);
  const missed = report.labels.filter(({ voxels }) => voxels === 0).map(({ name }) => name);
  const hits = measures.filter(({ voxels }) => voxels > 0);
  return h(
    "section",
    { class: report.finding.detected ? "finding" : "finding negative", id: "finding", "data-detected": String(report.finding.detected) },
    ...hits.map((measure) => h("p", { class: "lead" }, h("strong", {}, t("found", { label: named("label", measure.name) })), `: ${amountFound(report, measure)}`)),
    ...missed.map((name) => h("p", { class: "lead" }, h("strong", {}, t("notDetectedTitle", { label: inSentence(named("label", name)) })))),
    missed.length > 0 && h("p", { class: "quiet" }, t("notDetectedLimits")),
    missed.length > 0 && english(model.model_card.sensitivity),
    ...report.labels.filter(({ voxels, dropped }) => voxels === 0 && dropped.components > 0).map(removed),
  );
}

/** In English the label stands inside the sentence, in Indonesian at its head. */
const inSentence = (label: string): string => (current() === "en" ? label.toLowerCase() : label);

function amountFound(report: Report, measure: LabelMeasure): string {
  const lesions = report.lesions.filter(({ label }) => label === measure.name);
  return [lesions.length ? counted("lesions", lesions.length) : "", size(measure)].filter(Boolean).join(", ");
}

interface Sized {
  readonly volume_ml: number | null;
  readonly area_mm2: number | null;
  readonly area_px: number | null;
}

/** In the best unit that is known. */
export function size({ volume_ml, area_mm2, area_px }: Sized): string {
  if (volume_ml !== null) return `${volume(volume_ml)} mL`;
  if (area_mm2 !== null) return `${number(area_mm2, 0)} mm²`;
  return area_px === null ? t("unknown") : `${number(area_px, 0)} px`;
}

export function warnings(report: Report): HTMLElement | null {
  if (!report.warnings.length) return null;
  return h(
    "section",
    { class: "banner warning", id: "warnings", "aria-labelledby": "warnings-heading" },
    h("h3", { id: "warnings-heading" }, t("warningsHeading")),
    ...report.warnings.map(notice),
  );
}

/** A card for each label that was found, and one for the burden. */
export function cards(report: Report, model: Model): HTMLElement {
  const found = report.labels.filter(({ voxels }) => voxels > 0).map((measure) => card(measure, labelOf(model, measure.name), model));
  const burden = report.measures.tumour_burden_percent;
  return h("div", { class: "cards" }, ...found, burden === null || burden === undefined ? null : burdenCard(burden));
}

export function labelOf(model: Model, name: string): Label | undefined {
  return model.labels.find((label) => label.name === name);
}

function card(measure: LabelMeasure, label: Label | undefined, model: Model): HTMLElement {
  const inner = model.labels.some(({ parent }) => parent === measure.name);
  const { interval_ml, hu, dropped } = measure;
  const interval = interval_ml && t("interval", { low: volume(interval_ml[0]), high: volume(interval_ml[1]) });
  return h(
    "article",
    { class: "card", "data-label": measure.name },
    h("h3", {}, label && swatch(label.colour), named("label", measure.name), inner && h("small", {}, ` ${t("includesTumour")}`)),
    h("p", { class: "figure", "data-value": measure.volume_ml ?? measure.area_mm2 ?? measure.area_px }, size(measure)),
    interval && h("p", { class: "quiet", title: t("intervalNote") }, interval),
    hu && h("p", { class: "quiet", "data-hu": hu.mean }, density(hu)),
    dropped.components > 0 && removed(measure),
  );
}

/** What post-processing has taken away: too small, outside the skull … */
function removed({ dropped: { components, volume_ml } }: LabelMeasure): HTMLElement {
  const taken = volume_ml === null ? t("unknown") : `${volume(volume_ml)} mL`;
  return h("p", { class: "quiet" }, t("dropped", { count: components, volume: taken }));
}

function density({ mean, sd }: { mean: number; sd: number | null }): string {
  return sd === null ? t("densityAlone", { mean: number(mean, 0) }) : t("density", { mean: number(mean, 0), sd: number(sd, 0) });
}

function burdenCard(percent: number): HTMLElement {
  return h(
    "article",
    { class: "card", "data-label": "burden" },
    h("h3", {}, t("burden")),
    h("p", { class: "figure", "data-value": percent }, t("percent", { percent: number(percent, 2) })),
    h("p", { class: "quiet" }, t("burdenOf")),
  );
}

/** Where the numbers come from. */
export function details({ report, job }: State): HTMLElement | null {
  if (!report) return null;
  const { input, model, provenance, timings_ms } = report;
  const [slices, rows, columns] = input.shape;
  const spacing = input.spacing_mm.map((mm) => (mm === null ? t("unknown") : number(mm, 2))).join(" × ");
  const total = timings_ms.total;
  const rowsOf: [string, string | HTMLElement][] = [
    [t("detail.model"), `${model.name}, ${t("modelVersion", { version: model.version })}`],
    [t("detail.time"), total === null || total === undefined ? t("unknown") : t("seconds", { count: number(total / 1000, 1) })],
    [t("detail.created"), new Date(provenance.created).toLocaleString(current())],
    [t("detail.input"), t("inputShape", { kind: input.kind.toUpperCase(), slices, rows, columns })],
    [t("detail.spacing"), `${spacing} mm`],
    [t("detail.sigap"), `${provenance.sigap_version}, ${provenance.engine}`],
    [t("detail.sha256"), h("code", { title: model.sha256 }, `${model.sha256.slice(0, 16)}…`)],
  ];
  return h(
    "section",
    { class: "details", "aria-labelledby": "details-heading" },
    h("h3", { id: "details-heading" }, t("detailsHeading")),
    job?.reused && h("p", { class: "note" }, t("detail.reused")),
    h("dl", {}, ...rowsOf.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ignored(report),
  );
}

const IGNORED_SHOWN = 20;

function ignored({ input }: Report): HTMLElement | null {
  if (!input.ignored.length) return null;
  const more = input.ignored.length - IGNORED_SHOWN;
  return h(
    "details",
    { id: "ignored" },
    h("summary", {}, `${t("detail.ignored")}: ${counted("files", input.ignored.length)}`),
    h("ul", {}, ...input.ignored.slice(0, IGNORED_SHOWN).map(({ name, reason }) => h("li", {}, `${name}: ${reason}`))),
    more > 0 && h("p", {}, t("ignoredMore", { count: more })),
  );
}
