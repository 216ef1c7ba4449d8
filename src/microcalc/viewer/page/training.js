// The page of a training: curves and time left, drawn anew while it is open.

import { ask } from "./api.js";

const AGAIN_MS = 2000;
const QUIET_S = 300;
const [WIDTH, HEIGHT] = [520, 200];
const BOX = { left: 46, right: WIDTH - 12, top: 26, bottom: HEIGHT - 24 };
const LINES = { loss: ["loss", "training"], validation_loss: ["validation", "validation"], sensitivity: ["validation", ""] };

export function trainingPage() {
  const page = Object.assign(document.createElement("div"), { id: "trainingpage" });
  const update = async () => {
    try {
      const { runs } = await ask("api/training");
      page.replaceChildren(...runs.map(runSection));
    } catch (error) {
      page.prepend(paragraph(error.message));
    }
    if (page.closest("dialog")?.open) setTimeout(update, AGAIN_MS);
  };
  setTimeout(update); // once the page is in the dialog
  return page;
}

export const isUnfinished = (runs) => runs.some((run) => !run.finished);

function runSection(run) {
  const section = document.createElement("section");
  section.append(element("h3", run.name), paragraph(stateOf(run)));
  for (const network of run.networks) {
    const charts = Object.assign(document.createElement("div"), { className: "charts" });
    charts.append(chart(network, ["loss", "validation_loss"], "loss (cross entropy)"));
    if (network.at) charts.append(chart(network, ["sensitivity"], `sensitivity at ${network.at}`, 1));
    section.append(element("h4", `${network.name.toUpperCase()}: ${progressOf(network)}`), charts);
  }
  if (run.operating_points.length) {
    const words = run.operating_points.map((p) => `${p.llf.toFixed(2)} at ${Number(p.nlf.toFixed(2))} false marks per image`);
    section.append(paragraph(`The finished model, every pixel of the validation images rated: sensitivity ${words.join(", ")}.`));
  }
  return section;
}

function stateOf(run) {
  if (run.finished) return "The training is finished.";
  const progress = run.networks.at(-1)?.progress;
  if (!progress) return "The training has not begun yet, or its first line is not written yet.";
  if (progress.seconds_ago > QUIET_S) return `Nothing new for ${inWords(progress.seconds_ago)}: where the training was stopped, the same command goes on with it.`;
  if (!progress.seconds_left) return "Choosing thresholds on the validation images.";
  return `About ${inWords(Math.max(1, progress.seconds_left - progress.seconds_ago))} of training left.`;
}

function progressOf(network) {
  const { progress, points } = network;
  return progress ? `step ${progress.step} of ${progress.steps}` : `step ${points.at(-1).step}`;
}

function inWords(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const paragraph = (text) => element("p", text);

function shape(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Curves over the steps, from 0 to the highest value (or to `top`).
function chart(network, names, title, top) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": `${network.name}: ${title}` });
  const last = Math.max(network.progress?.steps || 0, network.points.at(-1).step);
  const highest = top || Math.max(...names.flatMap((name) => network.points.map((point) => point[name] ?? 0))) || 1;
  const x = (step) => BOX.left + ((BOX.right - BOX.left) * step) / last;
  const y = (value) => BOX.bottom - ((BOX.bottom - BOX.top) * value) / highest;
  for (const part of [0, 0.5, 1]) {
    svg.append(shape("line", { x1: BOX.left, x2: BOX.right, y1: y(part * highest), y2: y(part * highest), class: "grid" }));
    svg.append(shape("text", { x: BOX.left - 6, y: y(part * highest) + 4, "text-anchor": "end" }, (part * highest).toPrecision(2)));
    svg.append(shape("text", { x: x(part * last), y: HEIGHT - 8, "text-anchor": part === 1 ? "end" : "middle" }, Math.round(part * last)));
  }
  svg.append(shape("text", { x: BOX.left, y: 15 }, title));
  names.forEach((name, n) => {
    const points = network.points.filter((point) => point[name] !== undefined);
    const [kind, label] = LINES[name];
    svg.append(shape("polyline", { points: points.map((p) => `${x(p.step)},${y(p[name])}`).join(" "), class: kind }));
    if (kind === "validation") for (const p of points) svg.append(shape("circle", { cx: x(p.step), cy: y(p[name]), r: 2.5, class: kind }));
    if (!points.length) return;
    const words = `${label} ${points.at(-1)[name].toFixed(3)}`.trim();
    svg.append(shape("text", { x: BOX.right - 110 * n, y: 15, "text-anchor": "end", class: kind }, words));
  });
  return svg;
}
