// What keys and buttons do.

import { KINDS } from "./edit.js";
import { fillList, nextFinding, setDetector, setThreshold, showThreshold, stepThreshold, toggleEverywhere } from "./findings.js";
import { activate, go, hangUp, mark, oneScale, remember, step, stepExam } from "./hanging.js";
import { actionOf, helpPage } from "./keys.js";
import { LAYOUTS } from "./layout.js";
import { likelihood } from "./marks.js";
import { agreementPage } from "./pages.js";
import { exportPage } from "./export.js";
import { endReview, toggleReview, verdictOn } from "./review.js";
import { $, open, pane, redraw, say, state } from "./state.js";
import { trainingPage } from "./training.js";

const LAYERS = ["image", "normalised", "likelihood"];

export function fillPresets() {
  const at = pane();
  if (!at?.meta) return;
  $("preset").replaceChildren(...at.presets.map((preset, n) => new Option(preset.name, n)),
    ...(at.presets.includes(at.preset) ? [] : [new Option(at.preset.name, "hand")]));
  $("preset").value = at.presets.includes(at.preset) ? at.presets.indexOf(at.preset) : "hand";
  $("invert").setAttribute("aria-pressed", at.inverted);
  $("layer").value = at.layer;
  for (const button of $("layouts").children) button.setAttribute("aria-pressed", button.dataset.layout === state.layout);
  for (const [id, on] of [["all", state.all], ["marks", !state.hidden], ["annotate", state.annotate]]) $(id).setAttribute("aria-pressed", on);
}

// One image alone or beside another stays at the place that is looked at; other layouts show whole breasts.
const layout = (name) => {
  const box = ["one", "prior", "readers"].includes(name) ? pane()?.zoomedBox : null;
  state.layout = name;
  return hangUp({ fit: true, box });
};
const onPane = (call) => () => pane()?.meta && call(pane());
const writing = (call) => () => (state.editor ? call() : say("to annotate, start the viewer with --out FOLDER --judge NAME", "error"));
export const actions = {
  nextImage: () => step(1), previousImage: () => step(-1), nextExam: () => stepExam(1), previousExam: () => stepExam(-1),
  nextFinding: () => nextFinding(1), previousFinding: () => nextFinding(-1),
  everywhere: () => toggleEverywhere(),
  layoutOne: () => layout("one"), layoutPair: () => layout("pair"), layoutFour: () => layout("four"),
  layoutPrior: () => { state.older = 0; return layout(state.layout === "prior" ? "one" : "prior"); },
  olderPrior: () => { state.older = state.layout === "prior" ? state.older + 1 : 0; return layout("prior"); },
  layoutReaders: () => layout(state.layout === "readers" ? "one" : "readers"),
  nextLayout: () => layout(LAYOUTS[(LAYOUTS.indexOf(state.layout) + 1) % LAYOUTS.length]),
  nextPane: () => activate((state.active + 1) % state.panes.length),
  zoomIn: onPane((p) => p.zoomTo(p.zoom * 1.4)), zoomOut: onPane((p) => p.zoomTo(p.zoom / 1.4)),
  native: onPane((p) => p.zoomTo([1, 4, 8].find((ratio) => ratio > p.zoom * 1.01) || 1)),
  fit: () => { state.place = undefined; remember(); return state.panes.length > 1 ? oneScale() : pane()?.home(); },
  loupe: onPane((p) => p.toggleLoupe()),
  nextPreset: onPane((p) => p.nextPreset()), invert: onPane((p) => p.invert()),
  darker: onPane((p) => p.adjust(0.05, 0)), brighter: onPane((p) => p.adjust(-0.05, 0)),
  moreContrast: onPane((p) => p.adjust(0, -0.1)), lessContrast: onPane((p) => p.adjust(0, 0.1)),
  windowTool: () => { state.windowTool = !state.windowTool; say(state.windowTool ? "drag to window; w ends" : ""); },
  resetWindow: onPane((p) => { p.inverted = false; p.setPreset(p.presets[0]); }),
  hide: () => { state.hidden = !state.hidden; redraw(); fillPresets(); },
  lower: () => stepThreshold(-1), higher: () => stepThreshold(1),
  all: () => { state.all = !state.all; showThreshold(); fillList().then(redraw); tools(); fillPresets(); },
  truth: () => { state.truth = !state.truth; redraw(); },
  nextDetector: () => {
    const keys = [...state.catalogue.detectors.map((d) => d.key), ""];
    return setDetector(keys[(keys.indexOf(state.detector) + 1) % keys.length]);
  },
  nextLayer: onPane((p) => setLayer(p, LAYERS[(LAYERS.indexOf(p.layer) + 1) % LAYERS.length])),
  annotate: writing(() => { state.annotate = !state.annotate; endReview(); tools(); remember(); }),
  remove: writing(() => state.editor.remove()), outline: writing(() => state.editor.startOutline()),
  group: writing(() => state.editor.group(pane().key)), cluster: writing(nameCluster),
  uncluster: writing(() => state.editor.edit({ cluster: "" })),
  done: writing(() => state.editor.mark(pane().key)), undo: writing(() => undo(false)), redo: writing(() => undo(true)),
  review: writing(() => { state.annotate = true; tools(); remember(); toggleReview(); }),
  accept: writing(() => verdictOn("microcalcification")), reject: writing(() => verdictOn("no_calcium")),
  export: writing(() => open(exportPage())), agreement: writing(() => open(agreementPage(go, say))), help: () => open(helpPage()),
};
KINDS.forEach((kind, n) => { actions[`kind${n + 1}`] = writing(() => verdictOn(kind)); });

