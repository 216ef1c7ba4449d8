// What hangs on the screen: images in panes, and where the reader goes next.

import { drawDetector, drawTruth } from "./draw.js";
import { fillPresets } from "./controls.js";
import { fillList, measure, showThreshold } from "./findings.js";
import { hang } from "./layout.js";
import { marksOf } from "./marks.js";
import { describe, Pane } from "./pane.js";
import { drawTicks, goOnReviewing } from "./review.js";
import { $, detectorOf, loaded, pane, redraw, say, state, threshold } from "./state.js";

const MOST_LOADED = 64; // images whose marks are at hand; a page that has shown thousands holds no more

export async function hangUp(options = {}) {
  state.hanging += 1;
  try {
    await hangPanes(options);
  } finally {
    state.hanging -= 1;
  }
}

async function hangPanes({ box = null, fit = false }) {
  const { catalogue, exam, image } = state;
  state.review = null;
  const { cells, rows, columns, linked } = hang(state.layout, catalogue, exam, image, state.detector, state.older);
  state.linked = Boolean(linked);
  const moved = cells.length !== state.panes.length || cells.some((cell, n) => state.panes[n].key !== (cell.image?.key || ""));
  $("panes").dataset.rows = rows;
  $("panes").dataset.columns = columns;
  while (state.panes.length > cells.length) state.panes.pop().element.remove();
  while (state.panes.length < cells.length) state.panes.push(new Pane($("panes"), events));
  state.active = Math.max(cells.findIndex((cell) => cell.image?.key === image.key), 0);
  mark();
  const shown = cells.map(async (cell, n) => {
    const pane = state.panes[n];
    [pane.detector, pane.note] = [cell.detector, cell.note || ""];
    measure(cell.detector);
    if (!cell.image) return pane.clear(cell.empty || "—");
    loadMarks(cell.image.key);
    const annotated = state.editor?.load(cell.image.key).catch((error) => say(error.message, "error"));
    const first = cell.image.key === image.key && (n === state.active || linked);
    if (await pane.show(cell.image.key, first ? box : null)) pane.label();
    await annotated;
    return null;
  });
  await Promise.all(shown);
  if (fit || (cells.length > 1 && moved)) {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); // the panes have their sizes
    oneScale();
    if (box) for (const at of state.panes) if (at.key === image.key && at.meta) at.fitTo(box);
  }
  fillPresets();
  await fillList();
  redraw();
  showThreshold();
  remember();
  fetchNeighbours();
  await goOnReviewing();
}

// All state.panes show millimetres at one size, so that a breast is as large as the other.
export function oneScale() {
  const scales = state.panes.filter((pane) => pane.meta).map((pane) => pane.leastScale);
  for (const pane of state.panes) if (pane.meta) pane.home(Math.max(...scales));
}

export function mark() {
  state.panes.forEach((pane, n) => {
    pane.element.classList.toggle("active", state.panes.length > 1 && n === state.active);
    pane.element.classList.toggle("annotating", state.annotate);
  });
}

export async function loadMarks(key) {
  try {
    const marks = await marksOf(key);
    loaded.delete(key);
    loaded.set(key, marks);
    if (loaded.size > MOST_LOADED) loaded.delete(loaded.keys().next().value);
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

export function remember() {
  const { row, column } = state.place || {};
  const place = row === undefined ? "" : `&row=${row.toFixed(1)}&column=${column.toFixed(1)}`;
  history.replaceState(null, "", `#image=${state.image.key}&layout=${state.layout}${place}${state.annotate ? "&annotate" : ""}`);
}

export async function go(key, options = {}) {
  for (const exam of state.catalogue.exams) {
    const image = exam.images.find((i) => i.key === key);
    if (!image) continue;
    [state.exam, state.image] = [exam, image];
    $("exam").value = exam.key;
    await hangUp(options);
    return;
  }
}

export async function step(by) {
  const images = state.catalogue.exams.flatMap((exam) => exam.images);
  const at = images.findIndex((image) => image.key === state.image.key);
  const next = images[Math.min(images.length - 1, Math.max(0, at + by))];
  state.current = -1;
  state.place = undefined;
  if (next && next.key !== state.image.key) await go(next.key);
}

export async function stepExam(by) {
  const { exams } = state.catalogue;
  const next = exams[Math.min(exams.length - 1, Math.max(0, exams.indexOf(state.exam) + by))];
  state.current = -1;
  state.place = undefined;
  if (next !== state.exam) await go(next.images[0].key);
}

export const events = {
  markOf: (key) => state.editor?.states.get(key)?.mark || "",
  draw(at, context) {
    const marks = loaded.get(at.key);
    if (!marks || state.hidden) return;
    const detector = detectorOf(at.detector, at.key);
    const chosen = state.list[state.current];
    const current = chosen?.image === at.key ? chosen.key : "";
    const judge = at.detector.startsWith("judge:") ? at.detector.slice(6) : null;
    const wanted = state.truth || judge !== null || at.detector === "annotations";
    if (marks.truth && wanted && (!detector || detector.matches)) drawTruth(at, context, marks.truth, judge);
    if (detector && (!state.annotate || state.all)) {
      drawDetector(at, context, detector, state.truth ? marks.truth : null, threshold(detector), { all: state.all, current });
    }
    if (state.editor) state.editor.draw(at, context);
    if (state.review && at === pane()) drawTicks(at, context, state.review);
    if (state.settling?.key === at.key) drawTicks(at, context, state.settling);
  },
  changed() {
    redraw();
    fillPresets();
  },
  moved(from) {
    if (!state.linked || state.panes.length !== 2 || this.following) return;
    const other = state.panes.find((p) => p !== from);
    if (!other?.meta || !from.meta || !other.item || !from.item) return;
    this.following = true;
    other.lookAt(from.gaze);
    this.following = false;
  },
  pointer(at, name, event, x, y) {
    if (name === "pointerdown") {
      activate(state.panes.indexOf(at));
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
    return state.annotate && state.editor && at.meta ? state.editor.pointer(at, name, event, x, y) : false;
  },
};

// A pane becomes the one that keys act on; side by side the list and the slider are those of its detector.
export function activate(n) {
  const isNew = n !== state.active;
  state.active = n;
  const { key } = pane();
  if (key && key !== state.image.key) chooseImage(key);
  mark();
  fillPresets();
  if (isNew && state.layout === "readers") fillList().then(showThreshold);
}

export function chooseImage(key) {
  const image = state.exam.images.find((i) => i.key === key);
  if (image) state.image = image;
  showThreshold();
  remember();
}

