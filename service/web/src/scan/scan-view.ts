import { DRAG_MODE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { Label } from "../server/models";
import type { Lesion, Side } from "../server/report";
import { isPlaced, place } from "./nifti";
import { indexOf, type Order, orderOf, voxelOf } from "./place";

export type Layout = "all" | "axial" | "coronal" | "sagittal" | "volume";

/** What lies under the crosshair. */
export interface Spot {
  /** [slice, row, column], as the report counts them. */
  readonly index: readonly [number, number, number];
  readonly slices: number;
  readonly lps: readonly [number, number, number] | null;
  readonly value: number;
  readonly label: number;
}

export interface Shown {
  readonly axes: readonly [Side, Side, Side] | null;
  /** One affine describes all slices: there are other planes and a volume to look at. */
  readonly isUniform: boolean;
}

type Colour = [number, number, number, number];
const BACKGROUND: Colour = [0, 0, 0, 1];
const CROSSHAIR: Colour = [0.35, 0.75, 1, 0.75];
const OUTLINE = 1;
// An organ is tinted more lightly than a lesion inside it, which it would hide in 3-D.
const ORGAN_ALPHA = 120;

/**
 * The scan with its mask: NiiVue on a canvas, kept to what a radiologist expects of it.
 *
 * The patient's right is on the left, the nose of a sagittal slice too; marks stand on all four sides where the sides are
 * known, and on none where they are not.
 */
export class ScanView {
  private readonly viewer: Niivue;
  private scan: NVImage | null = null;
  private mask: NVImage | null = null;
  private order: Order = [2, 1, 0];
  private isPlaced = false;
  private opacity = 0.5;
  onSpot: (spot: Spot) => void = () => undefined;

  private constructor() {
    this.viewer = new Niivue({
      backColor: BACKGROUND,
      crosshairColor: CROSSHAIR,
      crosshairGap: 14,
      crosshairWidth: 0.6,
      dragAndDropEnabled: false,
      dragMode: DRAG_MODE.windowing,
      fontMinPx: 17,
      fontColor: [0.95, 0.85, 0.4, 1],
      isForceMouseClickToVoxelCenters: true,
      isOrientationTextVisible: true,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "warn",
      multiplanarShowRender: SHOW_RENDER.NEVER,
      sagittalNoseLeft: true,
      show3Dcrosshair: true,
      showAllOrientationMarkers: true,
      showLegend: false,
      tileMargin: 4,
    });
    this.viewer.onLocationChange = () => this.tell();
  }

  static async on(canvas: HTMLCanvasElement): Promise<ScanView> {
    const view = new ScanView();
    await view.viewer.attachToCanvas(canvas);
    return view;
  }

  /** Shows a scan without a mask, in a window of CT numbers. */
  async showScan(file: ArrayBuffer, { axes, isUniform }: Shown, window: { level_hu: number; width_hu: number }): Promise<void> {
    this.clear();
    this.isPlaced = isPlaced(file);
    if (!this.isPlaced) place(file, isUniform ? null : axes);
    const [low, high] = [window.level_hu - window.width_hu / 2, window.level_hu + window.width_hu / 2];
    const scan = await image(file, "scan.nii", 1, [low, high]);
    this.scan = scan;
    this.order = this.isPlaced ? orderOf(this.affine()) : [2, 1, 0];
    this.viewer.opts.isOrientationTextVisible = this.isPlaced || axes !== null;
    this.viewer.addVolume(scan);
    this.setLayout(isUniform ? "all" : "axial");
    const [columns, rows, slices] = this.shape();
    this.moveTo([columns >> 1, rows >> 1, slices >> 1]);
  }

  /** Lays the mask over the scan. */
  async showMask(file: ArrayBuffer, labels: readonly Label[], { axes, isUniform }: Shown): Promise<void> {
    if (!isPlaced(file)) place(file, isUniform ? null : axes);
    if (this.mask) this.viewer.removeVolume(this.mask);
    const mask = await image(file, "mask.nii", this.opacity, [0, 255]);
    const channel = (index: 0 | 1 | 2): number[] => [0, ...labels.map(({ colour }) => colour[index])];
    mask.setColormapLabel({
      R: channel(0),
      G: channel(1),
      B: channel(2),
      A: [0, ...labels.map(({ role }) => (role === "organ" ? ORGAN_ALPHA : 255))],
      I: [0, ...labels.map(({ value }) => value)],
      labels: ["", ...labels.map(({ name }) => name)],
    });
    this.mask = mask;
    // addVolume would draw the scan's texture anew as well.
    this.viewer.volumes.push(mask);
    this.viewer.overlays = this.viewer.volumes.slice(1);
    this.drawMask();
    this.tell();
  }

  clear(): void {
    for (const volume of [...this.viewer.volumes].reverse()) this.viewer.removeVolume(volume);
    this.scan = null;
    this.mask = null;
  }

  setWindow(levelHu: number, widthHu: number): void {
    if (!this.scan) return;
    this.scan.cal_min = levelHu - widthHu / 2;
    this.scan.cal_max = levelHu + widthHu / 2;
    this.viewer.refreshLayers(this.scan, 0);
    this.drawMask();
    this.viewer.drawScene();
  }

  setLayout(layout: Layout): void {
    const types = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL, volume: SLICE_TYPE.RENDER };
    if (layout === "all") {
      this.viewer.setCustomLayout([
        { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.62, 1] },
        { sliceType: SLICE_TYPE.CORONAL, position: [0.62, 0, 0.38, 0.5] },
        { sliceType: SLICE_TYPE.SAGITTAL, position: [0.62, 0.5, 0.38, 0.5] },
      ]);
      this.viewer.setSliceType(SLICE_TYPE.MULTIPLANAR);
    } else {
      this.viewer.clearCustomLayout();
      this.viewer.setSliceType(types[layout]);
    }
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    if (this.mask) this.mask.opacity = opacity;
    this.drawMask();
  }

  setOutline(isOutline: boolean): void {
    this.viewer.opts.atlasOutline = isOutline ? OUTLINE : 0;
    this.drawMask();
  }

  /** Moves the crosshair to a lesion, on the slice where its longest diameter was measured. */
  goTo(lesion: Lesion, value: number): void {
    if (!this.scan) return;
    const labelmap = { voxels: (this.mask?.img ?? []) as ArrayLike<number>, shape: this.shape() };
    this.moveTo(voxelOf(lesion, value, labelmap, this.order));
  }

  goToSlice(index: number): void {
    const voxel = this.voxel();
    if (!voxel) return;
    voxel[this.order[0]] = index;
    this.moveTo(voxel);
  }

  /** Draws anew, for a picture of the page or after its size has changed. */
  draw(): void {
    this.viewer.resizeListener();
    this.viewer.drawScene();
  }

  private drawMask(): void {
    if (!this.mask) return;
    // Labels are not mixed with their neighbours: a voxel is in the mask or it is not. The scan stays smooth.
    this.viewer.opts.isNearestInterpolation = true;
    this.viewer.refreshLayers(this.mask, 1);
    this.viewer.opts.isNearestInterpolation = false;
    this.viewer.drawScene();
  }

  private affine(): number[][] {
    return (this.scan?.hdr?.affine ?? []) as number[][];
  }

  private shape(): [number, number, number] {
    const dims = this.scan?.hdr?.dims ?? [];
    return [dims[1] ?? 1, dims[2] ?? 1, dims[3] ?? 1];
  }

  private moveTo([i, j, k]: readonly [number, number, number]): void {
    const mm = this.affine().slice(0, 3).map((row) => (row[0] ?? 0) * i + (row[1] ?? 0) * j + (row[2] ?? 0) * k + (row[3] ?? 0));
    this.viewer.scene.crosshairPos = this.viewer.mm2frac(new Float32Array(mm), 0, true);
    this.viewer.createOnLocationChange();
    this.viewer.drawScene();
  }

  /** (i, j, k) under the crosshair. */
  private voxel(): [number, number, number] | null {
    if (!this.scan) return null;
    const mm = this.viewer.frac2mm(this.viewer.scene.crosshairPos, 0, true);
    // Its own mm2vox counts along turned axes, not as stored.
    const voxel = indexOf(this.affine(), [...mm]);
    return this.shape().map((size, axis) => Math.min(size - 1, Math.max(0, Math.round(voxel[axis] ?? 0)))) as [number, number, number];
  }

  private tell(): void {
    const voxel = this.voxel();
    if (!voxel || !this.scan) return;
    const [i, j, k] = voxel;
    const shape = this.shape();
    const offset = i + shape[0] * (j + shape[1] * k);
    const mm = this.viewer.frac2mm(this.viewer.scene.crosshairPos, 0, true);
    const value = (array: unknown): number => Number((array as ArrayLike<number> | undefined)?.[offset] ?? 0);
    this.onSpot({
      index: this.order.map((axis) => voxel[axis] ?? 0) as [number, number, number],
      slices: shape[this.order[0]] ?? 1,
      lps: this.isPlaced ? [-(mm[0] ?? 0), -(mm[1] ?? 0), mm[2] ?? 0] : null,
      value: value(this.scan.img) * (this.scan.hdr?.scl_slope || 1) + (this.scan.hdr?.scl_inter ?? 0),
      label: value(this.mask?.img),
    });
  }
}

/** NiiVue's own constructor takes twenty arguments in a row, the shades' range among them. */
function image(file: ArrayBuffer, name: string, opacity: number, [low, high]: readonly [number, number]): Promise<NVImage> {
  const [isTrusted, percentile, isIgnoringZero, isQform] = [true, 0.02, false, false];
  const noNegatives = ["", 0, 0, NaN, NaN, false, null, 0, undefined] as const;
  return NVImage.new(file, name, "gray", opacity, null, low, high, isTrusted, percentile, isIgnoringZero, isQform, ...noNegatives);
}