async function undo(redo) {
  const key = await state.editor.undo(redo);
  if (key && !state.panes.some((p) => p.key === key)) await go(key);
}

function nameCluster() {
  const [, annotations] = state.editor.targets;
  if (!annotations.length) return say("choose an annotation first (with Ctrl several)", "error");
  const form = document.createElement("div");
  const field = document.createElement("input");
  field.value = state.editor.clusterName;
  field.setAttribute("aria-label", "name of the cluster");
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    state.editor.edit({ cluster: field.value.trim() });
    $("dialog").close();
  });
  form.append(`Cluster of ${annotations.length > 1 ? `these ${annotations.length} annotations` : "this annotation"} (Enter takes it, Esc leaves): `, field);
  open(form);
  field.select();
  return null;
}

async function setLayer(at, name) {
  try {
    await at.setLayer(name);
  } catch (error) {
    say(error.message, "error");
    await at.setLayer("image");
  }
  fillPresets();
}

export function tools() {
  const box = $("tools");
  box.hidden = !state.annotate;
  if (!state.editor) return;
  const line = (text) => Object.assign(document.createElement("p"), { textContent: text });
  const kinds = KINDS.map((kind, n) => {
    const button = Object.assign(document.createElement("button"), { textContent: `${n + 1} ${kind.replaceAll("_", " ")}` });
    button.setAttribute("aria-pressed", state.editor.kind === kind);
    button.addEventListener("click", () => { actions[`kind${n + 1}`](); tools(); });
    return button;
  });
  const hidden = state.catalogue.detectors.length && !state.all ? [line("Marks of detectors are hidden while you annotate; m shows them.")] : [];
  box.replaceChildren(line(`Reader: ${state.editor.judge}`), line(`Annotations lie in ${state.editor.folder}`), ...hidden, ...kinds);
  mark();
  fillPresets();
  redraw();
}

document.addEventListener("keydown", (event) => {
  if ($("dialog").open || event.target.matches("input[type=text], input:not([type])")) return;
  if (event.key === " ") {
    if (!event.repeat) { state.held = true; state.hidden = true; redraw(); }
    event.preventDefault();
    return;
  }
  if ((state.editor?.corners || state.editor?.shape) && ["Enter", "Escape"].includes(event.key)) {
    state.editor.endOutline(event.key === "Enter");
    return;
  }
  const action = actionOf(event, state.annotate);
  if (!action) return;
  event.preventDefault();
  actions[action]();
});
document.addEventListener("keyup", (event) => {
  if (event.key !== " " || !state.held) return;
  state.held = state.hidden = false;
  redraw();
});
window.addEventListener("resize", () => setTimeout(() => { if (state.panes.length > 1) oneScale(); redraw(); }, 100));

export function connect() {
  for (const [id, action] of [["invert", "invert"], ["all", "all"], ["marks", "hide"], ["annotate", "annotate"], ["help", "help"], ["agreement", "agreement"], ["everywhere", "everywhere"], ["export", "export"]]) {
    $(id).addEventListener("click", () => { actions[action](); $(id).blur(); });
  }
  for (const button of $("layouts").children) button.addEventListener("click", () => { layout(button.dataset.layout); button.blur(); });
  $("exam").addEventListener("change", () => go(state.catalogue.exams.find((e) => e.key === $("exam").value).images[0].key));
  $("preset").addEventListener("change", () => pane().setPreset(pane().presets[$("preset").value]));
  $("layer").addEventListener("change", () => setLayer(pane(), $("layer").value));
  $("detector").addEventListener("change", () => setDetector($("detector").value));
  $("threshold").addEventListener("input", () => setThreshold(likelihood(Number($("threshold").value))));
  $("training").addEventListener("click", () => { open(trainingPage()); $("training").blur(); });
  for (const id of ["exam", "preset", "layer", "detector"]) $(id).addEventListener("change", () => $(id).blur());
}

