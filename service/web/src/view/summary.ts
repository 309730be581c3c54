import type { Model } from "../server/models";
import type { Report } from "../server/report";
import { counted, known, named, number, t, volume } from "../text";
import { size } from "./answer";

/** The report as plain text, for a note; what it leaves out stands in the JSON. */
export function summary(report: Report, model: Model): string {
  const { input, geometry } = report;
  const lines = [
    t("summaryTitle"),
    "",
    `${named("task", report.task)}: ${report.model.name}, ${t("modelVersion", { version: report.model.version })}, Sigap ${report.provenance.sigap_version}`,
    `${t("detail.input")}: ${t("inputShape", { kind: input.kind.toUpperCase(), slices: input.shape[0], rows: input.shape[1], columns: input.shape[2] })}`,
    geometry.verdict === "ok" ? t("geometryOk") : t("geometryWarning"),
    ...[...geometry.reasons, ...report.warnings].map(({ code, message }) => `- ${known(`code.${code}`) ?? message}`),
    "",
    ...report.labels.map((label) => labelLine(label, report, model)),
    ...burdenLine(report),
    ...lesionLines(report),
    "",
    t("footnote"),
  ];
  return lines.join("\n");
}

function labelLine(measure: Report["labels"][number], report: Report, model: Model): string {
  const name = named("label", measure.name);
  if (measure.voxels === 0) return `${t("notDetectedTitle", { label: name })}. ${t("notDetectedLimits")} ${model.model_card.sensitivity}`;
  const lesions = report.lesions.filter(({ label }) => label === measure.name).length;
  const interval = measure.interval_ml;
  const parts = [
    size(measure),
    lesions ? counted("lesions", lesions) : "",
    interval ? t("interval", { low: volume(interval[0]), high: volume(interval[1]) }) : "",
    measure.hu ? t("densityAlone", { mean: number(measure.hu.mean, 0) }) : "",
  ];
  return `${name}: ${parts.filter(Boolean).join("; ")}`;
}

function burdenLine({ measures }: Report): string[] {
  const percent = measures.tumour_burden_percent;
  return percent === null || percent === undefined ? [] : [`${t("burden")}: ${t("percent", { percent: number(percent, 2) })} ${t("burdenOf")}`];
}

function lesionLines({ lesions }: Report): string[] {
  return lesions.map((lesion) => {
    const { longest_diameter_mm: longest, perpendicular_diameter_mm: across } = lesion;
    const diameters = longest === null ? "" : `${number(longest, 0)} × ${across === null ? "–" : number(across, 0)} mm`;
    const abc2 = lesion.abc2_ml === null ? "" : `ABC/2 ${volume(lesion.abc2_ml)} mL`;
    const slice = `${t("column.slice")} ${lesion.key_slice}`;
    return `  ${lesion.id}. ${[named("label", lesion.label), size(lesion), diameters, abc2, slice].filter(Boolean).join(", ")}`;
  });
}
