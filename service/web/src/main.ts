import "./style.css";
import { byId, fill, h } from "./dom";
import { ask, onKeyNeeded, askJson } from "./server/http";
import type { Models } from "./server/models";
import { Problem } from "./server/problem";
import type { Lesion } from "./server/report";
import { type State, Store } from "./state";
import { bodyPartOf } from "./study/body-part";
import { Errand, withoutChoice } from "./study/errand";
import { filesOfDrop, type StudyFile } from "./study/files";
import { phantom } from "./study/phantom";
import { known, type Language, speak, t } from "./text";
import { cards, details, finding, geometryBanner, warnings } from "./view/answer";
import { downloads } from "./view/downloads";
import { dropPlace } from "./view/drop";
import { fittingTask, form } from "./view/form";
import { footer, header, type Theme } from "./view/header";
import { askForKey } from "./view/key";
import { lesionTable } from "./view/lesions";
import { problemBanner } from "./view/problem";
import { progress, stepInWords } from "./view/progress";
import { Stage } from "./view/stage";
import { summary } from "./view/summary";

const store = new Store();
const errand = new Errand(store);
const stage = new Stage();
let theme: Theme = "dark";

/** For those who hear the page; the same words twice are said once. */
function say(words: string): void {
  const live = byId("live");
  if (live.textContent !== words) live.textContent = words;
}

/** A study is on its way: another one has to wait until it is answered or cancelled. */
const isBusy = (): boolean => store.now.phase === "sending" || store.now.phase === "working";

async function take(files: Promise<StudyFile[]> | readonly StudyFile[]): Promise<void> {
  if (isBusy()) return;
  if (store.now.phase === "answered") errand.renew();
  store.change({ isReading: true, problem: null, word: null });
  const found = await Promise.resolve(files).catch(() => []);
  const fields = { ...store.now.fields, ...withoutChoice };
  store.change({ isReading: false, files: found, fields, bodyPart: null, word: found.length ? null : "nothingDropped" });
  const bodyPart = await bodyPartOf(found);
  if (store.now.files !== found || !bodyPart) return;
  store.change({ bodyPart });
  const fitting = fittingTask(store.now);
  if (fitting) store.change({ task: fitting });
}

async function trySample(task: string): Promise<void> {
  const name = known(`sample.name.${task}`) ?? "phantom.nii.gz";
  const file = await phantom(task, name);
  store.change({ files: [file], task, bodyPart: null, problem: null, word: null });
  await errand.send();
}

function show(lesion: Lesion): void {
  store.change({ lesion: lesion.id });
  stage.goTo(lesion);
  say(t("shownLesion", { id: lesion.id, slice: lesion.key_slice }));
}

async function copy(): Promise<void> {
  const { report } = store.now;
  const model = modelOf(store.now);
  if (!report || !model) return;
  const isCopied = await navigator.clipboard.writeText(summary(report, model)).then(() => true, () => false);
  store.change({ word: isCopied ? "copied" : "copyFailed" });
}

