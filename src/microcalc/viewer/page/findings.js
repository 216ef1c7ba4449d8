// The list of findings, the jump from one to the next, and the operating point.

import { ask } from "./api.js";
import { events, chooseImage, go, hangUp, loadMarks, mark, oneScale, remember, step, stepExam } from "./hanging.js";
import { likelihood, listed, logOdds, measuredAt, roomy, statedAt, textOf } from "./marks.js";
import { describe } from "./pane.js";
import { skipPlace } from "./review.js";
import { $, currentDetector, curves, detectorOf, listedDetector, modelName, redraw, say, state, threshold, thresholdName } from "./state.js";

const MOST_LINES = 1000;

const found = new Map(); // detector → its findings on all images, once they are there

// Findings of the images on the screen, and examples of a study on whatever image.
async function listHere() {
  const { exam, layout, image } = state;
  const images = layout === "four" ? exam.images : layout === "pair" ? exam.images.filter((i) => i.view === image.view) : [image];
  const entries = [];
  for (const one of images) {
    const marks = await loadMarks(one.key);
    const detector = detectorOf(listedDetector(), one.key);
    entries.push(...listed(one, marks, detector, threshold(detector), state.all).map((e) => (images.length > 1 ? e : { ...e, where: "" })));
  }
  entries.sort((a, b) => b.rating - a.rating);
  state.catalogue.links.forEach((link, n) => {
    const box = { top: link.row, bottom: link.row, left: link.column, right: link.column };
    entries.push({ image: link.image, where: "", text: link.text, kind: link.group, rating: 0, box, key: `l${n}` });
  });
  return entries;
}

// Findings of all images from the threshold on, highest first.
function listEverywhere(key) {
  const names = new Map(state.catalogue.exams.flatMap((exam) => exam.images).map((image) => [image.key, image.name]));
  const entries = found.get(key).images.flatMap(({ image, model, threshold: stated, findings }) => {
    const least = threshold({ key, model: { sha256: model }, threshold: stated });
    const shown = ({ likelihood, within }) => likelihood >= least && !(within !== null && within >= least);
    return findings.filter(shown).map((finding) => {
      const [top, left, bottom, right] = finding.box;
      return {
        image, where: names.get(image), text: textOf(finding), kind: finding.verdict, rating: finding.likelihood,
        box: { top, left, bottom, right }, key: finding.key,
      };
    });
  });
  return entries.sort((a, b) => b.rating - a.rating);
}

export async function fillList() {
  const key = listedDetector();
  if (state.everywhere) await readEverywhere(key);
  const everywhere = state.everywhere && found.has(key);
  const entries = everywhere ? listEverywhere(key) : await listHere();
  const chosen = state.list[state.current];
  state.list = entries;
  state.current = chosen ? entries.findIndex((e) => e.image === chosen.image && e.key === chosen.key) : -1;
  $("listtitle").textContent = `${everywhere ? "All findings" : "Findings"} (${entries.length})`;
  $("everywhere").hidden = !state.detector || !several();
  $("everywhere").setAttribute("aria-pressed", everywhere);
  const lines = entries.slice(0, MOST_LINES).map((entry, n) => {
    const line = document.createElement("li");
    line.textContent = entry.where ? `${entry.where}  ${entry.text}` : entry.text;
    line.className = `${entry.kind} ${n === state.current ? "current" : ""}`;
    line.addEventListener("click", () => jump(n));
    return line;
  });
  const rest = entries.length - lines.length;
  if (rest > 0) lines.push(Object.assign(document.createElement("li"), { textContent: `… and ${rest} more; n goes on` }));
  $("findings").replaceChildren(...lines);
  showCurrent();
}

const several = () => state.catalogue.exams.length > 1 || state.catalogue.exams[0].images.length > 1;

function showCurrent() {
  [...$("findings").children].forEach((line, n) => line.classList.toggle("current", n === state.current));
  $("findings").children[state.current]?.scrollIntoView({ block: "nearest" });
}

// Between the findings of what is on the screen and those of all images.
export function toggleEverywhere() {
  state.everywhere = !state.everywhere;
  state.current = -1;
  return fillList();
}

// The findings of a detector on all images are asked for once.
async function readEverywhere(key) {
  if (found.has(key) || !state.catalogue.detectors.some((d) => d.key === key)) return;
  $("listtitle").textContent = "reading all images …";
  try {
    found.set(key, await ask(`api/detectors/${key}/findings`));
    const { problems } = found.get(key);
    if (problems.length) say(`${problems.length} not listed: ${problems[0]}`, "error");
  } catch (error) {
    say(error.message, "error");
  }
}

