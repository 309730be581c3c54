import { h } from "../dom";
import type { Layout } from "../scan/scan-view";
import type { Window } from "../scan/slice";
import type { Model } from "../server/models";
import { type Key, t } from "../text";

/** How the scan is looked at. */
export interface Controls {
  readonly layout: Layout;
  readonly isUniform: boolean;
  readonly hasMask: boolean;
  /** null: the task's own. */
  readonly window: Window | null;
  readonly opacity: number;
  readonly isOutline: boolean;
}

export const START_CONTROLS: Controls = {
  layout: "all",
  isUniform: true,
  hasMask: false,
  window: null,
  opacity: 0.5,
  isOutline: false,
};

const LAYOUTS = ["all", "axial", "coronal", "sagittal", "volume"] as const satisfies readonly Layout[];
const PRESETS = {
  brain: { level_hu: 40, width_hu: 80 },
  subdural: { level_hu: 75, width_hu: 215 },
  bone: { level_hu: 600, width_hu: 2800 },
  soft: { level_hu: 50, width_hu: 400 },
  liver: { level_hu: 100, width_hu: 300 },
  lung: { level_hu: -600, width_hu: 1500 },
} as const satisfies Readonly<Record<string, Window>>;

export interface ControlActions {
  change(changes: Partial<Controls>): void;
}

export function controls(set: Controls, model: Model, actions: ControlActions): HTMLElement[] {
  return [layouts(set, actions), windows(set, model, actions), ...(set.hasMask ? mask(set, actions) : [])];
}

function layouts(set: Controls, { change }: ControlActions): HTMLElement {
  return h(
    "div",
    { class: "group", role: "group", "aria-label": t("layout") },
    ...LAYOUTS.map((layout) =>
      h(
        "button",
        {
          type: "button",
          id: `layout-${layout}`,
          "aria-pressed": String(set.layout === layout),
          disabled: whyNot(layout, set) !== null,
          title: whyNot(layout, set),
          on: { click: () => change({ layout }) },
        },
        t(`layout.${layout}`),
      ),
    ),
  );
}

function whyNot(layout: Layout, { isUniform }: Controls): string | null {
  if (!isUniform && layout !== "axial") return t("onlyAxial");
  return layout === "volume" && !hasWebgl() ? t("noWebgl") : null;
}

let webgl: boolean | null = null;

function hasWebgl(): boolean {
  webgl ??= document.createElement("canvas").getContext("webgl2") !== null;
  return webgl;
}

function windows(set: Controls, model: Model, { change }: ControlActions): HTMLElement {
  const isChosen = (window: Window | null): boolean =>
    window?.level_hu === set.window?.level_hu && window?.width_hu === set.window?.width_hu;
  const { level_hu: level, width_hu: width } = model.window;
  const select = h(
    "select",
    {
      id: "window",
      on: { change: () => change({ window: PRESETS[select.value as keyof typeof PRESETS] ?? null }) },
    },
    h("option", { value: "task", selected: set.window === null }, t("window.task", { level, width })),
    set.window && !Object.values(PRESETS).some(isChosen) && h("option", { value: "own", selected: true }, t("window.own", { level: Math.round(set.window.level_hu), width: Math.round(set.window.width_hu) })),
    ...Object.entries(PRESETS).map(([name, window]) =>
      h("option", { value: name, selected: isChosen(window) }, t(`window.${name}` as Key)),
    ),
  );
  return h("label", { for: "window" }, t("window"), " ", select);
}

function mask(set: Controls, { change }: ControlActions): HTMLElement[] {
  const opacity = h("input", {
    type: "range",
    id: "opacity",
    min: 0,
    max: 1,
    step: 0.05,
    value: set.opacity,
    on: { input: () => change({ opacity: opacity.valueAsNumber }) },
  });
  const outline = h("input", {
    type: "checkbox",
    id: "outline",
    checked: set.isOutline,
    on: { change: () => change({ isOutline: outline.checked }) },
  });
  return [h("label", { for: "opacity" }, t("opacity"), " ", opacity), h("label", { class: "check" }, outline, t("outline"))];
}
