import { DRAG_MODE, Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";
import { type Affine, type Vector, type Volume, type Voxels, write } from "./nifti";
import type { Scene } from "./plane-view";
import type { Sides } from "./planes";

const LARGEST_SIDE = 256;
const DIRECTIONS = { R: [0, 1], L: [0, -1], A: [1, 1], P: [1, -1], S: [2, 1], I: [2, -1] } as const;

/** The scan and its mask as a volume to be turned: NiiVue, which needs WebGL 2, on coarser voxels where there are many. */
export class VolumeView {
  private shown: { scan: Volume; mask: Volume | null } | null = null;
  private images: NVImage[] = [];
  private steps: Vector = [1, 1, 1];

  private constructor(private readonly viewer: Niivue) {}

  static async on(canvas: HTMLCanvasElement): Promise<VolumeView> {
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.38, 0.75, 1, 0.8],
      dragAndDropEnabled: false,
      dragMode: DRAG_MODE.none,
      isOrientCube: true,
      loadingText: "",
      logLevel: "warn",
      show3Dcrosshair: true,
      showLegend: false,
      sliceType: SLICE_TYPE.RENDER,
    });
    await viewer.attachToCanvas(canvas, false);
    // From the front, as one stands before a patient.
    viewer.scene.renderAzimuth = 160;
    viewer.scene.renderElevation = 12;
    return new VolumeView(viewer);
  }

  async show(scene: Scene): Promise<void> {
    if (this.shown?.scan !== scene.scan || this.shown.mask !== scene.mask) await this.load(scene);
    const [scan, mask] = this.images;
    const { level_hu, width_hu } = scene.window;
    if (scan && (scan.cal_min !== level_hu - width_hu / 2 || scan.cal_max !== level_hu + width_hu / 2)) {
      [scan.cal_min, scan.cal_max] = [level_hu - width_hu / 2, level_hu + width_hu / 2];
      this.viewer.updateGLVolume();
    }
    if (mask && mask.opacity !== scene.opacity) {
      mask.opacity = scene.opacity;
      this.viewer.updateGLVolume();
    }
    this.point(scene);
  }

  clear(): void {
    for (const image of [...this.images].reverse()) this.viewer.removeVolume(image);
    this.images = [];
    this.shown = null;
  }

  private async load({ scan, mask, labels, sides, window, opacity }: Scene): Promise<void> {
    this.clear();
    this.shown = { scan, mask };
    this.steps = scan.shape.map((size) => Math.ceil(size / LARGEST_SIDE)) as unknown as Vector;
    const [low, high] = [window.level_hu - window.width_hu / 2, window.level_hu + window.width_hu / 2];
    this.images = [await image(coarser(scan, this.steps, sides), 1, [low, high])];
    if (mask) {
      const coarse = coarser(mask, this.steps, sides);
      const tinted = await image(coarse, opacity, [0, 255]);
      const channel = (index: 0 | 1 | 2): number[] => [0, ...labels.map(({ colour }) => colour[index])];
      // An organ would hide the lesions in it: NiiVue knows labels that are there and labels that are not.
      const lesions = labels.filter(({ role, value }) => role === "lesion" && coarse.voxels.includes(value));
      const alpha = [0, ...labels.map((label) => (lesions.length && !lesions.includes(label) ? 0 : 255))];
      const values = [0, ...labels.map(({ value }) => value)];
      tinted.setColormapLabel({ R: channel(0), G: channel(1), B: channel(2), A: alpha, I: values, labels: ["", ...labels.map(({ name }) => name)] });
      this.images.push(tinted);
    }
    for (const one of this.images) this.viewer.addVolume(one);
  }

  private point({ voxel }: Scene): void {
    const [scan] = this.images;
    const affine = (scan?.hdr?.affine ?? []) as number[][];
    const [i = 0, j = 0, k = 0] = voxel.map((index, axis) => Math.floor(index / (this.steps[axis] ?? 1)));
    const mm = affine.slice(0, 3).map((row) => (row[0] ?? 0) * i + (row[1] ?? 0) * j + (row[2] ?? 0) * k + (row[3] ?? 0));
    this.viewer.scene.crosshairPos = this.viewer.mm2frac(new Float32Array(mm), 0, true);
    this.viewer.drawScene();
  }
}

/** Every n-th voxel of a scan; of a mask the largest label of a block, so that no small lesion is lost. */
function coarser({ voxels, shape, spacing }: Volume, steps: Vector, sides: Sides): Volume {
  const size = shape.map((count, axis) => Math.ceil(count / (steps[axis] ?? 1))) as unknown as Vector;
  const wide = spacing.map((mm, axis) => mm * (steps[axis] ?? 1)) as unknown as Vector;
  const made = new (voxels.constructor as new (length: number) => Voxels)(size[0] * size[1] * size[2]);
  const isMask = voxels instanceof Uint8Array;
  for (let k = 0; k < shape[2]; k += isMask ? 1 : steps[2]) {
    for (let j = 0; j < shape[1]; j += isMask ? 1 : steps[1]) {
      const from = shape[0] * (j + shape[1] * k);
      const to = size[0] * (Math.floor(j / steps[1]) + size[1] * Math.floor(k / steps[2]));
      for (let i = 0; i < shape[0]; i += isMask ? 1 : steps[0]) {
        const at = to + Math.floor(i / steps[0]);
        const value = voxels[from + i] ?? 0;
        if (!isMask || value > (made[at] ?? 0)) made[at] = value;
      }
    }
  }
  return { voxels: made, shape: size, spacing: wide, affine: straight(wide, sides) };
}

/** Along the patient's axes: a volume to be turned need not lie in the scanner's place. */
function straight(spacing: Vector, sides: Sides): Affine {
  const rows = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]];
  sides.forEach((side, axis) => {
    const [world, sign] = DIRECTIONS[side];
    const row = rows[world];
    if (row) row[axis] = sign * (spacing[axis] ?? 1);
  });
  return rows;
}

/** NiiVue's own constructor takes twenty arguments in a row, the shades' range among them. */
async function image(volume: Volume, opacity: number, [low, high]: readonly [number, number]): Promise<NVImage> {
  const file = await write(volume).arrayBuffer();
  const [isTrusted, percentile, isIgnoringZero, isQform] = [true, 0.02, false, false];
  const noNegatives = ["", 0, 0, NaN, NaN, false, null, 0, undefined] as const;
  return NVImage.new(file, "volume.nii", "gray", opacity, null, low, high, isTrusted, percentile, isIgnoringZero, isQform, ...noNegatives);
}
