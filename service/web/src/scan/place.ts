import type { Lesion } from "../server/report";
import type { Vector, Volume } from "./nifti";
import type { Order } from "./planes";

/**
 * The voxel (i, j, k) to show of a lesion: on its key slice, where its longest diameter was measured, the voxel of the
 * lesion nearest to the middle of its box. A crescent's centre of mass would lie beside it.
 */
export function voxelOf(lesion: Lesion, value: number, mask: Volume | null, order: Order): Vector {
  const [first, past] = lesion.bounding_box;
  const middle = [(first[1] + past[1] - 1) / 2, (first[2] + past[2] - 1) / 2] as const;
  let best: Vector = [lesion.key_slice, Math.round(middle[0]), Math.round(middle[1])];
  let least = Infinity;
  for (let row = first[1]; mask && row < past[1]; row += 1) {
    for (let column = first[2]; column < past[2]; column += 1) {
      const distance = (row - middle[0]) ** 2 + (column - middle[1]) ** 2;
      const place: Vector = [lesion.key_slice, row, column];
      if (distance < least && valueAt(mask, stored(place, order)) === value) {
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

export function valueAt({ voxels, shape }: Volume, [i, j, k]: Vector): number {
  return voxels[i + shape[0] * (j + shape[1] * k)] ?? 0;
}
