import { fill, h } from "../dom";
import type { Layout, ScanView, Spot } from "../scan/scan-view";
import { isPlaced, unpacked } from "../scan/nifti";
import { ask } from "../server/http";
import { resultAddress } from "../server/job";
import type { Model } from "../server/models";
import { Problem } from "../server/problem";
import type { Lesion, Report } from "../server/report";
import { named, number, t } from "../text";
import { controls, type Controls, START_CONTROLS } from "./controls";

/** What stands on the stage: nothing, a note, the scan, or a picture. */
type Face = "empty" | "note" | "scan" | "picture";

/** The large part of the page: the scan with its mask, or the picture of a study that is one. */
export class Stage {
  readonly element = h("section", { id: "stage", class: "stage" });
  private readonly canvas = h("canvas", { id: "scan", tabindex: 0 });
  private readonly frame = h("div", { class: "frame" }, this.canvas);
  private readonly bar = h("div", { class: "controls" });
  private readonly spotLine = h("p", { class: "spot", id: "spot" });
  private readonly note = h("p", { class: "stage-note", id: "stage-note" });
  private readonly picture = h("img", { id: "picture", alt: "" });
  private view: Promise<ScanView> | null = null;
  private scan: Promise<ArrayBuffer | null> | null = null;
  private jobId: string | null = null;
  private model: Model | null = null;
  private report: Report | null = null;
  private spot: Spot | null = null;
  private face: Face = "empty";
  private words: () => string = () => "";
  /** Whoever has begun to look is not led away when the answer comes. */
  private isTouched = false;
  private set: Controls = START_CONTROLS;

  constructor() {
    this.element.append(this.bar, this.frame, this.picture, this.note, this.spotLine);
    for (const name of ["pointerdown", "wheel"]) {
      this.canvas.addEventListener(name, () => (this.isTouched = true), { passive: true });
    }
    this.canvas.addEventListener("keydown", (event) => this.onKey(event), { capture: true });
    this.clear();
  }

  clear(): void {
    this.jobId = this.report = this.scan = this.spot = null;
    this.set = START_CONTROLS;
    this.isTouched = false;
    delete this.canvas.dataset.job;
    delete this.canvas.dataset.shown;
    if (this.picture.src) URL.revokeObjectURL(this.picture.src);
    this.picture.removeAttribute("src");
    void this.view?.then((view) => view.clear()).catch(() => undefined);
    this.show("empty");
  }

  /** Begins to fetch what the viewer needs, so that a scan need not wait for it. */
  warmUp(): void {
    if (hasWebgl()) this.view ??= this.open();
  }

  /** A job has been read by the server: its scan is fetched and shown while the model still runs. */
  follow(jobId: string, model: Model): void {
    if (this.jobId === jobId) return;
    this.clear();
    this.jobId = jobId;
    this.model = model;
    this.show("note", () => t("viewerLoading"));
    if (!hasWebgl()) return;
    this.scan = this.fetchScan(jobId);
    this.scan.then((file) => this.preview(jobId, file)).catch((error: unknown) => this.fail(jobId, error));
  }

  wait(): void {
    if (!this.jobId) this.show("note", () => t("viewerWaiting"));
  }

  /** The answer has come: its mask is laid over the scan. */
  async answer(jobId: string, report: Report, model: Model): Promise<void> {
    this.follow(jobId, model);
    this.report = report;
    try {
      const isPicture = report.input.kind === "png" || report.input.kind === "jpeg";
      if (isPicture || !hasWebgl()) await this.showPicture(jobId, isPicture);
      else await this.showMask(jobId, report, model);
    } catch (error) {
      this.fail(jobId, error);
    }
  }

  async goTo(lesion: Lesion): Promise<void> {
    const value = this.model?.labels.find(({ name }) => name === lesion.label)?.value;
    if (this.face !== "scan" || value === undefined) return;
    (await this.view)?.goTo(lesion, value);
  }

  /** After the language has changed. */
  retell(): void {
    this.show(this.face, this.words);
    this.tellSpot();
  }

  private async fetchScan(jobId: string): Promise<ArrayBuffer | null> {
    const response = await ask(`jobs/${jobId}/image`);
    return response.headers.get("Content-Type")?.startsWith("image/") ? null : unpacked(response);
  }

  /** Without a place for its slices a scan waits for the report, which tells how to turn them. */
  private async preview(jobId: string, file: ArrayBuffer | null): Promise<void> {
    if (!file || this.report || !isPlaced(file) || this.jobId !== jobId) return;
    await this.showScan(jobId, file, { axes: null, isUniform: true });
  }

  private async showScan(jobId: string, file: ArrayBuffer, how: Parameters<ScanView["showScan"]>[1]): Promise<void> {
    const model = this.model;
    const view = await (this.view ??= this.open());
    if (this.jobId !== jobId || !model || this.canvas.dataset.job === jobId) return;
    this.canvas.dataset.job = jobId;
    this.set = { ...START_CONTROLS, layout: how.isUniform ? "all" : "axial", isUniform: how.isUniform, window: null };
    this.show("scan");
    await view.showScan(file, how, model.window);
    this.canvas.dataset.shown = "scan";
  }

