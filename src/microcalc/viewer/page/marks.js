// The marks of detectors and the annotations: which are shown at a threshold, which match, and what is listed.

import { ask } from "./api.js";

const kept = new Map(); // image → promise of its marks
const MOST_KEPT = 64;

export function marksOf(key) {
  if (!kept.has(key)) {
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
    kept.set(key, ask(`api/images/${key}/marks`));
    kept.get(key).catch(() => kept.delete(key));
  }
  return kept.get(key);
}

export const logOdds = (p) => Math.log(Math.max(p, 1e-9) / Math.max(1 - p, 1e-9));
export const likelihood = (logit) => 1 / (1 + Math.exp(-logit));

// What a detector shows at a threshold: clusters from it on, and the members of these; the single calcifications from it
// on, which its detections list outside findings; with `all` every candidate from it on. Marks that are not grouped are
// all there is for a detector without clusters.
export function shownBy(detector, threshold, all) {
  const clusters = detector.clusters.filter((cluster) => cluster.likelihood >= threshold);
  const indices = new Set(clusters.map((cluster) => detector.clusters.indexOf(cluster)));
  const members = new Set(clusters.flatMap((cluster) => cluster.members));
  const apart = new Set(clusters.filter((cluster) => cluster.apart).flatMap((cluster) => cluster.members));
  const singles = new Set(detector.singles);
  const ungrouped = all || !detector.clusters.length;
  const marks = detector.candidates
    .map((mark, index) => ({
      ...mark, index, inFinding: members.has(index), apart: apart.has(index), single: singles.has(index),
    }))
    .filter((mark) => mark.inFinding || ((ungrouped || mark.single) && mark.likelihood >= threshold));
  return { clusters, indices, marks };
}

// Hit, false or ignored, of a mark or a cluster; empty where there is no truth.
export function verdict(matches, index) {
  if (!matches) return "";
  if (matches.lesion_mark.includes(index)) return "hit";
  return matches.nl_mark.includes(index) ? "false" : "ignored";
}

// Indices of annotations that no shown mark hits.
export function missed(detector, truth, shown) {
  if (!truth || !detector || !detector.matches) return [];
  const drawn = new Set(shown.marks.map((mark) => mark.index));
  return truth.lesions.filter((_annotation, lesion) => !drawn.has(detector.matches.marks.lesion_mark[lesion]));
}

export function boxOf(places) {
  const rows = places.map((place) => place[0]);
  const columns = places.map((place) => place[1]);
  return {
    top: Math.min(...rows), bottom: Math.max(...rows), left: Math.min(...columns), right: Math.max(...columns),
  };
}

// A box with a margin, at least so many millimetres wide and high.
export function roomy(box, spacing, leastMm = 14) {
  const grown = (low, high, mm) => {
    const [middle, half] = [(low + high) / 2, Math.max((high - low) / 2 + 3 / mm, leastMm / 2 / mm)];
    return [middle - half, middle + half];
  };
  const [top, bottom] = grown(box.top, box.bottom, spacing[0]);
  const [left, right] = grown(box.left, box.right, spacing[1]);
  return { top, bottom, left, right };
}

export const whereOf = (image) => [image.laterality, image.view].filter(Boolean).join("") || image.name;

