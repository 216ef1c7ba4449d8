// The page: what hangs where, what is listed, and what the keys and buttons do.

import { ask } from "./api.js";
import { drawDetector, drawTruth } from "./draw.js";
import { Editor, KINDS } from "./edit.js";
import { actionOf, helpPage } from "./keys.js";
import { hang, LAYOUTS } from "./layout.js";
import { likelihood, listed, logOdds, marksOf, measuredAt, roomy, statedAt } from "./marks.js";
import { agreementPage, trainingPage } from "./pages.js";
import { describe, Pane } from "./pane.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 2000;
const state = {
  catalogue: null, exam: null, image: null, layout: "one", detector: "", thresholds: {}, all: false, hidden: false,
  truth: true, list: [], current: -1, windowTool: false, annotate: false, review: null, linked: false,
};
let panes = [];
let active = 0;
let editor = null;
const loaded = new Map(); // image → its marks, once they are there
const curves = new Map(); // detector → what was measured on these images

const say = (text, kind = "") => {
  $("status").textContent = text;
  $("status").className = kind;
};

// ---- hanging

async function hangUp({ box = null } = {}) {
  const { catalogue, exam, image } = state;
  const { cells, rows, columns, linked } = hang(state.layout, catalogue.exams, exam, image, catalogue.detectors, state.detector);
  state.linked = Boolean(linked);
  $("panes").dataset.rows = rows;
  $("panes").dataset.columns = columns;
  while (panes.length > cells.length) panes.pop().element.remove();
  while (panes.length < cells.length) panes.push(new Pane($("panes"), events));
  active = Math.max(cells.findIndex((cell) => cell.image?.key === image.key), 0);
  mark();
  const shown = cells.map(async (cell, n) => {
    const pane = panes[n];
    [pane.detector, pane.note] = [cell.detector, cell.note || ""];
    if (!cell.image) return pane.clear(cell.empty || "—");
    loadMarks(cell.image.key);
    if (editor) editor.load(cell.image.key).catch((error) => say(error.message, "error"));
    const first = cell.image.key === image.key && (n === active || linked);
    if (await pane.show(cell.image.key, first ? box : null)) pane.label();
    return null;
  });
  await Promise.all(shown);
  if (!box && cells.length > 1) oneScale();
  fillPresets();
  await fillList();
  redraw();
  remember();
  fetchNeighbours();
}

// All panes show millimetres at one size, so that a breast is as large as the other.
function oneScale() {
  const scales = panes.filter((pane) => pane.meta).map((pane) => pane.leastScale);
  for (const pane of panes) if (pane.meta) pane.home(Math.max(...scales));
}

function mark() {
  panes.forEach((pane, n) => {
    pane.element.classList.toggle("active", panes.length > 1 && n === active);
    pane.element.classList.toggle("annotating", state.annotate);
  });
}

async function loadMarks(key) {
  try {
    const marks = await marksOf(key);
    loaded.set(key, marks);
    for (const d of marks.detectors) {
      if (state.thresholds[d.key] === undefined && d.threshold !== null && d.threshold !== undefined) state.thresholds[d.key] = d.threshold;
    }
    showThreshold();
    redraw();
    return marks;
  } catch (error) {
    say(error.message, "error");
    return { detectors: [], truth: null };
  }
}

// The next image is decoded before it is asked for.
function fetchNeighbours() {
  const images = state.catalogue.exams.flatMap((exam) => exam.images);
  const at = images.findIndex((image) => image.key === state.image.key);
  for (const neighbour of [images[at + 1], images[at - 1]]) if (neighbour) describe(neighbour.key).catch(() => {});
}

function remember() {
  const { row, column } = state.place || {};
  const place = row === undefined ? "" : `&row=${row.toFixed(1)}&column=${column.toFixed(1)}`;
  history.replaceState(null, "", `#image=${state.image.key}&layout=${state.layout}${place}`);
}

async function go(key, options = {}) {
  for (const exam of state.catalogue.exams) {
    const image = exam.images.find((i) => i.key === key);
    if (!image) continue;
    [state.exam, state.image] = [exam, image];
    $("exam").value = exam.key;
    await hangUp(options);
    return;
  }
}

async function step(by) {
  const images = state.catalogue.exams.flatMap((exam) => exam.images);
  const at = images.findIndex((image) => image.key === state.image.key);
  const next = images[Math.min(images.length - 1, Math.max(0, at + by))];
  state.current = -1;
  state.place = undefined;
  if (next && next.key !== state.image.key) await go(next.key);
}

