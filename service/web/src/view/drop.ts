import { h } from "../dom";
import type { State } from "../state";
import { filesOfList, sizeOf, type StudyFile } from "../study/files";
import { counted, number, t } from "../text";

export interface DropActions {
  take(files: Promise<StudyFile[]> | readonly StudyFile[]): void;
  drop(): void;
}

/** Where a study is dropped or chosen. The whole page takes drops; this shows it and serves the keyboard. */
export function dropPlace(state: State, { take, drop }: DropActions): HTMLElement {
  const files = picker("files", { multiple: true }, take);
  const folder = picker("folder", { webkitdirectory: true }, take);
  return h(
    "section",
    { class: "drop", "aria-labelledby": "drop-heading" },
    h("h2", { id: "drop-heading" }, t("dropHere")),
    h("p", {}, t("dropKinds")),
    h(
      "p",
      { class: "buttons" },
      h("button", { type: "button", id: "choose-files", on: { click: () => files.click() } }, t("chooseFiles")),
      h("button", { type: "button", id: "choose-folder", on: { click: () => folder.click() } }, t("chooseFolder")),
    ),
    files,
    folder,
    h("div", { class: "chosen" }, chosen(state, drop)),
    h("p", { class: "quiet" }, t("dropPrivate")),
  );
}

function picker(name: string, attributes: Record<string, boolean>, take: DropActions["take"]): HTMLInputElement {
  const input = h("input", {
    type: "file",
    id: `pick-${name}`,
    hidden: true,
    ...attributes,
    on: {
      change: () => {
        take(filesOfList(input.files ?? []));
        // The same files may be chosen again.
        input.value = "";
      },
    },
  });
  return input;
}

function chosen({ files, isReading }: State, drop: () => void): HTMLElement | null {
  if (isReading) return h("p", {}, t("reading"));
  if (!files.length) return null;
  const [first] = files;
  const megabytes = number(sizeOf(files) / 1e6, 1);
  const name = files.length === 1 ? (first?.name ?? "") : counted("files", files.length);
  return h(
    "p",
    { id: "chosen" },
    h("strong", {}, `${t("chosen")}: `),
    `${name}, ${megabytes} MB `,
    h("button", { type: "button", id: "remove", class: "small", on: { click: drop } }, t("removeFiles")),
  );
}
