// What the table of annotations holds, and the commands that take it to other programs.

import { ask } from "./api.js";

export function exportPage() {
  const page = document.createElement("div");
  page.textContent = "…";
  ask("api/export").then((answer) => fill(page, answer), (error) => { page.textContent = error.message; });
  return page;
}

function fill(page, { table, images, done, kinds, hidden, superseded, pictures }) {
  const line = (text, tag = "p") => Object.assign(document.createElement(tag), { textContent: text });
  const counts = Object.entries(kinds).map(([kind, n]) => `${kind.replaceAll("_", " ")}: ${n}`).join(", ") || "no annotations";
  const notes = [
    `Images marked as done: ${done} of ${images}. The others are in the table, too, with what has been annotated so far.`,
    hidden && `Annotations of other readers, which this page does not show: ${hidden}.`,
    superseded && `Annotations that are left out because a reader has settled their image: ${superseded}.`,
    pictures && `Pictures: ${pictures}. DICOM reports cannot refer to them.`,
  ].filter(Boolean);
  page.replaceChildren(
    line("Export", "h3"),
    line(`${table} is a table: images.csv, and annotations.csv with one line for each place (${counts}). train, evaluate, insert and study take it as it is.`),
    ...notes.map((text) => line(text)),
    line("For other programs, in a terminal:"),
    line([
      `microcalc table export ${table} --to coco --out coco`,
      `microcalc table export ${table} --to sr --out reports`,
    ].join("\n"), "pre"),
    line("coco: COCO JSON, for CVAT and others. sr: DICOM measurement reports (TID 1500), for PACS and 3D Slicer. Both can be read again."),
  );
}
