import { h } from "../dom";
import type { Label } from "../server/models";
import type { Lesion, Side } from "../server/report";
import type { Vector, Volume } from "./nifti";
import { valueAt, voxelOf } from "./place";
import { type Order, lpsOf, orderOf, sidesOf } from "./planes";
import { PlaneView, type Scene } from "./plane-view";
import type { Window } from "./slice";
import type { VolumeView } from "./volume-view";

export type Layout = "all" | "axial" | "coronal" | "sagittal" | "volume";

/** What lies under the crosshair. */
export interface Spot {
  /** [slice, row, column], as the report counts them. */
  readonly index: Vector;
  readonly slices: number;
  readonly lps: Vector | null;
  readonly value: number;
  readonly label: number;
}

/** The scan with its mask, in three planes and as a volume, around one crosshair. */
export class ScanView {
  readonly element = h("div", { id: "scan", class: "planes", "data-layout": "all" });
  private readonly planes: readonly PlaneView[];
  private readonly canvas3d = h("canvas", { class: "volume", "data-plane": "volume" });
  private volume: Promise<VolumeView> | null = null;
  private scene: Scene | null = null;
  private order: Order = [2, 1, 0];
  onSpot: (spot: Spot) => void = () => undefined;
  onWindow: (window: Window) => void = () => undefined;

  constructor() {
    const actions = {
      moveTo: (voxel: Vector) => this.moveTo(voxel),
      scroll: (axis: number, steps: number) => this.scroll(axis, steps),
      setWindow: (window: Window) => {
        this.onWindow(window);
        this.change({ window });
      },
    };
    this.planes = (["axial", "coronal", "sagittal"] as const).map((plane) => new PlaneView(plane, actions));
    this.element.append(...this.planes.map(({ canvas }) => canvas), this.canvas3d);
  }

  /** Words for those who do not see the canvases. */
  describe(words: (plane: string) => string): void {
    for (const { canvas, plane } of this.planes) canvas.setAttribute("aria-label", words(plane));
    this.canvas3d.setAttribute("aria-label", words("volume"));
    this.canvas3d.setAttribute("role", "img");
  }

  showScan(scan: Volume, axes: readonly [Side, Side, Side] | null, window: Window): void {
    this.order = scan.affine ? orderOf(scan.affine) : [2, 1, 0];
    this.scene = {
      scan,
      mask: null,
      labels: [],
      sides: sidesOf(scan, axes),
      isMarked: scan.affine !== null || axes !== null,
      voxel: scan.shape.map((size) => size >> 1) as unknown as Vector,
      window,
      opacity: 0.5,
      isOutline: false,
    };
    this.change({});
  }

  showMask(mask: Volume, labels: readonly Label[]): void {
    this.change({ mask, labels });
  }

  clear(): void {
    this.scene = null;
    for (const plane of this.planes) plane.show(null);
    void this.volume?.then((view) => view.clear());
    delete this.canvas3d.dataset.shown;
    this.setLayout("all");
  }

  setLayout(layout: Layout): void {
    this.element.dataset.layout = layout;
    if (layout === "volume") void this.showVolume();
  }

  change(changes: Partial<Scene>): void {
    if (!this.scene) return;
    this.scene = { ...this.scene, ...changes };
    for (const plane of this.planes) plane.show(this.scene);
    if (this.element.dataset.layout === "volume") void this.showVolume();
    this.tell();
  }

  /** Moves the crosshair to a lesion, on the slice where its longest diameter was measured. */
  goTo(lesion: Lesion, value: number): void {
    if (this.scene) this.moveTo(voxelOf(lesion, value, this.scene.mask, this.order));
  }

  goToSlice(slice: number): void {
    if (!this.scene) return;
    this.moveTo(this.scene.voxel.with(this.order[0], slice) as unknown as Vector);
  }

  private moveTo(voxel: Vector): void {
    this.change({ voxel });
  }

  private scroll(axis: number, steps: number): void {
    if (!this.scene) return;
    const last = (this.scene.scan.shape[axis] ?? 1) - 1;
    const index = Math.min(last, Math.max(0, (this.scene.voxel[axis] ?? 0) + steps));
    this.moveTo(this.scene.voxel.with(axis, index) as unknown as Vector);
  }

  private async showVolume(): Promise<void> {
    this.volume ??= import("./volume-view").then(({ VolumeView: View }) => View.on(this.canvas3d));
    const view = await this.volume;
    if (this.scene) await view.show(this.scene);
    this.canvas3d.dataset.shown = String(this.scene !== null);
  }

  private tell(): void {
    const { scene, order } = this;
    if (!scene) return;
    const { scan, mask, voxel } = scene;
    this.onSpot({
      index: order.map((axis) => voxel[axis] ?? 0) as unknown as Vector,
      slices: scan.shape[order[0]] ?? 1,
      lps: scan.affine && lpsOf(scan.affine, voxel),
      value: valueAt(scan, voxel),
      label: mask ? valueAt(mask, voxel) : 0,
    });
  }
}
