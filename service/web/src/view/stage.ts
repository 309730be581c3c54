import { fill, h } from "../dom";
import { type Volume, volumeOf } from "../scan/nifti";
import { ScanView, type Spot } from "../scan/scan-view";
import { ask } from "../server/http";
import { resultAddress } from "../server/job";
import type { Model } from "../server/models";
import { Problem } from "../server/problem";
import type { Lesion, Report } from "../server/report";
import { type Key, named, number, t } from "../text";
import { controls, type Controls, START_CONTROLS } from "./controls";

const PATIENCE_S = 600;

/** What stands on the stage: nothing, a note, the scan, or a picture. */
type Face = "empty" | "note" | "scan" | "picture";

/** The large part of the page: the scan with its mask, or the picture of a study that is one. */
export class Stage {
  readonly element = h("section", { id: "stage", class: "stage" });
  private readonly view = new ScanView();
  private readonly bar = h("div", { class: "controls" });
  private readonly slider = h("input", { type: "range", id: "slice", min: 0, step: 1 });
  private readonly sliderLabel = h("label", { for: "slice" });
  private readonly spotLine = h("p", { class: "spot", id: "spot" });
  private readonly hint = h("p", { class: "hint" });
  private readonly foot = h("div", { class: "foot" }, this.sliderLabel, this.slider, this.spotLine, this.hint);
  private readonly note = h("p", { class: "stage-note", id: "stage-note" });
  private readonly picture = h("img", { id: "picture", alt: "" });
  private scan: Promise<Volume | null> | null = null;
  /** Waited for while the model runs: the server writes it while it has the study at hand. */
  private mask: Promise<Volume | null> | null = null;
  private leave = new AbortController();
  private jobId: string | null = null;
  private model: Model | null = null;
  private report: Report | null = null;
  private spot: Spot | null = null;
  private face: Face = "empty";
  private words: () => string = () => "";
  private set: Controls = START_CONTROLS;
  /** Whoever has begun to look is not led away when the answer comes. */
  private isTouched = false;

  constructor() {
    this.element.append(this.bar, this.view.element, this.picture, this.note, this.foot);
    this.view.onSpot = (spot) => {
      this.spot = spot;
      this.tellSpot();
    };
    this.view.onWindow = (window) => {
      this.set = { ...this.set, window };
      this.drawControls();
    };
    this.slider.addEventListener("input", () => this.view.goToSlice(this.slider.valueAsNumber));
    for (const name of ["pointerdown", "wheel", "keydown"]) {
      this.element.addEventListener(name, () => (this.isTouched = true), { passive: true });
    }
    this.clear();
  }

  clear(): void {
    this.leave.abort();
    this.leave = new AbortController();
    this.jobId = this.report = this.scan = this.mask = this.spot = null;
    this.set = START_CONTROLS;
    this.isTouched = false;
    delete this.view.element.dataset.shown;
    if (this.picture.src) URL.revokeObjectURL(this.picture.src);
    this.picture.removeAttribute("src");
    delete this.picture.dataset.shown;
    this.view.clear();
    this.show("empty");
  }

  wait(): void {
    if (!this.jobId) this.show("note", () => t("viewerWaiting"));
  }

  /** A job has been read by the server: its scan is fetched and shown while the model still runs. */
  follow(jobId: string, model: Model): void {
    if (this.jobId === jobId) return;
    this.clear();
    this.jobId = jobId;
    this.model = model;
    this.show("note", () => t("viewerLoading"));
    const { signal } = this.leave;
    this.scan = fetchScan(jobId, signal);
    this.mask = this.scan.then((scan) => scan && fetchMask(jobId, signal, PATIENCE_S)).catch(() => null);
    this.scan.then((scan) => this.preview(jobId, scan)).catch((error: unknown) => this.fail(jobId, error));
  }

  /** The answer has come: its mask is laid over the scan. */
  async answer(jobId: string, report: Report, model: Model): Promise<void> {
    this.follow(jobId, model);
    this.report = report;
    try {
      if (report.input.kind === "png" || report.input.kind === "jpeg") await this.showPicture(jobId);
      else await this.showMask(jobId, report, model);
    } catch (error) {
      this.fail(jobId, error);
    }
  }

  goTo(lesion: Lesion): void {
    const value = this.model?.labels.find(({ name }) => name === lesion.label)?.value;
    if (this.face === "scan" && value !== undefined) this.view.goTo(lesion, value);
  }

  /** After the language has changed. */
  retell(): void {
    this.show(this.face, this.words);
    this.tellSpot();
  }

  /** Slices that say nothing of their sides wait for the report, which tells how to turn them. */
  private preview(jobId: string, scan: Volume | null): void {
    if (scan?.affine && !this.report && this.jobId === jobId) this.showScan(scan, null);
  }

