import { h } from "../dom";
import type { Model } from "../server/models";
import type { Fields, State, Store } from "../state";
import { isPicture } from "../study/files";
import { hasPhantom } from "../study/phantom";
import { known, named, t } from "../text";

export interface FormActions {
  send(): void;
  trySample(task: string): void;
}

/** What to look for, how, and the button that starts it. */
export function form(state: State, store: Store, actions: FormActions): HTMLElement {
  const submit = (event: Event): void => {
    event.preventDefault();
    actions.send();
  };
  return h(
    "form",
    { id: "form", "aria-labelledby": "task-heading", on: { submit } },
    h("h2", { id: "task-heading" }, t("taskHeading")),
    tasks(state, store),
    options(state, store),
    button(state),
    samples(state, actions),
  );
}

function tasks(state: State, store: Store): HTMLElement {
  if (!state.models) return h("p", { class: "quiet" }, t("loadingTasks"));
  const fitting = fittingTask(state);
  const note = state.bodyPart && !fitting ? t("noSuggestion", { part: state.bodyPart }) : null;
  return h(
    "fieldset",
    { class: "tasks" },
    h("legend", { class: "hidden" }, t("taskHeading")),
    ...state.models.models.map((model) => taskChoice(model, state, store, fitting === model.name)),
    note && h("p", { class: "note" }, note),
  );
}

function taskChoice(model: Model, state: State, store: Store, isSuggested: boolean): HTMLElement {
  const about = known(`task.${model.name}.about`) ?? t("modelVersion", { version: model.version });
  return h(
    "label",
    { class: "task" },
    h("input", {
      type: "radio",
      name: "task",
      id: `task-${model.name}`,
      value: model.name,
      checked: state.task === model.name,
      on: { change: () => store.change({ task: model.name, word: null }) },
    }),
    h(
      "span",
      {},
      h("strong", {}, named("task", model.name)),
      h("span", { class: "quiet" }, about),
      isSuggested && h("span", { class: "suggested" }, t("suggested", { part: state.bodyPart ?? "" })),
    ),
  );
}

/** The task that was made for the body part that the images name. */
export function fittingTask({ bodyPart, models }: State): string | null {
  if (!bodyPart) return null;
  return models?.models.find(({ expects }) => expects.body_parts.includes(bodyPart))?.name ?? null;
}

function options(state: State, store: Store): HTMLElement {
  const { fields } = state;
  const change = (changes: Partial<Fields>): void => store.change({ fields: { ...store.now.fields, ...changes } });
  const priorities = ["", "emergency", "routine", "batch"] as const;
  const select = h(
    "select",
    { id: "priority", on: { change: () => change({ priority: select.value }) } },
    ...priorities.map((value) =>
      h("option", { value, selected: fields.priority === value }, t(`priority.${value || "own"}` as const)),
    ),
  );
  const fresh = h("input", {
    type: "checkbox",
    id: "fresh",
    checked: fields.isFresh,
    on: { change: () => change({ isFresh: fresh.checked }) },
  });
  return h(
    "details",
    { id: "options", open: isPicture(state.files) || Boolean(fields.priority || fields.isFresh) },
    h("summary", {}, t("optionsHeading")),
    isPicture(state.files) && millimetres("pixel_spacing_mm", t("pixelSpacing"), fields, change, t("pixelSpacingHint")),
    isPicture(state.files) && millimetres("slice_thickness_mm", t("sliceThickness"), fields, change),
    h("label", { for: "priority" }, t("priority")),
    select,
    h("label", { class: "check" }, fresh, t("fresh")),
  );
}

function millimetres(
  name: "pixel_spacing_mm" | "slice_thickness_mm",
  label: string,
  fields: Fields,
  change: (changes: Partial<Fields>) => void,
  hint?: string,
): HTMLElement {
  const input = h("input", {
    id: name,
    inputmode: "decimal",
    autocomplete: "off",
    value: fields[name],
    "aria-describedby": hint ? `${name}-hint` : null,
    on: { change: () => change({ [name]: input.value.trim() }) },
  });
  return h(
    "div",
    {},
    h("label", { for: name }, label),
    input,
    hint && h("p", { class: "quiet", id: `${name}-hint` }, hint),
  );
}

function button(state: State): HTMLElement {
  const missing = !state.files.length ? t("studyMissing") : !state.task ? t("taskMissing") : null;
  return h(
    "div",
    { class: "start" },
    h("button", { id: "start", type: "submit", class: "primary", disabled: missing !== null, "aria-describedby": "missing" }, t("start")),
    h("p", { id: "missing", class: "quiet" }, missing),
  );
}

function samples(state: State, actions: FormActions): HTMLElement | null {
  const tasks = state.models?.models.filter(({ name }) => hasPhantom(name)) ?? [];
  if (!tasks.length) return null;
  return h(
    "section",
    { class: "samples", "aria-labelledby": "sample-heading" },
    h("h3", { id: "sample-heading" }, t("sampleHeading")),
    h("p", { class: "quiet" }, t("sampleAbout")),
    h(
      "p",
      { class: "buttons" },
      ...tasks.map(({ name }) =>
        h("button", { type: "button", id: `sample-${name}`, on: { click: () => actions.trySample(name) } }, `${t("sample")}: ${named("task", name)}`),
      ),
    ),
  );
}