async function stepExam(by) {
  const { exams } = state.catalogue;
  const next = exams[Math.min(exams.length - 1, Math.max(0, exams.indexOf(state.exam) + by))];
  state.current = -1;
  state.place = undefined;
  if (next !== state.exam) await go(next.images[0].key);
}

// ---- marks, list and threshold

const threshold = (key) => state.thresholds[key] ?? 0.5;
const pane = () => panes[active] || panes[0];
const detectorOf = (key, image) => loaded.get(image)?.detectors.find((d) => d.key === key && !d.missing) || null;

const events = {
  draw(at, context) {
    const marks = loaded.get(at.key);
    if (!marks || state.hidden) return;
    const detector = detectorOf(at.detector, at.key);
    const chosen = state.list[state.current];
    const current = chosen?.image === at.key ? chosen.key : "";
    if (marks.truth && (state.truth || at.detector === "annotations") && (!detector || detector.matches)) drawTruth(at, context, marks.truth);
    if (detector && !(state.annotate && !state.review)) {
      drawDetector(at, context, detector, state.truth ? marks.truth : null, threshold(detector.key), { all: state.all, current });
    }
    if (editor) editor.draw(at, context);
    if (state.review && at === pane()) drawReview(at, context);
  },
  changed() {
    redraw();
    fillPresets();
  },
  moved(from) {
    if (!state.linked || panes.length !== 2 || this.following) return;
    const other = panes.find((p) => p !== from);
    if (!other?.meta || !from.meta) return;
    this.following = true;
    other.viewer.viewport.fitBounds(from.viewer.viewport.getBounds(true), true);
    other.smooth();
    this.following = false;
  },
  pointer(at, name, event, x, y) {
    if (name === "pointerdown") {
      active = panes.indexOf(at);
      if (at.key && at.key !== state.image.key) chooseImage(at.key);
      mark();
      const windows = event.button === 2 || (event.button === 0 && (event.shiftKey || state.windowTool));
      if (windows) {
        at.dragging = [x, y];
        at.element.setPointerCapture(event.pointerId);
        return true;
      }
    }
    if (at.dragging) {
      if (name === "pointermove") {
        at.adjust((y - at.dragging[1]) / 300, (x - at.dragging[0]) / 300);
        at.dragging = [x, y];
      }
      if (name === "pointerup") at.dragging = null;
      return true;
    }
    return state.annotate && editor && at.meta ? editor.pointer(at, name, event, x, y) : false;
  },
};

function chooseImage(key) {
  const image = state.exam.images.find((i) => i.key === key);
  if (image) state.image = image;
  remember();
}

function redraw() {
  for (const p of panes) p.draw();
}

async function fillList() {
  const { exam, layout, image } = state;
  const images = layout === "four" ? exam.images : layout === "pair" ? exam.images.filter((i) => i.view === image.view) : [image];
  const entries = [];
  for (const one of images) {
    const marks = await loadMarks(one.key);
    entries.push(...listed(one, marks, detectorOf(state.detector, one.key), threshold(state.detector), state.all));
  }
  const links = state.catalogue.links.filter((link) => images.some((i) => i.key === link.image));
  entries.sort((a, b) => b.rating - a.rating);
  for (const link of links) {
    const box = { top: link.row, bottom: link.row, left: link.column, right: link.column };
    entries.push({ image: link.image, text: link.text, kind: link.group, rating: 0, box, key: "" });
  }
  const chosen = state.list[state.current];
  state.list = entries;
  state.current = chosen ? entries.findIndex((e) => e.image === chosen.image && e.key === chosen.key) : -1;
  $("listtitle").textContent = `Findings (${entries.length})`;
  $("findings").replaceChildren(...entries.map((entry, n) => {
    const line = document.createElement("li");
    line.textContent = entry.text;
    line.className = `${entry.kind} ${n === state.current ? "current" : ""}`;
    line.addEventListener("click", () => jump(n));
    return line;
  }));
}

async function jump(n) {
  const entry = state.list[n];
  if (!entry) return;
  state.current = n;
  const meta = await describe(entry.image);
  const box = roomy(entry.box, meta.spacing_mm);
  state.place = { row: (entry.box.top + entry.box.bottom) / 2, column: (entry.box.left + entry.box.right) / 2 };
  chooseImage(entry.image);
  const at = panes.findIndex((p) => p.key === entry.image);
  if (at < 0) await hangUp({ box });
  else {
    if (!state.linked) active = at;
    panes[at].fitTo(box);
    events.moved(panes[at]);
  }
  [...$("findings").children].forEach((line, k) => line.classList.toggle("current", k === n));
  $("findings").children[n]?.scrollIntoView({ block: "nearest" });
  mark();
  redraw();
  remember();
}

