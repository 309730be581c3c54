import type { Side } from "../server/report";
import type { Affine, Vector, Volume } from "./nifti";

export type Plane = "axial" | "coronal" | "sagittal";
/** For each of i, j, k the patient's side towards which it grows. */
export type Sides = readonly [Side, Side, Side];
/** Which of i, j, k is the slice, the row and the column axis. */
export type Order = Vector;

/** How a plane lies on the screen: which stored axis runs to the right, down and through it, and which of them are turned. */
export interface Layout {
  readonly right: number;
  readonly down: number;
  readonly through: number;
  readonly isRightTurned: boolean;
  readonly isDownTurned: boolean;
}

const OPPOSITE: Readonly<Record<Side, Side>> = { R: "L", L: "R", A: "P", P: "A", S: "I", I: "S" };
/** What is on the right of the screen and what is below: the patient's right on the left, the nose on the left. */
const SCREEN: Readonly<Record<Plane, readonly [Side, Side]>> = {
  axial: ["L", "P"],
  coronal: ["L", "I"],
  sagittal: ["P", "I"],
};
const POSITIVE: readonly Side[] = ["R", "A", "S"];

export function layoutOf(plane: Plane, sides: Sides): Layout {
  const [rightwards, downwards] = SCREEN[plane];
  const along = (side: Side): number => sides.findIndex((own) => own === side || own === OPPOSITE[side]);
  const [right, down] = [along(rightwards), along(downwards)];
  return {
    right,
    down,
    through: 3 - right - down,
    isRightTurned: sides[right] !== rightwards,
    isDownTurned: sides[down] !== downwards,
  };
}

/** The marks at the left, the top, the right and the bottom of a plane. */
export function marksOf(plane: Plane): readonly [Side, Side, Side, Side] {
  const [right, bottom] = SCREEN[plane];
  return [OPPOSITE[right], OPPOSITE[bottom], right, bottom];
}

/** The order of the axes of a file that has an affine: the stored axis nearest S-I, then A-P, then R-L. */
export function orderOf(affine: Affine): Order {
  const along = [0, 1, 2].map((axis) => {
    const step = stepOf(affine, axis);
    const length = Math.hypot(...step);
    return step.map((value) => Math.abs(value) / length);
  });
  const orders: Order[] = [[2, 1, 0], [2, 0, 1], [1, 2, 0], [1, 0, 2], [0, 1, 2], [0, 2, 1]];
  const fit = ([slice, row, column]: Order): number =>
    (along[slice]?.[2] ?? 0) + (along[row]?.[1] ?? 0) + (along[column]?.[0] ?? 0);
  return orders.reduce((best, other) => (fit(other) > fit(best) + 1e-9 ? other : best));
}

/** Where the stored axes run; slices without one affine are (column, row, slice), as the report's `axes` tell. */
export function sidesOf({ affine }: Volume, axes: readonly [Side, Side, Side] | null): Sides {
  if (!affine) {
    // Nothing is known of a side: rows run down the screen and columns to its right, as they are stored.
    const [slice, row, column] = axes ?? (["S", "P", "L"] as const);
    return [column, row, slice];
  }
  const order = orderOf(affine);
  const sides: Side[] = [];
  order.forEach((axis, place) => {
    const world = 2 - place;
    const side = POSITIVE[world] as Side;
    sides[axis] = (stepOf(affine, axis)[world] ?? 0) < 0 ? OPPOSITE[side] : side;
  });
  return sides as unknown as Sides;
}

function stepOf(affine: Affine, axis: number): number[] {
  return [0, 1, 2].map((world) => affine[world]?.[axis] ?? 0);
}

/** LPS mm of a voxel. */
export function lpsOf(affine: Affine, [i, j, k]: Vector): Vector {
  const [right = 0, front = 0, up = 0] = affine.map((row) => (row[0] ?? 0) * i + (row[1] ?? 0) * j + (row[2] ?? 0) * k + (row[3] ?? 0));
  return [-right, -front, up];
}
