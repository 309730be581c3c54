type Child = Node | string | number | null | undefined | false;
type Listeners = { [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void };

interface Attributes {
  readonly on?: Listeners;
  readonly [name: string]: string | number | boolean | null | undefined | Listeners;
}

/** An element with its attributes and children; text is text, never markup. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on" || value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, listener] of Object.entries(attributes.on ?? {})) {
    element.addEventListener(name, listener as EventListener);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(String_));
  return element;
}

const String_ = (child: Node | string | number): Node | string => (typeof child === "number" ? String(child) : child);

/** Replaces what lies in a place and gives the focus back to the element of the same id. */
export function fill(place: Element, ...children: readonly Child[]): void {
  const focused = place.contains(document.activeElement) ? document.activeElement?.id : undefined;
  place.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false).map(String_));
  if (focused) document.getElementById(focused)?.focus();
}

export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`there is no #${id}`);
  return element as E;
}

/** A small square in a label's colour. The policy forbids style attributes, not styles set by a script. */
export function swatch(colour: readonly [number, number, number]): HTMLElement {
  const square = h("span", { class: "swatch", "aria-hidden": "true" });
  square.style.backgroundColor = `rgb(${colour.join(" ")})`;
  return square;
}