async function nextFinding(by) {
  if (state.review) return by > 0 ? skipPlace() : null;
  const next = state.current + by;
  if (next >= 0 && next < state.list.length) return jump(next);
  const exams = state.catalogue.exams;
  const images = state.layout === "four" ? null : exams.flatMap((e) => e.images);
  const before = state.image.key;
  if (images) await step(by);
  else await stepExam(by);
  if (state.image.key !== before && state.list.length) await jump(by > 0 ? 0 : state.list.length - 1);
  return null;
}

function showThreshold() {
  const key = state.detector;
  const known = Boolean(key) && state.thresholds[key] !== undefined;
  $("point").hidden = !key;
  if (!key) return;
  $("threshold").value = logOdds(threshold(key));
  const detector = [...loaded.values()].flatMap((m) => m.detectors).find((d) => d.key === key && !d.missing);
  const words = [`from likelihood ${threshold(key).toFixed(4)}`];
  const points = detector?.points?.points || (detector?.stated ? [detector.stated] : []);
  const stated = points.length ? statedAt(points, threshold(key)) : null;
  if (stated) {
    const most = stated.exact ? "" : "at most ";
    words.push(`model (validation): sensitivity ${most}${stated.llf.toFixed(2)}, ${most}${stated.nlf.toFixed(2)} false findings per image`);
  } else if (points.length) words.push("model: below its measured points");
  const measured = curves.get(key);
  const on = measured && measuredAt(state.all ? measured.marks : measured.clusters || measured.marks, threshold(key));
  if (on) words.push(`these ${measured.images} images: sensitivity ${on.llf.toFixed(2)}, ${on.nlf.toFixed(2)} false ${state.all ? "marks" : "findings"} per image`);
  $("measured").textContent = words.join("   ·   ");
  if (!known) state.thresholds[key] = threshold(key);
}

let listing = 0;
function setThreshold(value) {
  state.thresholds[state.detector] = Math.min(1, Math.max(0, value));
  showThreshold();
  redraw();
  clearTimeout(listing);
  listing = setTimeout(fillList, 60);
}

// To the next operating point of the model, or of the curve measured here.
function stepThreshold(by) {
  const at = threshold(state.detector);
  const marks = loaded.get(state.image.key)?.detectors.find((d) => d.key === state.detector);
  const stops = [...new Set([...(marks?.points?.points.map((p) => p.threshold) || []), ...(marks?.clusters.map((c) => c.likelihood) || [])])].sort((a, b) => a - b);
  const next = by > 0 ? stops.find((t) => t > at + 1e-9) : stops.reverse().find((t) => t < at - 1e-9);
  setThreshold(next ?? likelihood(logOdds(at) + by * 0.5));
}

async function setDetector(key) {
  state.detector = key;
  $("detector").value = key;
  if (key && state.catalogue.has_truth && !curves.has(key)) {
    curves.set(key, null);
    ask(`api/detectors/${key}/curves`).then((c) => { curves.set(key, c); showThreshold(); }, (error) => say(error.message, "error"));
  }
  await hangUp();
  showThreshold();
}

function fillPresets() {
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

// ---- review

function reviewDetector() {
  return detectorOf(state.detector, pane()?.key);
}

function nextPlace() {
  const at = pane();
  const detector = reviewDetector();
  state.review = detector && at.meta ? editor.next(at, detector) : null;
  if (!state.review) {
    say(detector ? "review: no place is left in this image; D marks it as done, → goes on" : "review: no detector has marks on this image");
    redraw();
    return;
  }
  const { row, column } = state.review;
  at.fitTo(roomy({ top: row, bottom: row, left: column, right: column }, at.meta.spacing_mm, 20));
  say(`review: likelihood ${state.review.likelihood.toFixed(3)}; y microcalcification, x no calcium, 2-5 and 7 others, n later`);
  redraw();
}

function skipPlace() {
  editor.skipped.add(`${pane().key} ${state.review.index}`);
  nextPlace();
}

function verdictOn(kind) {
  const { review } = state;
  const detector = reviewDetector();
  if (!review || !detector) return editor.setKind(kind);
  editor.judge_(pane(), review, kind, detector);
  editor.skipped.add(`${pane().key} ${review.index}`);
  nextPlace();
  return null;
}

function drawReview(at, context) {
  const [x, y] = at.toPane(state.review.row, state.review.column);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 16 * dx, y + 16 * dy);
    context.lineTo(x + 30 * dx, y + 30 * dy);
  }
  context.stroke();
}

