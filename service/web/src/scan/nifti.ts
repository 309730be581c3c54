/** NIfTI as the server writes it: one volume, gzipped, in the byte order of what was sent. */

export type Vector = readonly [number, number, number];
/** Rows of the matrix from (i, j, k) to RAS mm. */
export type Affine = readonly (readonly number[])[];
export type Voxels = Uint8Array | Int16Array | Float32Array;

export interface Volume {
  /** i fastest. */
  readonly voxels: Voxels;
  readonly shape: Vector;
  readonly spacing: Vector;
  /** null where the file says nothing of left and right. */
  readonly affine: Affine | null;
}

const NIFTI1_BYTES = 348;
const NIFTI2_BYTES = 540;

/** The NIfTI file in a response, read. */
export async function volumeOf(response: Response): Promise<Volume> {
  if (!response.body) throw new TypeError("the answer is empty");
  return read(await new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** Where the fields of a header stand, in NIfTI-1 and NIfTI-2. */
class Fields {
  private readonly view: DataView;
  private readonly isLittle: boolean;
  readonly isFirst: boolean;

  constructor(file: ArrayBuffer) {
    this.view = new DataView(file);
    this.isLittle = [NIFTI1_BYTES, NIFTI2_BYTES].includes(this.view.getInt32(0, true));
    this.isFirst = this.view.getInt32(0, this.isLittle) === NIFTI1_BYTES;
  }

  get isNative(): boolean {
    return this.isLittle;
  }

  short = (at: number): number => this.view.getInt16(at, this.isLittle);
  int = (at: number): number => this.view.getInt32(at, this.isLittle);
  long = (at: number): number => Number(this.view.getBigInt64(at, this.isLittle));
  single = (at: number): number => this.view.getFloat32(at, this.isLittle);
  double = (at: number): number => this.view.getFloat64(at, this.isLittle);

  size = (axis: number): number => Math.max(1, this.isFirst ? this.short(40 + 2 * axis) : this.long(16 + 8 * axis));
  step = (axis: number): number => (this.isFirst ? this.single(76 + 4 * axis) : this.double(104 + 8 * axis));
}

export function read(file: ArrayBuffer): Volume {
  const fields = new Fields(file);
  const shape: Vector = [fields.size(1), fields.size(2), fields.size(3)];
  const offset = fields.isFirst ? fields.single(108) : fields.long(168);
  const type = fields.short(fields.isFirst ? 70 : 12);
  return {
    voxels: voxelsOf(file, { offset, type, count: shape[0] * shape[1] * shape[2], isNative: fields.isNative }),
    shape,
    spacing: [fields.step(1) || 1, fields.step(2) || 1, fields.step(3) || 1].map(Math.abs) as [number, number, number],
    affine: affineOf(fields),
  };
}

interface Stored {
  readonly offset: number;
  readonly type: number;
  readonly count: number;
  readonly isNative: boolean;
}

function voxelsOf(file: ArrayBuffer, { offset, type, count, isNative }: Stored): Voxels {
  const kinds = { 2: Uint8Array, 4: Int16Array, 16: Float32Array } as const;
  const Kind = kinds[type as keyof typeof kinds];
  if (!Kind) throw new TypeError(`voxels of NIfTI type ${type}`);
  if (!isNative) swap(new Uint8Array(file, offset, count * Kind.BYTES_PER_ELEMENT), Kind.BYTES_PER_ELEMENT);
  return new Kind(file, offset, count);
}

function swap(bytes: Uint8Array, size: number): void {
  for (let at = 0; size > 1 && at < bytes.length; at += size) bytes.subarray(at, at + size).reverse();
}

function affineOf(fields: Fields): Affine | null {
  const { isFirst } = fields;
  const [qform, sform] = isFirst ? [fields.short(252), fields.short(254)] : [fields.int(344), fields.int(348)];
  if (sform > 0) {
    const value = (row: number, column: number): number =>
      isFirst ? fields.single(280 + 16 * row + 4 * column) : fields.double(400 + 32 * row + 8 * column);
    return [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => value(row, column)));
  }
  return qform > 0 ? turned(fields) : null;
}

/** The qform's affine: NIfTI-1's method 2. */
function turned(fields: Fields): Affine {
  const { isFirst } = fields;
  const number = (index: number): number => (isFirst ? fields.single(256 + 4 * index) : fields.double(352 + 8 * index));
  const [b, c, d] = [number(0), number(1), number(2)];
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const handed = fields.step(0) < 0 ? -1 : 1;
  const steps = [fields.step(1), fields.step(2), fields.step(3) * handed];
  const rotation = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
  ];
  return rotation.map((row, index) => [...row.map((value, axis) => value * (steps[axis] ?? 1)), number(3 + index)]);
}

/** A NIfTI-1 file of what the page draws itself. */
export function write({ voxels, shape, spacing, affine }: Volume): Blob {
  const view = new DataView(new ArrayBuffer(352));
  const [type, bits] = voxels instanceof Uint8Array ? [2, 8] : voxels instanceof Int16Array ? [4, 16] : [16, 32];
  view.setInt32(0, NIFTI1_BYTES, true);
  [3, ...shape, 1, 1, 1, 1].forEach((size, index) => view.setInt16(40 + 2 * index, size, true));
  view.setInt16(70, type, true);
  view.setInt16(72, bits, true);
  [1, ...spacing].forEach((size, index) => view.setFloat32(76 + 4 * index, size, true));
  view.setFloat32(108, 352, true);
  view.setFloat32(112, 1, true);
  view.setUint8(123, 2);
  view.setInt16(254, affine ? 1 : 0, true);
  (affine ?? []).flat().forEach((value, index) => view.setFloat32(280 + 4 * index, value, true));
  [0x6e, 0x2b, 0x31, 0].forEach((byte, index) => view.setUint8(344 + index, byte));
  return new Blob([view.buffer as ArrayBuffer, voxels as Uint8Array<ArrayBuffer>]);
}