// The list beside the picture: findings of the detector, then what it misses; without a detector what is annotated.
export function listed(image, marks, detector, threshold, all) {
  const entries = [];
  const { truth } = marks;
  const add = (text, kind, rating, places, key) =>
    entries.push({ image: image.key, where: whereOf(image), text, kind, rating, box: boxOf(places), key });
  if (detector) {
    const shown = shownBy(detector, threshold, all);
    const matches = detector.matches;
    shown.clusters.forEach((cluster) => {
      const index = detector.clusters.indexOf(cluster);
      const places = cluster.members.map((m) => [detector.candidates[m].row, detector.candidates[m].column]);
      add(textOf({ ...cluster, members: places.length }), verdict(matches && matches.clusters, index),
        cluster.likelihood, places, `c${index}`);
    });
    shown.marks.filter((mark) => !mark.inFinding).forEach((mark) => add(
      textOf({ ...mark, members: 0 }), verdict(matches && matches.marks, mark.index), mark.likelihood,
      [[mark.row, mark.column]], `m${mark.index}`));
    const lost = new Set(missed(detector, truth, shown));
    if (truth) {
      const found = foundClusters(truth, matches, shown);
      const sizes = new Map(groups(truth.annotations.filter((a) => a.kind === "microcalcification")).map(([name, places]) => [name, places.length]));
      groups(truth.annotations.filter((_a, n) => lost.has(n))).forEach(([name, places]) => {
        if (!name) add(`missed: ${places.length} outside clusters`, "miss", -2, places, "t");
        else if (found.has(name)) add(`without a mark: ${places.length} of ${sizes.get(name)} of ${name}`, "partly", -3, places, `t${name}`);
        else add(`missed: ${name}, ${sizes.get(name)}`, "miss", -1, places, `t${name}`);
      });
      truth.regions.filter((_index, n) => matches.clusters && !shown.indices.has(matches.clusters.lesion_mark[truth.clusters.length + n]))
        .forEach((index) => add("missed: a region", "miss", -1, truth.annotations[index].outline, `r${index}`));
    }
  } else if (truth) {
    groups(truth.annotations.filter((a) => a.kind === "microcalcification")).forEach(([name, places]) =>
      add(`annotated: ${places.length} ${name ? `of ${name}` : "outside clusters"}`, "", 0, places, `t${name}`));
    truth.regions.forEach((n) => add("annotated: a region", "", 0, truth.annotations[n].outline, `r${n}`));
  }
  return entries;
}

// A finding in words: its likelihood, how many marks it has (0: it is one), and its kind where that is another.
export const textOf = (finding) =>
  `${finding.likelihood.toFixed(3)}  ${sizeOf(finding)}${kindOf(finding)}${finding.apart ? ", set apart" : ""}`;

const sizeOf = ({ members, single }) => (members ? `${members} ${members > 1 ? "marks" : "mark"}` : single ? "single calcification" : "mark");

const kindOf = ({ kind }) => (kind && kind !== "microcalcification" ? `, ${String(kind).replaceAll("_", " ")}` : "");

// Names of the annotated clusters that a shown cluster hits or, of a detector without clusters, a shown mark.
function foundClusters(truth, matches, shown) {
  if (matches.clusters) return new Set(truth.clusters.filter((_name, n) => shown.indices.has(matches.clusters.lesion_mark[n])));
  const marks = new Set(shown.marks.map((mark) => mark.index));
  const hit = truth.lesions.filter((_annotation, lesion) => marks.has(matches.marks.lesion_mark[lesion]));
  return new Set(hit.map((index) => truth.annotations[index].cluster));
}

function groups(annotations) {
  const found = new Map();
  for (const a of annotations) {
    if (!found.has(a.cluster)) found.set(a.cluster, []);
    found.get(a.cluster).push([a.row, a.column]);
  }
  return [...found];
}

// What was measured at a threshold: sensitivity and false findings per image of the nearest stated point at or below.
export function statedAt(points, threshold) {
  const below = points.filter((point) => point.threshold <= threshold + 1e-9 && point.llf !== null);
  const point = below.sort((a, b) => b.threshold - a.threshold)[0];
  return point ? { ...point, exact: Math.abs(point.threshold - threshold) < 1e-6 } : null;
}

export function measuredAt(curve, threshold) {
  if (!curve) return null;
  let at = 0;
  while (at + 1 < curve.threshold.length && curve.threshold[at + 1] >= threshold - 1e-9) at += 1;
  return { nlf: curve.nlf[at], llf: curve.llf[at] };
}