// ---- what keys and buttons do

const layout = (name) => { state.layout = name; state.current = -1; return hangUp(); };
const onPane = (call) => () => pane()?.meta && call(pane());
const writing = (call) => () => (editor ? call() : say("to annotate, start the viewer with --out FOLDER --judge NAME", "error"));
const actions = {
  nextImage: () => step(1), previousImage: () => step(-1), nextExam: () => stepExam(1), previousExam: () => stepExam(-1),
  nextFinding: () => nextFinding(1), previousFinding: () => nextFinding(-1),
  layoutOne: () => layout("one"), layoutPair: () => layout("pair"), layoutFour: () => layout("four"),
  layoutPrior: () => layout(state.layout === "prior" ? "one" : "prior"),
  layoutReaders: () => layout(state.layout === "readers" ? "one" : "readers"),
  nextLayout: () => layout(LAYOUTS[(LAYOUTS.indexOf(state.layout) + 1) % LAYOUTS.length]),
  nextPane: () => { active = (active + 1) % panes.length; if (pane().key) chooseImage(pane().key); mark(); fillPresets(); },
  zoomIn: onPane((p) => p.zoomTo(p.zoom * 1.4)), zoomOut: onPane((p) => p.zoomTo(p.zoom / 1.4)),
  native: onPane((p) => p.zoomTo([1, 4, 8].find((ratio) => ratio > p.zoom * 1.01) || 1)),
  fit: () => (panes.length > 1 ? oneScale() : pane()?.home()), loupe: onPane((p) => p.toggleLoupe()),
  nextPreset: onPane((p) => p.nextPreset()), invert: onPane((p) => p.invert()),
  darker: onPane((p) => p.adjust(0.05, 0)), brighter: onPane((p) => p.adjust(-0.05, 0)),
  moreContrast: onPane((p) => p.adjust(0, -0.1)), lessContrast: onPane((p) => p.adjust(0, 0.1)),
  windowTool: () => { state.windowTool = !state.windowTool; say(state.windowTool ? "drag to window; w ends" : ""); },
  resetWindow: onPane((p) => { p.inverted = false; p.setPreset(p.presets[0]); }),
  hide: () => { state.hidden = !state.hidden; redraw(); fillPresets(); },
  lower: () => stepThreshold(-1), higher: () => stepThreshold(1),
  all: () => { state.all = !state.all; showThreshold(); fillList().then(redraw); fillPresets(); },
  truth: () => { state.truth = !state.truth; redraw(); },
  nextDetector: () => {
    const keys = [...state.catalogue.detectors.map((d) => d.key), ""];
    return setDetector(keys[(keys.indexOf(state.detector) + 1) % keys.length]);
  },
  nextLayer: onPane((p) => setLayer(p, ["image", "normalised", "likelihood"][(["image", "normalised", "likelihood"].indexOf(p.layer) + 1) % 3])),
  annotate: writing(() => { state.annotate = !state.annotate; state.review = null; tools(); }),
  remove: writing(() => editor.remove()), outline: writing(() => editor.startOutline()),
  group: writing(() => editor.group(pane().key)), cluster: writing(nameCluster),
  done: writing(() => editor.mark(pane().key)), undo: writing(() => undo(false)), redo: writing(() => undo(true)),
  review: writing(() => { state.annotate = true; tools(); if (state.review) { state.review = null; redraw(); } else nextPlace(); }),
  accept: writing(() => verdictOn("microcalcification")), reject: writing(() => verdictOn("no_calcium")),
  agreement: writing(() => open(agreementPage(go, say))), help: () => open(helpPage()),
};
KINDS.forEach((kind, n) => { actions[`kind${n + 1}`] = writing(() => verdictOn(kind)); });

async function undo(redo) {
  const key = await editor.undo(redo);
  if (key && !panes.some((p) => p.key === key)) await go(key);
}

