import { h } from "../dom";
import { resultAddress } from "../server/job";
import type { Format, Models } from "../server/models";
import type { Report } from "../server/report";
import type { State } from "../state";
import { known, named, t } from "../text";

export interface DownloadActions {
  copy(): void;
  erase(): void;
  download(link: HTMLAnchorElement): void;
}

/** Every form of the answer that the server writes for this input, and what else one may do with it. */
export function downloads({ job, report, models }: State, actions: DownloadActions): HTMLElement | null {
  if (!job || !report || !models) return null;
  return h(
    "section",
    { class: "downloads", "aria-labelledby": "downloads-heading" },
    h("h3", { id: "downloads-heading" }, t("downloadsHeading")),
    h("ul", {}, ...offered(models, report).map(({ format, label }) => h("li", {}, link(job.id, { format, label }, actions)))),
    h(
      "p",
      { class: "buttons" },
      h("button", { type: "button", id: "copy", on: { click: actions.copy } }, t("copy")),
      h("button", { type: "button", id: "print", on: { click: () => window.print() } }, t("print")),
      h("button", { type: "button", id: "erase", on: { click: actions.erase } }, t("erase")),
    ),
  );
}

interface Offer {
  readonly format: Format;
  readonly label: string | null;
}

/** A surface is asked for label by label, and only of labels that were found. */
function offered({ formats }: Models, { input, labels }: Report): Offer[] {
  const isSpaced = input.spacing_mm.every((mm) => mm !== null);
  const fitting = formats.filter(({ inputs, needs_spacing }) => inputs.includes(input.kind) && (isSpaced || !needs_spacing));
  const found = labels.filter(({ voxels }) => voxels > 0).map(({ name }) => name);
  return fitting.flatMap((format): Offer[] =>
    format.is_per_label ? found.map((label) => ({ format, label })) : [{ format, label: null }],
  );
}

function link(id: string, { format: { name, filename }, label }: Offer, { download }: DownloadActions): HTMLElement {
  const words = known(`format.${name}`) ?? name;
  const text = label === null ? words : words.replace("{label}", named("label", label).toLowerCase());
  const file = label === null ? filename : `${label}.${name}`;
  const fetched = h(
    "a",
    {
      href: resultAddress(id, name, label ?? undefined),
      download: file,
      "data-format": name,
      on: {
        click: (event) => {
          event.preventDefault();
          download(fetched);
        },
      },
    },
    text,
  );
  return fetched;
}