  private async showMask(jobId: string, report: Report, model: Model): Promise<void> {
    const isUniform = !report.warnings.some(({ code }) => code === "no_single_affine");
    const how = { axes: report.input.axes, isUniform };
    const mask = ask(resultAddress(jobId, "nifti")).then(unpacked);
    const scan = await this.scan;
    if (scan) await this.showScan(jobId, scan, how);
    const file = await mask;
    performance.mark("sigap:mask-here");
    if (this.jobId !== jobId) return;
    const view = await this.view;
    await view?.showMask(file, model.labels, how);
    const largest = report.lesions[0];
    if (largest && !this.isTouched) await this.goTo(largest);
    this.set = { ...this.set, hasMask: true };
    this.show("scan");
    this.canvas.dataset.shown = "mask";
    performance.mark("sigap:mask-shown");
  }

  private async showPicture(jobId: string, isOneSlice: boolean): Promise<void> {
    const response = await ask(resultAddress(jobId, "png"));
    const blob = await response.blob();
    if (this.jobId !== jobId) return;
    this.picture.src = URL.createObjectURL(blob);
    await this.picture.decode();
    this.show("picture", () => (isOneSlice ? "" : t("noWebgl")));
    this.picture.dataset.shown = "mask";
  }

  private fail(jobId: string, error: unknown): void {
    if (this.jobId !== jobId) return;
    const reason = (): string => (error instanceof Problem ? error.detail || error.title || t("problem.unreachable") : String(error));
    // A job that was cancelled or refused meanwhile has no scan any more, and says so beside.
    if (this.report) this.show("note", () => t("viewerFailed", { reason: reason() }));
    else this.show("note", () => t("viewerWaiting"));
  }

  private async open(): Promise<ScanView> {
    const { ScanView: View } = await import("../scan/scan-view");
    const view = await View.on(this.canvas);
    view.onSpot = (spot) => {
      this.spot = spot;
      this.tellSpot();
    };
    new ResizeObserver(() => view.draw()).observe(this.frame);
    return view;
  }

  private show(face: Face, words: () => string = () => ""): void {
    this.face = face;
    this.words = words;
    this.element.dataset.face = face;
    this.frame.classList.toggle("away", face !== "scan");
    this.picture.hidden = face !== "picture";
    this.bar.hidden = face !== "scan";
    this.spotLine.hidden = face !== "scan";
    this.note.textContent = words();
    this.note.hidden = words() === "";
    this.canvas.setAttribute("aria-label", t("viewerLabel"));
    this.canvas.setAttribute("role", "img");
    this.picture.alt = t(this.report && this.report.input.kind !== "png" && this.report.input.kind !== "jpeg" ? "sheetAlt" : "overlayAlt");
    if (this.model && face === "scan") fill(this.bar, ...controls(this.set, this.model, { change: (changes) => void this.change(changes) }));
  }

  private async change(changes: Partial<Controls>): Promise<void> {
    this.set = { ...this.set, ...changes };
    const view = await this.view;
    if (!view || !this.model) return;
    if (changes.layout) view.setLayout(changes.layout satisfies Layout);
    if (changes.window !== undefined) {
      const { level_hu, width_hu } = changes.window ?? this.model.window;
      view.setWindow(level_hu, width_hu);
    }
    if (changes.opacity !== undefined) view.setOpacity(changes.opacity);
    if (changes.isOutline !== undefined) view.setOutline(changes.isOutline);
    this.show("scan", this.words);
  }

  private tellSpot(): void {
    const { spot, model } = this;
    if (!spot || !model) return;
    const label = model.labels.find(({ value }) => value === spot.label)?.name;
    const sides = spot.lps && spot.lps.map((mm, axis) => `${(mm < 0 ? "RAI" : "LPS").charAt(axis)} ${number(Math.abs(mm), 0)}`);
    const parts = [
      t("sliceOf", { slice: spot.index[0], last: spot.slices - 1 }),
      t("hu", { value: Math.round(spot.value) }),
      label ? named("label", label) : "",
      sides ? `${sides.join("  ")} mm` : this.report?.input.axes ? t("onlyAxial") : t("noSides"),
    ];
    this.spotLine.textContent = parts.filter(Boolean).join("  |  ");
    Object.assign(this.spotLine.dataset, { slice: spot.index[0], row: spot.index[1], column: spot.index[2], label: spot.label });
  }

  /** Page up and down go through the slices, wherever NiiVue's own keys go. */
  private onKey(event: KeyboardEvent): void {
    const steps: Readonly<Record<string, number>> = { PageUp: 1, PageDown: -1, ArrowUp: 1, ArrowDown: -1 };
    const step = steps[event.key];
    // Its other keys change what nobody asked for, such as a clip plane.
    event.stopImmediatePropagation();
    if (step === undefined || !this.spot) return;
    event.preventDefault();
    this.isTouched = true;
    const slice = Math.min(this.spot.slices - 1, Math.max(0, this.spot.index[0] + step));
    void this.view?.then((view) => view.goToSlice(slice));
  }
}

let webgl: boolean | null = null;

function hasWebgl(): boolean {
  webgl ??= document.createElement("canvas").getContext("webgl2") !== null;
  return webgl;
}