function nameCluster() {
  const [, annotation] = editor.current;
  if (!annotation) return say("choose an annotation first", "error");
  const form = document.createElement("div");
  const field = document.createElement("input");
  field.value = annotation.cluster;
  field.setAttribute("aria-label", "name of the cluster; empty: none");
  field.addEventListener("change", () => { editor.edit({ cluster: field.value.trim() }); $("dialog").close(); });
  form.append("Cluster of this annotation (empty: none): ", field);
  open(form);
  field.focus();
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

function open(page) {
  $("dialogbody").replaceChildren(page);
  $("dialog").showModal();
}

function tools() {
  const box = $("tools");
  box.hidden = !state.annotate;
  if (!editor) return;
  const line = (text) => Object.assign(document.createElement("p"), { textContent: text });
  const kinds = KINDS.map((kind, n) => {
    const button = Object.assign(document.createElement("button"), { textContent: `${n + 1} ${kind.replaceAll("_", " ")}` });
    button.setAttribute("aria-pressed", editor.kind === kind);
    button.addEventListener("click", () => { actions[`kind${n + 1}`](); tools(); });
    return button;
  });
  box.replaceChildren(line(`Reader: ${editor.judge}`), line(`Annotations lie in ${editor.folder}`), ...kinds);
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
  if (editor?.corners && ["Enter", "Escape"].includes(event.key)) {
    editor.endOutline(event.key === "Enter");
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
window.addEventListener("resize", () => setTimeout(() => { if (panes.length > 1) oneScale(); redraw(); }, 100));

function connect() {
  for (const [id, action] of [["invert", "invert"], ["all", "all"], ["marks", "hide"], ["annotate", "annotate"], ["help", "help"], ["agreement", "agreement"]]) {
    $(id).addEventListener("click", () => { actions[action](); $(id).blur(); });
  }
  for (const button of $("layouts").children) button.addEventListener("click", () => { layout(button.dataset.layout); button.blur(); });
  $("exam").addEventListener("change", () => go(state.catalogue.exams.find((e) => e.key === $("exam").value).images[0].key));
  $("preset").addEventListener("change", () => pane().setPreset(pane().presets[$("preset").value]));
  $("layer").addEventListener("change", () => setLayer(pane(), $("layer").value));
  $("detector").addEventListener("change", () => setDetector($("detector").value));
  $("threshold").addEventListener("input", () => setThreshold(likelihood(Number($("threshold").value))));
  $("training").addEventListener("click", () => open(trainingPage(state.catalogue.training)));
  for (const id of ["exam", "preset", "layer", "detector"]) $(id).addEventListener("change", () => $(id).blur());
}

// What other windows and readers have done since.
async function poll() {
  try {
    const { version, problem } = await ask("api/changes");
    if (problem) say(`the journal has every change; ${problem}`, "error");
    if (version !== editor.version && !editor.waiting && !editor.press) {
      editor.version = version;
      for (const p of panes) if (p.key) await editor.load(p.key, { again: true });
    }
  } catch (error) {
    say(`the server does not answer (${error.message}); nothing new is saved`, "error");
  }
  setTimeout(poll, POLL_MS);
}

async function start() {
  const catalogue = await ask("api/catalogue");
  state.catalogue = catalogue;
  $("exam").replaceChildren(...catalogue.exams.map((exam) => new Option(`${exam.name} (${exam.images.length})`, exam.key)));
  $("detector").replaceChildren(...catalogue.detectors.map((d) => new Option(d.name, d.key)), new Option("no detector", ""));
  $("detector").hidden = !catalogue.detectors.length;
  $("training").hidden = !catalogue.training.length;
  state.detector = catalogue.detectors[0]?.key || "";
  connect();
  if (catalogue.annotating) {
    editor = new Editor({ annotating: catalogue.annotating, say, redraw, changed: () => fillList() });
    for (const id of ["annotate", "agreement"]) $(id).hidden = false;
    say(`annotations lie in ${editor.folder}`);
    poll();
  }
  if (catalogue.problems.length) say(`${catalogue.problems.length} not shown: ${catalogue.problems[0]}`, "error");
  const address = new URLSearchParams(location.hash.slice(1));
  const images = catalogue.exams.flatMap((exam) => exam.images);
  const first = images.find((i) => i.key === address.get("image")) || catalogue.exams[0].images[0];
  const exam = catalogue.exams.find((e) => e.images.includes(first));
  const standard = new Set(exam.images.map((i) => `${i.laterality}${i.view}`));
  const four = ["RCC", "LCC", "RMLO", "LMLO"].every((view) => standard.has(view));
  state.layout = LAYOUTS.includes(address.get("layout")) ? address.get("layout") : four ? "four" : "one";
  const [row, column] = [Number(address.get("row")), Number(address.get("column"))];
  const box = address.get("row") ? roomy({ top: row, bottom: row, left: column, right: column }, (await describe(first.key)).spacing_mm) : null;
  await go(first.key, { box });
  if (state.detector) await setDetector(state.detector);
  if (box) panes.find((p) => p.key === first.key)?.fitTo(box);
  showThreshold();
  window.microcalc = { state, panes: () => panes, editor: () => editor, actions }; // for tests and scripts
}

start().catch((error) => say(error.message, "error"));
