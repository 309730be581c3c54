import { en, type Key } from "./en";
import { id } from "./id";

export type { Key } from "./en";
export type Language = "en" | "id";

const WORDS: Readonly<Record<Language, Readonly<Record<string, string>>>> = { en, id };
let language: Language = "en";

export const current = (): Language => language;

export function speak(chosen: Language): void {
  language = chosen;
  document.documentElement.lang = chosen;
  document.title = t("title");
}

type Values = Readonly<Record<string, string | number>>;

export function t(key: Key, values: Values = {}): string {
  return filled(WORDS[language][key] ?? en[key], values);
}

/** One or several, by the language's own rule. */
export function counted(noun: "files" | "lesions", count: number): string {
  const rule = new Intl.PluralRules(language).select(count) === "one" ? "one" : "other";
  return t(`${noun}.${rule}`, { count: count.toLocaleString(language) });
}

/** What the page calls something that the server names, such as a task; else the server's own name. */
export function named(kind: "task" | "label", name: string): string {
  return WORDS[language][`${kind}.${name}`] ?? name.charAt(0).toUpperCase() + name.slice(1);
}

export const known = (key: string): string | null => WORDS[language][key] ?? null;

function filled(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A number as a person reads it: `digits` decimals, and never a size rounded to nothing. */
export function number(value: number, digits: number): string {
  const least = 10 ** -digits;
  if (value > 0 && value < least / 2) return `< ${least.toLocaleString(language)}`;
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Two decimals below one, then one: as many as the report's sentence has. */
export const volume = (ml: number): string => number(ml, ml < 1 ? 2 : 1);
