import { h } from "../dom";
import type { Label } from "../server/models";
import type { Vector, Volume } from "./nifti";
import { type Layout, layoutOf, marksOf, type Plane, type Sides } from "./planes";
import { shades, tints, type Window } from "./slice";

/** What all planes show together. */
export interface Scene {
  readonly scan: Volume;
  readonly mask: Volume | null;
  readonly labels: readonly Label[];
  readonly sides: Sides;
  readonly isMarked: boolean;
  /** (i, j, k) under the crosshair. */
  readonly voxel: Vector;
  readonly window: Window;
  readonly opacity: number;
  readonly isOutline: boolean;
}

export interface PlaneActions {
  moveTo(voxel: Vector): void;
  /** So many slices on. */
  scroll(axis: number, steps: number): void;
  setWindow(window: Window): void;
}

const CROSSHAIR = "rgb(96 190 255 / 75%)";
const MARK = "#f4d76a";
const GAP_PX = 14;
const MARGIN_PX = 22;
const LARGEST_ZOOM = 12;
const WHEEL_PX = 60;

/** Where the slice lies on the canvas, in its pixels. */
interface Frame {
  readonly left: number;
  readonly top: number;
  /** Pixels of the canvas for one of the slice. */
  readonly right: number;
  readonly down: number;
}

/** One plane on a canvas of its own: drawn by the processor, so that it is at once there on any machine. */
export class PlaneView {
  readonly canvas: HTMLCanvasElement;
  private readonly scanLayer = document.createElement("canvas");
  private readonly maskLayer = document.createElement("canvas");
  private scene: Scene | null = null;
  private layout: Layout = { right: 0, down: 1, through: 2, isRightTurned: false, isDownTurned: false };
  private drawn: { scan: unknown[]; mask: unknown[] } = { scan: [], mask: [] };
  private zoom = 1;
  /** The point of the slice in the middle of the canvas, in parts of the slice. */
  private centre: readonly [number, number] = [0.5, 0.5];
  private wheel = 0;
  private frameAsked = 0;

