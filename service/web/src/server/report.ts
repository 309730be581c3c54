/** `sigap.report/1`, what the page reads of it. docs/api.md describes every member. */

export interface Notice {
  readonly code: string;
  readonly message: string;
  readonly [number: string]: unknown;
}

export interface Geometry {
  readonly verdict: "ok" | "warning" | "refused";
  readonly reasons: readonly Notice[];
}

export interface Hounsfield {
  readonly mean: number;
  readonly sd: number | null;
  readonly min: number;
  readonly max: number;
}

export interface LabelMeasure {
  readonly name: string;
  readonly voxels: number;
  readonly volume_ml: number | null;
  readonly area_mm2: number | null;
  readonly area_px: number | null;
  readonly interval_ml: readonly [number, number] | null;
  readonly hu: Hounsfield | null;
  readonly dropped: { readonly components: number; readonly volume_ml: number | null };
}

/** The first voxel and one past the last, as [slice, row, column]. */
export type Box = readonly [readonly [number, number, number], readonly [number, number, number]];

export interface Lesion {
  readonly id: number;
  readonly label: string;
  readonly volume_ml: number | null;
  readonly area_mm2: number | null;
  readonly area_px: number | null;
  readonly centroid_lps_mm: readonly [number, number, number] | null;
  readonly bounding_box: Box;
  readonly longest_diameter_mm: number | null;
  readonly perpendicular_diameter_mm: number | null;
  readonly key_slice: number;
  readonly hu: Hounsfield | null;
  readonly abc2_ml: number | null;
  readonly abc2_disagrees: boolean | null;
}

/** The patient's side towards which an index grows. */
export type Side = "R" | "L" | "A" | "P" | "S" | "I";

export interface Report {
  readonly task: string;
  readonly model: { readonly name: string; readonly version: string; readonly sha256: string };
  readonly input: {
    readonly kind: "dicom" | "nifti" | "png" | "jpeg";
    readonly shape: readonly [number, number, number];
    readonly spacing_mm: readonly (number | null)[];
    readonly axes: readonly [Side, Side, Side] | null;
    readonly ignored: readonly { readonly name: string; readonly reason: string }[];
  };
  readonly geometry: Geometry;
  readonly warnings: readonly Notice[];
  readonly finding: { readonly detected: boolean; readonly statement: string };
  readonly labels: readonly LabelMeasure[];
  readonly lesions: readonly Lesion[];
  readonly measures: { readonly tumour_burden_percent?: number | null };
  readonly provenance: { readonly sigap_version: string; readonly engine: string; readonly created: string };
  readonly timings_ms: Readonly<Record<string, number | null>>;
}
