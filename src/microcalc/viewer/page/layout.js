// Which image hangs where.

export const LAYOUTS = ["one", "pair", "four", "prior", "readers"];
const VIEWS = ["CC", "MLO"];

const find = (from, side, view) => from?.images.find((i) => i.laterality === side && i.view === view) || null;

// Earlier images of the breast in the same view, the latest first.
export const priorsOf = (exams, exam, image) => exam.priors
  .map((prior) => ({ ...prior, before: find(exams.find((e) => e.key === prior.key), image.laterality, image.view) }))
  .filter((prior) => prior.before);

function priorOf(exams, exam, image, older) {
  const priors = priorsOf(exams, exam, image);
  if (!priors.length) return { before: null, note: "no prior" };
  const { before, years_before: years } = priors[older % priors.length];
  const which = priors.length > 1 ? ` ${(older % priors.length) + 1} of ${priors.length}` : "";
  return { before, note: `prior${which}, ${years.toFixed(1)} years before` };
}

// Return what each pane shows: {image, detector} (null: an empty pane), and the number of rows and columns.
export function hang(layout, { exams, detectors, judges }, exam, image, detector, older) {
  if (layout === "four") {
    const cells = [];
    for (const view of VIEWS) for (const side of ["R", "L"]) cells.push({ image: find(exam, side, view), detector });
    const wide = window.innerWidth > 1.6 * window.innerHeight;
    return { cells, rows: wide ? 1 : 2, columns: wide ? 4 : 2 };
  }
  if (layout === "pair") {
    const view = image.view || "CC";
    const sides = ["R", "L"].map((side) => ({ image: find(exam, side, view), detector }));
    return { cells: sides.some((c) => c.image) ? sides : [{ image, detector }], rows: 1, columns: sides.some((c) => c.image) ? 2 : 1 };
  }
  if (layout === "prior") {
    const { before, note } = priorOf(exams, exam, image, older);
    return { cells: [{ image: before, detector, note, empty: note }, { image, detector, note: "current" }], rows: 1, columns: 2, linked: true };
  }
  if (layout === "readers") {
    return { cells: compared(detectors, judges, detector).map((one) => ({ image, ...one })), rows: 1, columns: 2, linked: true };
  }
  return { cells: [{ image, detector }], rows: 1, columns: 1 };
}

// The two whose marks are compared: the chosen detector and the next one, else the annotations; or the first two readers.
function compared(detectors, judges, detector) {
  const readers = judges.map((judge) => ({ detector: `judge:${judge}`, note: judge }));
  if (!detectors.length && readers.length > 1) return readers.slice(0, 2);
  const first = Math.max(detectors.findIndex((d) => d.key === detector), 0);
  const marks = (d) => (d ? { detector: d.key, note: d.name } : { detector: "", note: "no detector" });
  const second = detectors.length > 1 ? marks(detectors[(first + 1) % detectors.length]) : { detector: "annotations", note: "annotations" };
  return [marks(detectors[first]), second];
}
