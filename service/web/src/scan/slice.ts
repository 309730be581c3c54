import type { Label } from "../server/models";
import type { Vector, Volume } from "./nifti";
import type { Layout } from "./planes";

/** Draws one slice into memory, a pixel a voxel. */

type Rgba = Uint8ClampedArray<ArrayBuffer>;

export interface Window {
  readonly level_hu: number;
  readonly width_hu: number;
}

interface Walk {
  readonly columns: number;
  readonly rows: number;
  readonly start: number;
  readonly right: number;
  readonly down: number;
}

/** Where a slice's first pixel lies in memory, and how far the next one is to the right and below. */
function walkOf({ shape }: Volume, layout: Layout, slice: number): Walk {
  const strides: Vector = [1, shape[0], shape[0] * shape[1]];
  const [columns, rows] = [shape[layout.right] ?? 1, shape[layout.down] ?? 1];
  const [right, down, through] = [strides[layout.right] ?? 0, strides[layout.down] ?? 0, strides[layout.through] ?? 0];
  const start =
    slice * through + (layout.isRightTurned ? (columns - 1) * right : 0) + (layout.isDownTurned ? (rows - 1) * down : 0);
  return { columns, rows, start, right: layout.isRightTurned ? -right : right, down: layout.isDownTurned ? -down : down };
}

/** Shades of grey in a window of CT numbers: linear between its edges, as the model and the pictures have it. */
export function shades(scan: Volume, layout: Layout, slice: number, { level_hu, width_hu }: Window): ImageData {
  const { voxels } = scan;
  const { columns, rows, start, right, down } = walkOf(scan, layout, slice);
  const pixels = new Uint8ClampedArray(4 * columns * rows);
  const words = new Uint32Array(pixels.buffer);
  const [low, scale] = [level_hu - width_hu / 2, 255 / width_hu];
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let column = 0, from = start + row * down; column < columns; column += 1, at += 1, from += right) {
      const shade = ((voxels[from] ?? 0) - low) * scale;
      const grey = shade <= 0 ? 0 : shade >= 255 ? 255 : (shade + 0.5) | 0;
      words[at] = 0xff000000 | (grey * 0x10101);
    }
  }
  return new ImageData(pixels, columns, rows);
}

// An organ is tinted more lightly than a lesion that lies in it.
const ORGAN_ALPHA = 110;

/** The labels' colours where their voxels are, or along the edges of these alone. */
export function tints(mask: Volume, layout: Layout, slice: number, how: { labels: readonly Label[]; isOutline: boolean }): ImageData {
  const { columns, rows, start, right, down } = walkOf(mask, layout, slice);
  const values = new Uint8Array(columns * rows);
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let column = 0, from = start + row * down; column < columns; column += 1, at += 1, from += right) {
      values[at] = mask.voxels[from] ?? 0;
    }
  }
  const pixels: Rgba = new Uint8ClampedArray(4 * columns * rows);
  const colours = new Map(how.labels.map(({ value, colour, role }) => [value, { colour, alpha: role === "organ" ? ORGAN_ALPHA : 255 }]));
  values.forEach((value, at) => {
    const found = value ? colours.get(value) : undefined;
    if (!found || (how.isOutline && !isEdge(values, at, columns))) return;
    pixels.set(found.colour, 4 * at);
    pixels[4 * at + 3] = how.isOutline ? 255 : found.alpha;
  });
  return new ImageData(pixels, columns, rows);
}

/** Whether one of the four neighbours is of another label, or beyond the image. */
function isEdge(values: Uint8Array, at: number, columns: number): boolean {
  const value = values[at];
  const column = at % columns;
  return (
    column === 0 ||
    column === columns - 1 ||
    values[at - 1] !== value ||
    values[at + 1] !== value ||
    values[at - columns] !== value ||
    values[at + columns] !== value
  );
}