  constructor(
    readonly plane: Plane,
    private readonly actions: PlaneActions,
  ) {
    this.canvas = h("canvas", { class: `plane ${plane}`, "data-plane": plane, tabindex: 0, role: "img" });
    this.canvas.addEventListener("pointerdown", (event) => this.onPointer(event));
    this.canvas.addEventListener("pointermove", (event) => this.onPointer(event));
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.canvas.addEventListener("dblclick", () => this.fit());
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => this.ask()).observe(this.canvas);
  }

  show(scene: Scene | null): void {
    if (scene?.scan !== this.scene?.scan) [this.zoom, this.centre] = [1, [0.5, 0.5]];
    this.scene = scene;
    if (scene) this.layout = layoutOf(this.plane, scene.sides);
    this.ask();
  }

  private fit(): void {
    [this.zoom, this.centre] = [1, [0.5, 0.5]];
    this.ask();
  }

  /** Several changes are one drawing. */
  private ask(): void {
    window.cancelAnimationFrame(this.frameAsked);
    this.frameAsked = window.requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    const [wide, tall] = this.size();
    if (!wide || !tall) return;
    if (this.canvas.width !== wide || this.canvas.height !== tall) [this.canvas.width, this.canvas.height] = [wide, tall];
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.fillStyle = "#000";
    context.fillRect(0, 0, wide, tall);
    const { scene } = this;
    if (!scene) return;
    this.fillLayers(scene);
    const frame = this.frame(scene);
    this.paint(context, this.scanLayer, frame, 1);
    if (scene.mask && scene.opacity > 0) this.paint(context, this.maskLayer, frame, scene.isOutline ? 1 : scene.opacity);
    this.drawCrosshair(context, scene, frame);
    if (scene.isMarked) this.drawMarks(context);
  }

  /** Draws those layers anew of which something has changed. */
  private fillLayers(scene: Scene): void {
    const { scan, mask, window: shown, labels, isOutline, voxel } = scene;
    const slice = voxel[this.layout.through] ?? 0;
    const forScan = [scan, slice, shown.level_hu, shown.width_hu];
    if (differ(forScan, this.drawn.scan)) put(this.scanLayer, shades(scan, this.layout, slice, shown));
    const forMask = [mask, slice, isOutline];
    if (mask && differ(forMask, this.drawn.mask)) put(this.maskLayer, tints(mask, this.layout, slice, { labels, isOutline }));
    this.drawn = { scan: forScan, mask: forMask };
  }

  /** Of the canvas as it stands on the page, in pixels of the screen. */
  private size(): [number, number] {
    const { width, height } = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    return [Math.round(width * ratio), Math.round(height * ratio)];
  }

  /** The whole slice fits at zoom 1, in millimetres: its pixels need not be square. */
  private frame({ scan: { shape, spacing } }: Scene): Frame {
    const { right, down } = this.layout;
    const [columns, rows] = [shape[right] ?? 1, shape[down] ?? 1];
    const [wideMm, tallMm] = [columns * (spacing[right] ?? 1), rows * (spacing[down] ?? 1)];
    const margin = 2 * MARGIN_PX * window.devicePixelRatio;
    const [width, height] = this.size();
    const scale = this.zoom * Math.max(0.01, Math.min((width - margin) / wideMm, (height - margin) / tallMm));
    return {
      left: width / 2 - this.centre[0] * wideMm * scale,
      top: height / 2 - this.centre[1] * tallMm * scale,
      right: (wideMm * scale) / columns,
      down: (tallMm * scale) / rows,
    };
  }

  private paint(context: CanvasRenderingContext2D, layer: HTMLCanvasElement, frame: Frame, opacity: number): void {
    // A voxel is in the mask or it is not; the scan is smooth.
    context.imageSmoothingEnabled = layer === this.scanLayer;
    context.globalAlpha = opacity;
    context.drawImage(layer, frame.left, frame.top, layer.width * frame.right, layer.height * frame.down);
    context.globalAlpha = 1;
  }

  private drawCrosshair(context: CanvasRenderingContext2D, scene: Scene, frame: Frame): void {
    const [column, row] = this.onSlice(scene);
    const [x, y] = [frame.left + (column + 0.5) * frame.right, frame.top + (row + 0.5) * frame.down];
    const { width, height } = this.canvas;
    const ratio = window.devicePixelRatio;
    const gap = GAP_PX * ratio;
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = ratio;
    context.beginPath();
    for (const [from, to] of [[0, x - gap], [x + gap, width]] as const) line(context, [from, y], [to, y]);
    for (const [from, to] of [[0, y - gap], [y + gap, height]] as const) line(context, [x, from], [x, to]);
    context.stroke();
  }

  private drawMarks(context: CanvasRenderingContext2D): void {
    const { width, height } = this.canvas;
    const size = 16 * window.devicePixelRatio;
    const places = [[size * 0.7, height / 2], [width / 2, size * 0.7], [width - size * 0.7, height / 2], [width / 2, height - size * 0.7]];
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = size / 5;
    context.lineJoin = "round";
    context.strokeStyle = "#000";
    context.fillStyle = MARK;
    marksOf(this.plane).forEach((mark, index) => {
      const [x = 0, y = 0] = places[index] ?? [];
      context.strokeText(mark, x, y);
      context.fillText(mark, x, y);
    });
  }

  /** The column and the row of the crosshair on the screen's slice. */
  private onSlice({ voxel, scan: { shape } }: Scene): [number, number] {
    const { right, down, isRightTurned, isDownTurned } = this.layout;
    const turned = (axis: number, isTurned: boolean): number => {
      const index = voxel[axis] ?? 0;
      return isTurned ? (shape[axis] ?? 1) - 1 - index : index;
    };
    return [turned(right, isRightTurned), turned(down, isDownTurned)];
  }

  private onPointer(event: PointerEvent): void {
    const { scene } = this;
    if (!scene) return;
    if (event.type === "pointerdown") this.canvas.setPointerCapture(event.pointerId);
    if (event.buttons === 1 && event.shiftKey) this.pan(event, scene);
    else if (event.buttons === 1) this.actions.moveTo(this.voxelUnder(event, scene));
    else if (event.buttons === 2 && event.type === "pointermove") {
      const { level_hu, width_hu } = scene.window;
      const gain = width_hu / 250;
      this.actions.setWindow({ level_hu: level_hu + event.movementY * gain, width_hu: Math.max(1, width_hu + event.movementX * gain) });
    }
  }

  private pan(event: PointerEvent, scene: Scene): void {
    const { columns, rows } = this.extent(scene);
    const ratio = window.devicePixelRatio;
    this.centre = [this.centre[0] - (event.movementX * ratio) / columns, this.centre[1] - (event.movementY * ratio) / rows];
    this.ask();
  }

  /** Size of the whole slice on the canvas. */
  private extent(scene: Scene): { columns: number; rows: number } {
    const frame = this.frame(scene);
    const { right, down } = this.layout;
    return { columns: frame.right * (scene.scan.shape[right] ?? 1), rows: frame.down * (scene.scan.shape[down] ?? 1) };
  }

  private voxelUnder(event: MouseEvent, { scan: { shape }, voxel }: Scene): Vector {
    const { right, down, isRightTurned, isDownTurned } = this.layout;
    const frame = this.scene && this.frame(this.scene);
    const found = [...voxel] as [number, number, number];
    if (!frame) return found;
    const ratio = window.devicePixelRatio;
    const places = [(event.offsetX * ratio - frame.left) / frame.right, (event.offsetY * ratio - frame.top) / frame.down];
    for (const [axis, isTurned, place] of [[right, isRightTurned, places[0]], [down, isDownTurned, places[1]]] as const) {
      const last = (shape[axis] ?? 1) - 1;
      const index = Math.min(last, Math.max(0, Math.floor(place ?? 0)));
      found[axis] = isTurned ? last - index : index;
    }
    return found;
  }

  private onWheel(event: WheelEvent): void {
    if (!this.scene) return;
    event.preventDefault();
    if (event.ctrlKey) {
      this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
      return;
    }
    // A mouse's wheel sends a step at once, a touchpad many small ones.
    this.wheel += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / WHEEL_PX : event.deltaY;
    const steps = Math.trunc(this.wheel);
    this.wheel -= steps;
    if (steps) this.actions.scroll(this.layout.through, -Math.sign(steps));
  }

  private zoomBy(factor: number): void {
    if (!this.scene) return;
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.zoom * factor));
    const [column, row] = this.onSlice(this.scene);
    const { shape } = this.scene.scan;
    // Towards the crosshair.
    const part = 1 - this.zoom / zoom;
    const towards = (from: number, to: number): number => from + (to - from) * part;
    const { right, down } = this.layout;
    const [x, y] = [(column + 0.5) / (shape[right] ?? 1), (row + 0.5) / (shape[down] ?? 1)];
    this.centre = zoom === 1 ? [0.5, 0.5] : [towards(this.centre[0], x), towards(this.centre[1], y)];
    this.zoom = zoom;
    this.ask();
  }

  private onKey(event: KeyboardEvent): void {
    if (!this.scene || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps: Readonly<Record<string, number>> = { PageUp: 1, ArrowUp: 1, ArrowRight: 1, PageDown: -1, ArrowDown: -1, ArrowLeft: -1 };
    const step = steps[event.key];
    if (step !== undefined) this.actions.scroll(this.layout.through, step);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.2);
    else if (event.key === "-") this.zoomBy(1 / 1.2);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }
}

const differ = (some: readonly unknown[], others: readonly unknown[]): boolean => some.some((one, index) => one !== others[index]);

function put(layer: HTMLCanvasElement, image: ImageData): void {
  [layer.width, layer.height] = [image.width, image.height];
  layer.getContext("2d")?.putImageData(image, 0, 0);
}

function line(context: CanvasRenderingContext2D, from: readonly [number, number], to: readonly [number, number]): void {
  context.moveTo(...from);
  context.lineTo(...to);
}
