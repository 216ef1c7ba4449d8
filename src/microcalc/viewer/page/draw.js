// Draw marks, outlines, clusters and annotations over a pane.

import { missed, shownBy, verdict } from "./marks.js";

export const COLOURS = {
  finding: "#ff961e", apart: "#e182eb", single: "#78eb78", other: "#50beff", hit: "#53d769", false: "#ff5d55", ignored: "#a0a0a8", miss: "#ffd84d",
  truth: "#e8e8ea", chosen: "#ffffff",
};
export const KIND_COLOURS = {
  microcalcification: "#ff961e", coarse: "#50beff", vascular: "#4de0d0", rim_or_skin: "#a78bfa", other_calcium: "#7fb3ff",
  no_calcium: "#85858c", unsure: "#d7c25a", calcification_region: "#ffc46b",
};
const LEAST_RADIUS_MM = 0.5;
const LEAST_RADIUS_PX = 5;

export function drawDetector(pane, context, detector, truth, threshold, { all, current }) {
  const shown = shownBy(detector, threshold, all);
  const { matches } = detector;
  for (const cluster of shown.clusters) {
    const index = detector.clusters.indexOf(cluster);
    const kind = verdict(matches && matches.clusters, index);
    const outline = cluster.outline.length ? cluster.outline : null;
    context.lineWidth = current === `c${index}` ? 2.5 : 1.5;
    context.strokeStyle = COLOURS[kind || (cluster.apart ? "apart" : "finding")];
    context.setLineDash([]);
    if (outline) drawPolygon(pane, context, outline);
  }
  for (const mark of shown.marks) {
    const kind = verdict(matches && matches.marks, mark.index);
    context.strokeStyle = COLOURS[kind || sortOf(mark)];
    context.lineWidth = current === `m${mark.index}` ? 2.5 : 1;
    if (mark.outline && mark.outline.length > 2 && pane.zoom > 0.5) drawPolygon(pane, context, mark.outline);
    else drawRing(pane, context, mark.row, mark.column, mark.diameter_mm || 0);
    if (mark.kind && mark.kind !== "microcalcification" && pane.zoom > 0.7) drawWord(pane, context, mark.row, mark.column, String(mark.kind).replaceAll("_", " "));
  }
  if (!truth) return;
  context.strokeStyle = COLOURS.miss;
  context.lineWidth = 1.2;
  context.setLineDash([4, 3]);
  for (const index of missed(detector, truth, shown)) drawAnnotation(pane, context, truth.annotations[index]);
  context.setLineDash([]);
}

const sortOf = (mark) => (mark.inFinding ? (mark.apart ? "apart" : "finding") : mark.single ? "single" : "other");

export function drawTruth(pane, context, truth, judge = null) {
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  for (const annotation of truth.annotations) {
    if (annotation.kind === "no_calcium" || (judge !== null && annotation.judge !== judge)) continue;
    context.strokeStyle = annotation.kind === "microcalcification" ? COLOURS.truth : KIND_COLOURS[annotation.kind] || COLOURS.other;
    drawAnnotation(pane, context, annotation);
  }
  context.setLineDash([]);
}

function drawAnnotation(pane, context, a) {
  if (a.kind === "calcification_region" || (a.outline.length > 2 && pane.zoom > 0.5)) drawPolygon(pane, context, a.outline);
  else drawRing(pane, context, a.row, a.column, a.diameter_mm);
}

export function drawAnnotations(pane, context, annotations, chosen, clusters) {
  for (const a of annotations) {
    const isChosen = chosen.has(a.id);
    context.strokeStyle = isChosen ? COLOURS.chosen : KIND_COLOURS[a.kind] || COLOURS.other;
    context.lineWidth = isChosen ? 2 : 1.3;
    context.setLineDash(a.kind === "unsure" ? [3, 2] : []);
    if (a.kind === "no_calcium") drawCross(pane, context, a.row, a.column);
    else if (a.kind !== "calcification_region") drawRing(pane, context, a.row, a.column, a.diameter_mm);
    context.setLineDash([]);
    if (a.outline.length > 2) drawPolygon(pane, context, a.outline);
  }
  for (const [name, members] of clusters) {
    const [x, y] = pane.toPane(members[0].row, members[0].column);
    context.fillStyle = context.strokeStyle = KIND_COLOURS.microcalcification;
    context.font = "11px system-ui";
    context.fillText(name, x + 10, y - 8);
    if (members.some((a) => a.outline.length)) continue; // else a thin line around all members says who they are
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    drawPolygon(pane, context, hullOf(members.map((a) => [a.row, a.column])));
    context.setLineDash([]);
  }
}

// Corners of the convex hull of places (monotone chain).
function hullOf(places) {
  const sorted = [...places].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (points) => {
    const chain = [];
    for (const p of points) {
      while (chain.length > 1 && turns(chain.at(-2), chain.at(-1), p) <= 0) chain.pop();
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  return sorted.length < 3 ? sorted : [...half(sorted), ...half([...sorted].reverse())];
}

const turns = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

export function drawCorners(pane, context, corners, chosen) {
  corners.forEach((corner, n) => {
    const [x, y] = pane.toPane(...corner);
    context.fillStyle = n === chosen ? COLOURS.miss : COLOURS.chosen;
    context.fillRect(x - 3.5, y - 3.5, 7, 7);
  });
}

export function drawFrame(context, [left, top, right, bottom]) {
  context.strokeStyle = COLOURS.chosen;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.strokeRect(left, top, right - left, bottom - top);
  context.setLineDash([]);
}

export function drawPath(pane, context, corners) {
  context.strokeStyle = COLOURS.chosen;
  context.lineWidth = 1.5;
  context.beginPath();
  corners.forEach((corner, n) => {
    const [x, y] = pane.toPane(...corner);
    if (n) context.lineTo(x, y);
    else context.moveTo(x, y);
    context.rect(x - 2, y - 2, 4, 4);
    context.moveTo(x, y);
  });
  context.stroke();
}

function drawRing(pane, context, row, column, diameterMm) {
  const [x, y] = pane.toPane(row, column);
  const perMm = pane.zoom / pane.meta.pixel_mm;
  const radius = Math.max(LEAST_RADIUS_PX, (diameterMm ? diameterMm / 2 + 0.15 : LEAST_RADIUS_MM) * perMm);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

function drawCross(pane, context, row, column) {
  const [x, y] = pane.toPane(row, column);
  context.beginPath();
  for (const [dx, dy] of [[4, 4], [4, -4]]) {
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
  }
  context.stroke();
}

function drawPolygon(pane, context, corners) {
  context.beginPath();
  corners.forEach((corner, n) => {
    const [x, y] = pane.toPane(...corner);
    if (n) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  context.closePath();
  context.stroke();
}

function drawWord(pane, context, row, column, word) {
  const [x, y] = pane.toPane(row, column);
  context.fillStyle = context.strokeStyle;
  context.font = "11px system-ui";
  context.fillText(word, x + 9, y + 4);
}

export function drawScale(pane, context, height) {
  const perMm = pane.zoom / pane.meta.pixel_mm;
  const length = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1].find((mm) => mm * perMm < 160) || 0.1;
  context.font = "11px system-ui";
  for (const [colour, width] of [["#000", 4], ["#c8c8cc", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(10, height - 30);
    context.lineTo(10 + length * perMm, height - 30);
    context.stroke();
    if (colour === "#000") context.strokeText(`${length} mm`, 10, height - 36);
  }
  context.fillStyle = "#c8c8cc";
  context.fillText(`${length} mm`, 10, height - 36);
}
