import type { Side } from "../server/report";

type Vector = readonly [number, number, number];
type Row = readonly [number, number, number, number];
/** Rows of the matrix from (i, j, k) to RAS mm. */
export type Affine = readonly [Row, Row, Row];

const NIFTI1_BYTES = 348;
// Each side's direction in RAS.
const DIRECTIONS: Readonly<Record<Side, Vector>> = {
  R: [1, 0, 0],
  L: [-1, 0, 0],
  A: [0, 1, 0],
  P: [0, -1, 0],
  S: [0, 0, 1],
  I: [0, 0, -1],
};

/** The NIfTI file in a response, unpacked. */
export async function unpacked(response: Response): Promise<ArrayBuffer> {
  if (!response.body) throw new TypeError("the answer is empty");
  return new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Where the fields of a header stand, in NIfTI-1 and NIfTI-2. */
interface Fields {
  readonly view: DataView;
  readonly little: boolean;
  readonly isFirst: boolean;
}

function fieldsOf(file: ArrayBuffer): Fields {
  const view = new DataView(file);
  const little = view.getInt32(0, true) === NIFTI1_BYTES || view.getInt32(0, true) === 540;
  return { view, little, isFirst: view.getInt32(0, little) === NIFTI1_BYTES };
}

/** How many voxels there are along i, j and k. */
export function shapeOf(file: ArrayBuffer): Vector {
  const { view, little, isFirst } = fieldsOf(file);
  const size = (axis: number): number =>
    isFirst ? view.getInt16(40 + 2 * axis, little) : Number(view.getBigInt64(16 + 8 * axis, little));
  return [size(1), Math.max(1, size(2)), Math.max(1, size(3))];
}

function spacingOf({ view, little, isFirst }: Fields): Vector {
  const size = (axis: number): number =>
    isFirst ? view.getFloat32(76 + 4 * axis, little) : view.getFloat64(104 + 8 * axis, little);
  return [size(1), size(2), size(3)];
}

/** Whether the file says where left and right are. */
export function isPlaced(file: ArrayBuffer): boolean {
  const { view, little, isFirst } = fieldsOf(file);
  return isFirst
    ? view.getInt16(252, little) > 0 || view.getInt16(254, little) > 0
    : view.getInt32(344, little) > 0 || view.getInt32(348, little) > 0;
}

/**
 * Writes an affine into a file that has none, so that a viewer turns its slices the right way round.
 *
 * Of slices without one affine, (i, j, k) are (column, row, slice). Where not even their sides are known, rows run down
 * and columns to the right of the screen, as stored: in a view with the patient's right on the left, to P and L.
 */
export function place(file: ArrayBuffer, axes: readonly [Side, Side, Side] | null): void {
  const fields = fieldsOf(file);
  const [slice, row, column] = axes ?? (["S", "P", "L"] as const);
  const spacing = spacingOf(fields);
  const steps = [column, row, slice].map((side, axis) => DIRECTIONS[side].map((value) => value * (spacing[axis] || 1)));
  const { view, little, isFirst } = fields;
  for (let world = 0; world < 3; world += 1) {
    const values = [...steps.map((step) => step[world] ?? 0), 0];
    values.forEach((value, index) => {
      if (isFirst) view.setFloat32(280 + 16 * world + 4 * index, value, little);
      else view.setFloat64(400 + 32 * world + 8 * index, value, little);
    });
  }
  if (isFirst) view.setInt16(254, 1, little);
  else view.setInt32(348, 1, little);
}
