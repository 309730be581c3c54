/** `GET /models`, what the page reads of it. */

export interface Label {
  readonly value: number;
  readonly name: string;
  readonly role: "organ" | "lesion";
  readonly parent: string | null;
  readonly colour: readonly [number, number, number];
}

export interface Model {
  readonly name: string;
  readonly version: string;
  readonly labels: readonly Label[];
  readonly window: { readonly level_hu: number; readonly width_hu: number };
  readonly measures: readonly string[];
  readonly expects: { readonly body_parts: readonly string[]; readonly contrast: boolean | null };
  readonly model_card: { readonly sensitivity: string; readonly text: string | null };
}

/** A form that the answer can be downloaded in. */
export interface Format {
  readonly name: string;
  readonly filename: string;
  readonly inputs: readonly string[];
  readonly needs_spacing: boolean;
  readonly is_per_label: boolean;
}

export interface Models {
  readonly models: readonly Model[];
  readonly formats: readonly Format[];
}