let jumps = 0;

export async function jump(n) {
  const entry = state.list[n];
  if (!entry) return;
  state.current = n;
  showCurrent();
  const turn = ++jumps;
  const meta = await describe(entry.image);
  if (turn !== jumps) return null; // the reader is on the way to another one
  const box = roomy(entry.box, meta.spacing_mm);
  state.place = { row: (entry.box.top + entry.box.bottom) / 2, column: (entry.box.left + entry.box.right) / 2 };
  if (!state.exam.images.some((image) => image.key === entry.image)) return go(entry.image, { box });
  chooseImage(entry.image);
  const at = state.panes.findIndex((p) => p.key === entry.image);
  if (at < 0) await hangUp({ box });
  else {
    if (!state.linked) {
      if (at !== state.active && state.panes.length > 1) oneScale(); // no pane stays at a finding that was left
      state.active = at;
    }
    state.panes[at].fitTo(box);
    events.moved(state.panes[at]);
  }
  showCurrent();
  mark();
  redraw();
  remember();
  return null;
}

export async function nextFinding(by) {
  if (state.review) return by > 0 ? skipPlace() : null;
  const next = state.current + by;
  if (next >= 0 && next < state.list.length) return jump(next);
  if (state.everywhere) return null;
  const exams = state.catalogue.exams;
  const images = state.layout === "four" ? null : exams.flatMap((e) => e.images);
  const before = state.image.key;
  if (images) await step(by);
  else await stepExam(by);
  if (state.image.key !== before && state.list.length) await jump(by > 0 ? 0 : state.list.length - 1);
  return null;
}

export function showThreshold() {
  const detector = currentDetector();
  $("point").hidden = !detector;
  $("measured").textContent = "";
  if (!detector) return;
  const at = threshold(detector);
  $("threshold").value = logOdds(at);
  const words = [`${state.layout === "readers" ? `${detector.name} ` : ""}≥ ${at.toFixed(4)}`];
  const points = detector.points?.points || (detector.stated ? [detector.stated] : []);
  const stated = points.length ? statedAt(points, at) : null;
  if (stated) {
    const most = stated.exact ? "" : "≤ ";
    words.push(`model: sensitivity ${most}${stated.llf.toFixed(2)}, ${most}${stated.nlf.toFixed(2)} false / image`);
  } else if (points.length) words.push("model: below its measured points");
  const measured = curves.get(detector.key)?.[modelName(detector)];
  const on = measured && measuredAt(state.all ? measured.marks : measured.clusters || measured.marks, at);
  if (on) words.push(`these ${measured.images} images: sensitivity ${on.llf.toFixed(2)}, ${on.nlf.toFixed(2)} false / image`);
  $("measured").textContent = words.join("   ·   ");
  $("measured").title = "model: as measured on its validation images (model card); these images: against their annotations";
}

let listing = 0;
export function setThreshold(value) {
  state.thresholds[thresholdName(currentDetector())] = Math.min(1, Math.max(0, value));
  showThreshold();
  redraw();
  clearTimeout(listing);
  listing = setTimeout(fillList, 60);
}

// To the next operating point of the model, or of the curve measured here.
export function stepThreshold(by) {
  const detector = currentDetector();
  const at = threshold(detector);
  const points = detector?.points?.points.map((point) => point.threshold) || [];
  const stops = [...new Set([...points, ...(detector?.clusters.map((c) => c.likelihood) || [])])].sort((a, b) => a - b);
  const next = by > 0 ? stops.find((t) => t > at + 1e-9) : stops.reverse().find((t) => t < at - 1e-9);
  setThreshold(next ?? likelihood(logOdds(at) + by * 0.5));
}

// What was measured on these images is asked for once.
export function measure(key) {
  if (!state.catalogue.has_truth || curves.has(key) || !state.catalogue.detectors.some((d) => d.key === key)) return;
  curves.set(key, null);
  ask(`api/detectors/${key}/curves`).then((c) => { curves.set(key, c); showThreshold(); }, (error) => say(error.message, "error"));
}

export async function setDetector(key) {
  state.detector = key;
  $("detector").value = key;
  await hangUp();
  showThreshold();
}

