import type { Lesion } from "../server/report";

type Vector = readonly [number, number, number];

/** A labelmap as it lies in memory: (i, j, k), i fastest. */
export interface Labelmap {
  readonly voxels: ArrayLike<number>;
  readonly shape: Vector;
}

/** Which of i, j, k is the slice, the row and the column axis. */
export type Order = Vector;

/**
 * The voxel (i, j, k) to show of a lesion: on its key slice, where its longest diameter was measured, the voxel of the
 * lesion nearest to the middle of its box. A crescent's centre of mass would lie beside it.
 */
export function voxelOf(lesion: Lesion, value: number, labelmap: Labelmap, order: Order): Vector {
  const [first, past] = lesion.bounding_box;
  const middle = [lesion.key_slice, (first[1] + past[1] - 1) / 2, (first[2] + past[2] - 1) / 2] as const;
  let best: Vector = [lesion.key_slice, Math.round(middle[1]), Math.round(middle[2])];
  let least = Infinity;
  for (let row = first[1]; row < past[1]; row += 1) {
    for (let column = first[2]; column < past[2]; column += 1) {
      const distance = (row - middle[1]) ** 2 + (column - middle[2]) ** 2;
      const place: Vector = [lesion.key_slice, row, column];
      if (distance < least && valueAt(labelmap, stored(place, order)) === value) {
        least = distance;
        best = place;
      }
    }
  }
  return stored(best, order);
}

/** (i, j, k) of [slice, row, column]. */
function stored(place: Vector, order: Order): Vector {
  const index: [number, number, number] = [0, 0, 0];
  order.forEach((axis, position) => {
    index[axis] = place[position] ?? 0;
  });
  return index;
}

function valueAt({ voxels, shape }: Labelmap, [i, j, k]: Vector): number | undefined {
  return voxels[i + shape[0] * (j + shape[1] * k)];
}

/** The order of the axes of a file that has an affine: the stored axis nearest S-I, then A-P, then R-L. */
export function orderOf(affine: readonly (readonly number[])[]): Order {
  const along = [0, 1, 2].map((axis) => {
    const step = [0, 1, 2].map((world) => affine[world]?.[axis] ?? 0);
    const length = Math.hypot(...step);
    return step.map((value) => Math.abs(value) / length);
  });
  const orders: Order[] = [[2, 1, 0], [2, 0, 1], [1, 2, 0], [1, 0, 2], [0, 1, 2], [0, 2, 1]];
  const fit = ([slice, row, column]: Order): number =>
    (along[slice]?.[2] ?? 0) + (along[row]?.[1] ?? 0) + (along[column]?.[0] ?? 0);
  return orders.reduce((best, other) => (fit(other) > fit(best) + 1e-9 ? other : best));
}

/** (i, j, k), with fractions, of a point in the millimetres of an affine: Cramer's rule. */
export function indexOf(affine: readonly (readonly number[])[], mm: readonly number[]): Vector {
  const column = (axis: number): number[] => [0, 1, 2].map((world) => affine[world]?.[axis] ?? 0);
  const steps = [column(0), column(1), column(2)];
  const from = column(3).map((start, world) => (mm[world] ?? 0) - start);
  const whole = determinant(steps);
  const along = (axis: number): number => determinant(steps.with(axis, from)) / whole;
  return [along(0), along(1), along(2)];
}

function determinant([a = [], b = [], c = []]: readonly number[][]): number {
  const at = (vector: number[], axis: number): number => vector[axis] ?? 0;
  return (
    at(a, 0) * (at(b, 1) * at(c, 2) - at(b, 2) * at(c, 1)) -
    at(b, 0) * (at(a, 1) * at(c, 2) - at(a, 2) * at(c, 1)) +
    at(c, 0) * (at(a, 1) * at(b, 2) - at(a, 2) * at(b, 1))
  );
}
