import { h } from "../dom";
import { current, type Language, t } from "../text";

export type Theme = "dark" | "light";

export interface HeaderActions {
  speak(language: Language): void;
  paint(theme: Theme): void;
  renew(): void;
}

/** Always there, and always with what the page is not. */
export function header(theme: Theme, isAnswered: boolean, { speak, paint, renew }: HeaderActions): HTMLElement[] {
  const languages: [Language, string][] = [["en", "English"], ["id", "Bahasa Indonesia"]];
  const select = h(
    "select",
    { id: "language", "aria-label": t("language"), on: { change: () => speak(select.value as Language) } },
    ...languages.map(([value, name]) => h("option", { value, lang: value, selected: current() === value }, name)),
  );
  const other: Theme = theme === "dark" ? "light" : "dark";
  return [
    h("p", { class: "brand" }, h("strong", {}, "Sigap"), h("span", { class: "quiet" }, t("tagline"))),
    h("p", { class: "research", id: "research" }, h("strong", {}, t("research")), h("span", {}, t("notADevice"))),
    h(
      "p",
      { class: "tools" },
      isAnswered && h("button", { type: "button", id: "new", class: "primary", on: { click: renew } }, t("newStudy")),
      select,
      h("button", { type: "button", id: "theme", on: { click: () => paint(other) } }, theme === "dark" ? t("themeLight") : t("themeDark")),
    ),
  ];
}

export function footer(): HTMLElement[] {
  return [
    h("p", {}, t("footnote")),
    h("p", {}, h("a", { href: "docs" }, t("apiDocs")), " · ", h("a", { href: "page/notices.txt" }, t("notices"))),
  ];
}
