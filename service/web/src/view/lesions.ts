import { h, swatch } from "../dom";
import type { Model } from "../server/models";
import type { Lesion, Report } from "../server/report";
import { named, number, t, volume } from "../text";
import { labelOf, size } from "./answer";

interface Column {
  readonly head: string;
  readonly cell: (lesion: Lesion) => string;
  readonly value: (lesion: Lesion) => number | null;
}

/** The lesions, largest first as in the report; choosing one moves the crosshair to it. */
export function lesionTable(report: Report, model: Model, shown: number | null, show: (lesion: Lesion) => void): HTMLElement | null {
  const { lesions } = report;
  if (!lesions.length) return null;
  const columns = columnsOf(lesions);
  return h(
    "section",
    { class: "lesions", "aria-labelledby": "lesions-heading" },
    h("h3", { id: "lesions-heading" }, t("lesionsHeading")),
    h("p", { class: "quiet" }, t("lesionsHint")),
    h(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-labelledby": "lesions-heading" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("column.id")), ...columns.map(({ head }) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...lesions.map((lesion) => row(lesion, columns, model, shown, show))),
      ),
    ),
  );
}

function row(lesion: Lesion, columns: readonly Column[], model: Model, shown: number | null, show: (lesion: Lesion) => void): HTMLElement {
  const label = labelOf(model, lesion.label);
  const words = t("showLesion", { id: lesion.id, size: size(lesion) });
  return h(
    "tr",
    { class: shown === lesion.id ? "shown" : null, "data-lesion": lesion.id, on: { click: () => show(lesion) } },
    h(
      "th",
      { scope: "row" },
      h("button", { type: "button", id: `lesion-${lesion.id}`, class: "pick", "aria-label": words, "aria-pressed": String(shown === lesion.id), title: named("label", lesion.label) }, label && swatch(label.colour), lesion.id),
    ),
    ...columns.map(({ cell, value }) => h("td", { "data-value": value(lesion) }, cell(lesion))),
  );
}

function columnsOf(lesions: readonly Lesion[]): Column[] {
  const has = (value: (lesion: Lesion) => unknown): boolean => lesions.some((lesion) => value(lesion) !== null);
  const shown = (value: number | null, digits: number): string => (value === null ? "–" : number(value, digits));
  const sizes: Column = has(({ volume_ml }) => volume_ml)
    ? { head: t("column.volume"), value: ({ volume_ml }) => volume_ml, cell: ({ volume_ml }) => (volume_ml === null ? "–" : volume(volume_ml)) }
    : has(({ area_mm2 }) => area_mm2)
      ? { head: t("column.area"), value: ({ area_mm2 }) => area_mm2, cell: ({ area_mm2 }) => shown(area_mm2, 0) }
      : { head: t("column.pixels"), value: ({ area_px }) => area_px, cell: ({ area_px }) => shown(area_px, 0) };
  const diameters: Column = {
    head: t("column.diameters"),
    value: ({ longest_diameter_mm }) => longest_diameter_mm,
    cell: ({ longest_diameter_mm, perpendicular_diameter_mm }) => `${shown(longest_diameter_mm, 0)} × ${shown(perpendicular_diameter_mm, 0)}`,
  };
  const hu: Column = { head: t("column.hu"), value: ({ hu }) => hu?.mean ?? null, cell: ({ hu }) => shown(hu?.mean ?? null, 0) };
  const abc2: Column = {
    head: t("column.abc2"),
    value: ({ abc2_ml }) => abc2_ml,
    cell: ({ abc2_ml, abc2_disagrees }) => `${abc2_ml === null ? "–" : volume(abc2_ml)}${abc2_disagrees ? " !" : ""}`,
  };
  const slice: Column = { head: t("column.slice"), value: ({ key_slice }) => key_slice, cell: ({ key_slice }) => String(key_slice) };
  return [
    sizes,
    ...(has(({ longest_diameter_mm }) => longest_diameter_mm) ? [diameters] : []),
    ...(has(({ hu: measured }) => measured) ? [hu] : []),
    ...(has(({ abc2_ml }) => abc2_ml) ? [abc2] : []),
    slice,
  ];
}
