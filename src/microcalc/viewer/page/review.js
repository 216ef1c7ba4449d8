// Review: the highest mark without a verdict comes up, one key judges it, the next comes up.

import { roomy } from "./marks.js";
import { $, detectorOf, pane, redraw, state } from "./state.js";

const prompt = (text) => { $("asked").textContent = text; };

function reviewDetector() {
  return detectorOf(state.detector, pane()?.key);
}

export function toggleReview() {
  if (state.reviewing) return endReview();
  state.reviewing = true;
  return state.hanging ? null : nextPlace(); // an image that is being opened goes on with the review itself
}

export function endReview() {
  state.reviewing = false;
  state.review = null;
  prompt("");
  redraw();
}

// In an image that was gone to during a review, the review goes on.
export async function goOnReviewing() {
  if (!state.reviewing) return;
  await state.editor.load(state.image.key);
  nextPlace();
}

export function nextPlace() {
  const at = pane();
  const detector = reviewDetector();
  state.review = detector && at.meta ? state.editor.next(at, detector) : null;
  if (!state.review) {
    prompt(detector ? "Review: no place is left in this image. D marks it as done, → goes on." : "Review: no detector has marks on this image.");
    redraw();
    return;
  }
  const { row, column } = state.review;
  at.fitTo(roomy({ top: row, bottom: row, left: column, right: column }, at.meta.spacing_mm, 20));
  prompt(`Review: what lies between the ticks? Likelihood ${state.review.likelihood.toFixed(3)}. y microcalcification, x no calcium, 2-5 and 7 others, n later, q ends.`);
  redraw();
}

export function skipPlace() {
  state.editor.skipped.add(`${pane().key} ${state.review.index}`);
  nextPlace();
}

export function verdictOn(kind) {
  const { review } = state;
  const detector = reviewDetector();
  if (!review || !detector) return state.editor.setKind(kind);
  state.editor.verdict(pane(), review, kind, detector);
  state.editor.skipped.add(`${pane().key} ${review.index}`);
  nextPlace();
  return null;
}

// Ticks around the place that is asked about.
export function drawTicks(at, context, place) {
  const [x, y] = at.toPane(place.row, place.column);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 16 * dx, y + 16 * dy);
    context.lineTo(x + 30 * dx, y + 30 * dy);
  }
  context.stroke();
}