/** Fetched by the page itself, so that a refusal is told and not saved as a file. */
async function download(link: HTMLAnchorElement): Promise<void> {
  try {
    const blob = await (await ask(link.getAttribute("href") ?? "")).blob();
    const address = URL.createObjectURL(blob);
    h("a", { href: address, download: link.download }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    store.change({ problem: error instanceof Problem ? error : Problem.unreachable() });
  }
}

function modelOf({ models, report, task }: State): Models["models"][number] | undefined {
  return models?.models.find(({ name }) => name === (report?.task ?? task));
}

function side(state: State): (Node | null)[] {
  const top = [
    state.problem && problemBanner(state.problem, { choose }),
    state.word && h("p", { class: "word", id: "word" }, t(state.word)),
  ];
  if (state.phase === "sending" || state.phase === "working") return [...top, progress(state, () => void errand.cancel())];
  const model = modelOf(state);
  if (state.phase === "answered" && state.report && model) {
    return [
      ...top,
      h("h2", { id: "answer", tabindex: -1 }, t("answerHeading")),
      geometryBanner(state.report.geometry),
      finding(state.report, model),
      warnings(state.report),
      cards(state.report, model),
      lesionTable(state.report, model, state.lesion, show),
      downloads(state, { copy: () => void copy(), erase, download: (link) => void download(link) }),
      details(state),
    ];
  }
  return [...top, form(state, store, { send: () => void errand.send(), trySample: (task) => void trySample(task) })];
}

function choose(name: "series_uid" | "acquisition", value: string): void {
  store.change({ fields: { ...store.now.fields, [name]: value } });
  void errand.send();
}

function erase(): void {
  if (window.confirm(t("eraseAsk"))) void errand.erase();
}

function draw(state: State, before: State): void {
  direct(state, before);
  const isAnswered = state.phase === "answered";
  fill(byId("header"), ...header(theme, isAnswered, { speak: talk, paint, renew: () => errand.renew() }));
  fill(byId("footer"), ...footer());
  fill(byId("side"), ...side(state));
  byId("skip").textContent = t("skip");
  const isChoosing = state.phase === "choosing";
  byId("drop").hidden = !isChoosing;
  stage.element.hidden = isChoosing;
  if (isChoosing) fill(byId("drop"), dropPlace(state, { take: (files) => void take(files), drop: () => store.change({ files: [], bodyPart: null }) }));
  tell(state, before);
}

/** What the state means for the stage. */
function direct(state: State, before: State): void {
  const model = modelOf(state);
  if (state.phase === "choosing" || !model) {
    if (before.phase !== state.phase) stage.clear();
    return;
  }
  if (state.phase === "sending" && before.phase !== "sending") stage.clear();
  if (state.job && state.report) {
    if (before.report !== state.report) void stage.answer(state.job.id, state.report, model);
  } else if (state.job && state.job.slices_total > 0) stage.follow(state.job.id, model);
  else stage.wait();
}

function tell(state: State, before: State): void {
  if (state.phase === "sending" || state.phase === "working") say(stepInWords(state));
  if (state.word && state.word !== before.word) say(t(state.word));
  if (state.problem && state.problem !== before.problem) byId("problem").focus();
  if (state.phase === "answered" && before.phase !== "answered") {
    say(byId("finding").textContent ?? "");
    byId("answer").focus();
  }
}

function talk(language: Language): void {
  speak(language);
  store.redraw();
  stage.retell();
}

function paint(chosen: Theme): void {
  theme = chosen;
  document.documentElement.dataset.theme = chosen;
  store.redraw();
}

function catchDrops(): void {
  const over = (isOver: boolean) => (event: DragEvent): void => {
    event.preventDefault();
    document.body.classList.toggle("dragged-over", isOver && !isBusy());
  };
  window.addEventListener("dragover", over(true));
  window.addEventListener("dragleave", over(false));
  window.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer) void take(filesOfDrop(event.dataTransfer));
  });
}

/** The address is the job's, whoever changes it: by hand, or with a link that is opened in the same tab. */
function heedAddress(): void {
  window.addEventListener("hashchange", () => errand.isElsewhere() && location.reload());
  // The link's own address would take the job's place.
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("side").focus();
  });
}

async function start(): Promise<void> {
  onKeyNeeded(askForKey);
  speak(navigator.language.toLowerCase().startsWith("id") ? "id" : "en");
  byId("stage-place").append(stage.element);
  catchDrops();
  heedAddress();
  store.watch(draw);
  store.redraw();
  try {
    store.change({ models: await askJson<Models>("models") });
    requestAnimationFrame(() => performance.mark("sigap:ready"));
    await errand.resume();
  } catch (error) {
    store.change({ problem: error instanceof Problem ? error : Problem.unreachable() });
  }
}

void start();