  private showScan(scan: Volume, report: Report | null): void {
    if (!this.model || this.view.element.dataset.shown) return;
    const isUniform = !report?.warnings.some(({ code }) => code === "no_single_affine");
    this.set = { ...START_CONTROLS, isUniform };
    this.slider.max = "0";
    this.view.showScan(scan, report?.input.axes ?? null, this.model.window);
    this.change({ layout: isUniform && scan.shape.every((size) => size > 1) ? "all" : "axial" });
    this.show("scan");
    this.view.element.dataset.shown = "scan";
  }

  private async showMask(jobId: string, report: Report, model: Model): Promise<void> {
    const { signal } = this.leave;
    const [scan, mask] = await Promise.all([this.scan, this.mask?.then((early) => early ?? fetchMask(jobId, signal, 0))]);
    performance.mark("sigap:mask-here");
    if (this.jobId !== jobId || !scan || !mask) return;
    this.showScan(scan, report);
    this.view.showMask(mask, model.labels);
    this.set = { ...this.set, hasMask: true };
    this.show("scan");
    const largest = report.lesions[0];
    if (largest && !this.isTouched) this.goTo(largest);
    this.view.element.dataset.shown = "mask";
    requestAnimationFrame(() => performance.mark("sigap:mask-shown"));
  }

  private async showPicture(jobId: string): Promise<void> {
    const blob = await (await ask(resultAddress(jobId, "png"))).blob();
    if (this.jobId !== jobId) return;
    this.picture.src = URL.createObjectURL(blob);
    await this.picture.decode();
    this.show("picture");
    this.picture.dataset.shown = "mask";
  }

  private fail(jobId: string, error: unknown): void {
    if (this.jobId !== jobId) return;
    const reason = (): string => (error instanceof Problem ? error.detail || error.title || t("problem.unreachable") : String(error));
    // A job that was cancelled or refused meanwhile has no scan any more, and says so beside.
    if (this.report) this.show("note", () => t("viewerFailed", { reason: reason() }));
    else this.show("note", () => t("viewerWaiting"));
  }

  private show(face: Face, words: () => string = () => ""): void {
    this.face = face;
    this.words = words;
    this.element.dataset.face = face;
    this.view.element.hidden = this.bar.hidden = this.foot.hidden = face !== "scan";
    this.picture.hidden = face !== "picture";
    this.note.textContent = words();
    this.note.hidden = words() === "";
    this.picture.alt = t("overlayAlt");
    this.sliderLabel.textContent = t("slice");
    this.hint.textContent = t("mousing");
    this.view.describe((plane) => t("viewerLabel", { plane: t(`layout.${plane}` as Key) }));
    this.drawControls();
  }

  private drawControls(): void {
    if (this.model) fill(this.bar, ...controls(this.set, this.model, { change: (changes) => this.change(changes) }));
  }

  private change(changes: Partial<Controls>): void {
    this.set = { ...this.set, ...changes };
    if (changes.layout) this.view.setLayout(changes.layout);
    if (changes.window !== undefined && this.model) this.view.change({ window: changes.window ?? this.model.window });
    if (changes.opacity !== undefined) this.view.change({ opacity: changes.opacity });
    if (changes.isOutline !== undefined) this.view.change({ isOutline: changes.isOutline });
    // A slider that is being drawn along must stay the one that it is.
    if (changes.opacity === undefined) this.drawControls();
  }

  private tellSpot(): void {
    const { spot, model } = this;
    if (!spot || !model) return;
    const label = model.labels.find(({ value }) => value === spot.label)?.name;
    const sides = spot.lps?.map((mm, axis) => `${(mm < 0 ? "RAI" : "LPS").charAt(axis)} ${number(Math.abs(mm), 0)}`);
    const parts = [
      t("sliceOf", { slice: spot.index[0], last: spot.slices - 1 }),
      t("hu", { value: Math.round(spot.value) }),
      label ? named("label", label) : "",
      sides ? `${sides.join("  ")} mm` : this.report?.input.axes ? t("uneven") : t("noSides"),
    ];
    this.spotLine.textContent = parts.filter(Boolean).join("  |  ");
    this.slider.max = String(spot.slices - 1);
    this.slider.value = String(spot.index[0]);
    Object.assign(this.spotLine.dataset, { slice: spot.index[0], row: spot.index[1], column: spot.index[2], label: spot.label });
  }
}

/** null: it is a picture, which is shown as its overlay. */
async function fetchScan(jobId: string, signal: AbortSignal): Promise<Volume | null> {
  const response = await ask(`jobs/${jobId}/image`, { signal });
  return response.headers.get("Content-Type")?.startsWith("image/") ? null : volumeOf(response);
}

async function fetchMask(jobId: string, signal: AbortSignal, patienceS: number): Promise<Volume> {
  const headers = patienceS ? { Prefer: `wait=${patienceS}` } : {};
  return volumeOf(await ask(resultAddress(jobId, "nifti"), { signal, headers }));
}
