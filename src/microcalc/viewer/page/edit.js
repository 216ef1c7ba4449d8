// Annotating: what the reader does is sent at once, and shown as saved when the server has it on the disk.

import { ask, tell } from "./api.js";
import { drawAnnotations, drawCorners, drawFrame, drawPath } from "./draw.js";
import { edgeAt, Shape } from "./shape.js";

export const KINDS = ["microcalcification", "coarse", "vascular", "rim_or_skin", "other_calcium", "no_calcium", "unsure"];
const REACH_PX = 9;
const APART_MM = 0.5;
const FIRST_DIAMETER_MM = 0.3;

export class Editor {
  constructor({ annotating, say, redraw, changed }) {
    Object.assign(this, { judge: annotating.judge, folder: annotating.folder, say, redraw, changed });
    this.states = new Map(); // image → {annotations, mark, version}
    this.version = -1;
    this.chosen = "";
    this.selected = new Set(); // ids of annotations of one image that are changed together
    this.shape = null; // the outline whose corners are edited
    this.kind = KINDS[0];
    this.diameter = FIRST_DIAMETER_MM;
    this.corners = null; // of the outline that is being drawn
    this.skipped = new Set();
    this.queue = Promise.resolve(); // one change after the other, in the order in which they were made
    this.waiting = 0;
  }

  async load(key, { again = false } = {}) {
    if (again || !this.states.has(key)) this.take(key, await ask(`api/images/${key}/annotations`));
    return this.states.get(key);
  }

  annotations(key) {
    return this.states.get(key)?.annotations || [];
  }

  take(key, answer) {
    if (answer.version < this.states.get(key)?.version) return; // answers may overtake each other
    this.states.set(key, { annotations: answer.annotations, mark: answer.mark, version: answer.version });
    if (answer.version !== undefined) this.version = Math.max(this.version, answer.version);
    this.redraw({ labels: true });
  }

  // Send a change. Nothing is shown as saved before the answer; if there is none, the page says so and shows the truth.
  send(path, body, key) {
    this.waiting += 1;
    this.say("saving …", "saving");
    this.queue = this.queue.then(async () => {
      try {
        const answer = await tell(path, body);
        if (answer.annotations) this.take(key, answer);
        this.waiting -= 1;
        if (!this.waiting) this.say(`saved: change ${answer.saved ?? answer.version} in ${this.folder}`);
        this.changed(key, answer);
        return answer;
      } catch (error) {
        this.waiting -= 1;
        this.say(`NOT saved: ${error.message}`, "error");
        if (key) await this.load(key, { again: true }).catch(() => {});
        return null;
      }
    });
    return this.queue;
  }

  put(key, annotation, note = {}) {
    return this.send(`api/images/${key}/annotations`, { put: [annotation].flat(), note }, key);
  }

  add(key, row, column, kind = this.kind, note = {}) {
    const id = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    const diameter = kind === "no_calcium" ? 0 : this.diameter;
    const annotation = { id, row, column, kind, diameter_mm: diameter, cluster: "", outline: [] };
    this.choose(id);
    this.states.get(key)?.annotations.push(annotation); // drawn at once; the answer of the server replaces it
    return this.put(key, annotation, note);
  }

  get current() {
    for (const [key, state] of this.states) {
      const annotation = state.annotations.find((a) => a.id === this.chosen);
      if (annotation) return [key, annotation];
    }
    return [null, null];
  }

  // The image and the annotations that a key changes: those that are selected, else the chosen one.
  get targets() {
    const [key, annotation] = this.current;
    if (!this.selected.size) return [key, annotation ? [annotation] : []];
    for (const [image, { annotations }] of this.states) {
      const found = annotations.filter((a) => this.selected.has(a.id));
      if (found.length) return [image, found];
    }
    return [null, []];
  }

  edit(entries) {
    const [key, annotations] = this.targets;
    if (annotations.length) this.put(key, annotations.map((annotation) => ({ ...annotation, ...entries })));
  }

  setKind(kind) {
    this.kind = kind;
    const [, annotations] = this.targets;
    if (annotations.some((annotation) => annotation.kind !== kind)) this.edit({ kind });
  }

  remove() {
    if (this.shape) return this.shape.remove();
    if (this.corners) {
      this.corners.pop();
      return this.redraw();
    }
    const [key, annotations] = this.targets;
    if (!annotations.length) return null;
    this.choose("");
    return this.send(`api/images/${key}/annotations`, { remove: annotations.map((a) => a.id) }, key);
  }

  choose(id) {
    this.chosen = id;
    this.selected.clear();
  }

  async undo(redo) {
    const answer = await this.send(redo ? "api/redo" : "api/undo", {}, null);
    if (answer?.image) await this.load(answer.image, { again: true });
    return answer?.image;
  }

  mark(key) {
    const action = this.states.get(key)?.mark ? "not_done" : "done";
    return this.send(`api/images/${key}/state`, { action }, key);
  }

  group(key) {
    return this.send(`api/images/${key}/clusters`, {}, key);
  }

  // The name under which the selected annotations are grouped: that of one of them, else one that is free.
  get clusterName() {
    const [key, annotations] = this.targets;
    const names = new Set(this.annotations(key).map((a) => a.cluster));
    const free = (n) => (names.has(`cluster ${n}`) ? free(n + 1) : `cluster ${n}`);
    return annotations.find((a) => a.cluster)?.cluster || free(1);
  }

  // ---- the pointer; true where the page has taken the event

  near(pane, x, y) {
    let best = null;
    let least = REACH_PX ** 2;
    for (const a of this.annotations(pane.key)) {
      const [px, py] = pane.toPane(a.row, a.column);
      const apart = (px - x) ** 2 + (py - y) ** 2;
      if (apart <= least) [best, least] = [a, apart];
    }
    return best || this.annotations(pane.key).find((a) => a.kind === "calcification_region" && edgeAt(pane, a.outline, x, y) >= 0);
  }

  pointer(pane, name, event, x, y) {
    if (name === "wheel") return this.wheel(pane, event, x, y);
    if (this.shape) return this.shape.pointer(pane, name, event, x, y);
    if (event.ctrlKey || event.metaKey || this.press?.frame) return this.select(pane, name, event, x, y);
    if (name === "pointerdown" && event.button === 0 && !event.shiftKey) {
      const over = this.near(pane, x, y);
      this.press = { x, y, over, moved: false };
      if (over) this.choose(over.id);
      this.redraw();
      return Boolean(over); // elsewhere a drag pans
    }
    if (name === "pointermove" && this.press?.over) {
      this.press.moved ||= Math.hypot(x - this.press.x, y - this.press.y) > 3;
      if (this.press.moved && this.press.over.kind !== "calcification_region") {
        [this.press.over.row, this.press.over.column] = pane.toStored(x, y);
        this.redraw();
      }
      return true;
    }
    if (name === "pointerup" && this.press) {
      const { press } = this;
      this.press = null;
      if (press.over) {
        if (press.moved && press.over.kind !== "calcification_region") this.put(pane.key, press.over);
        return true;
      }
      if (Math.hypot(x - press.x, y - press.y) <= 3) this.click(pane, ...pane.toStored(x, y));
    }
    return false;
  }

  // Ctrl: a click adds an annotation to those selected or takes it away, a frame adds all in it.
  select(pane, name, event, x, y) {
    if (name === "pointerdown" && event.button === 0) this.press = { x, y, frame: [x, y, x, y], key: pane.key };
    else if (name === "pointermove" && this.press?.frame) this.press.frame.splice(2, 2, x, y);
    else if (name === "pointerup" && this.press?.frame) {
      const [left, top, right, bottom] = this.press.frame;
      this.press = null;
      const inFrame = (a) => {
        const [px, py] = pane.toPane(a.row, a.column);
        return (px - left) * (px - right) <= 0 && (py - top) * (py - bottom) <= 0;
      };
      const isClick = Math.hypot(right - left, bottom - top) <= 3;
      const [key, before] = this.targets;
      if (key !== pane.key) this.selected.clear();
      else if (isClick) for (const a of before) this.selected.add(a.id); // the one that was chosen is the first
      if (!isClick) for (const a of this.annotations(pane.key).filter(inFrame)) this.selected.add(a.id);
      else {
        const over = this.near(pane, x, y);
        if (over && !this.selected.delete(over.id)) this.selected.add(over.id);
      }
      this.chosen = [...this.selected].at(-1) || "";
    } else return Boolean(this.press?.frame);
    this.redraw();
    return true;
  }

  click(pane, row, column) {
    const [rows, columns] = pane.meta.stored;
    if (row < -0.5 || column < -0.5 || row > rows - 0.5 || column > columns - 0.5) return;
    if (this.corners) {
      this.corners.push([row, column]);
      this.redraw();
    } else this.add(pane.key, row, column);
  }

  wheel(pane, event, x, y) {
    const over = this.near(pane, x, y);
    if (!over || over.id !== this.chosen) return false;
    const step = event.deltaY < 0 ? 1.1 : 1 / 1.1;
    over.diameter_mm = this.diameter = Math.min(10, Math.max(0.08, (over.diameter_mm || FIRST_DIAMETER_MM) * step));
    this.redraw();
    clearTimeout(this.wheelDone);
    this.wheelDone = setTimeout(() => this.put(pane.key, { ...over }), 250);
    return true;
  }

  // ---- outline of a cluster: drawn around the chosen annotation, or the corners of the one that is there

  startOutline() {
    if (this.shape) return this.endOutline(true);
    const [key, chosen] = this.current;
    if (!chosen) return this.say("choose an annotation of the cluster first", "error");
    const cluster = this.annotations(key).filter((a) => a === chosen || (a.cluster && a.cluster === chosen.cluster));
    const drawn = cluster.find((a) => a === chosen && a.outline.length) || cluster.find((a) => a.outline.length);
    if (drawn) {
      this.shape = new Shape(this, key, drawn.id);
      this.redraw();
      return this.say("outline: drag a corner; click a line to add one; Delete removes the chosen corner, or the outline; Enter ends");
    }
    this.corners = [];
    return this.say("outline: click its corners; Delete takes the last one back, Enter ends, Esc leaves");
  }

  endOutline(keep) {
    const { corners, chosen } = this;
    this.corners = this.shape = null;
    this.choose(chosen); // the outline is that of one annotation
    if (keep && corners && corners.length > 2) this.edit({ outline: corners });
    this.redraw();
  }

  // ---- review: the highest mark of the detector that no annotation is near

  next(pane, detector) {
    const [row_mm, column_mm] = pane.meta.spacing_mm;
    const judged = this.annotations(pane.key);
    const isJudged = (mark) => judged.some((a) =>
      Math.hypot((a.row - mark.row) * row_mm, (a.column - mark.column) * column_mm) < Math.max(APART_MM, a.diameter_mm / 2));
    return detector.candidates
      .map((mark, index) => ({ ...mark, index }))
      .filter((mark) => !this.skipped.has(`${pane.key} ${mark.index}`) && !isJudged(mark))
      .sort((a, b) => b.likelihood - a.likelihood)[0] || null;
  }

  verdict(pane, mark, kind, detector) {
    const note = { likelihood: mark.likelihood, detector: detector.name, model: detector.model?.sha256 || "" };
    if (mark.diameter_mm) this.diameter = mark.diameter_mm;
    const done = this.add(pane.key, mark.row, mark.column, kind, note);
    this.chosen = "";
    return done;
  }

  // The chosen annotation in words, and who changed it when.
  get words() {
    if (this.selected.size > 1) return `${this.selected.size} annotations are selected: k groups them, K takes them out of their cluster`;
    const [, a] = this.current;
    if (!a) return "";
    const size = a.diameter_mm ? `, ${a.diameter_mm.toFixed(2)} mm` : "";
    const by = a.judge ? `; ${a.judge}${a.when ? `, ${a.when.replace("T", " ").replace("Z", " UTC")}` : ""}` : "";
    return `${a.kind.replaceAll("_", " ")}${size}${a.cluster ? `, ${a.cluster}` : ""}${by}`;
  }

  // ---- drawing

  draw(pane, context) {
    const annotations = this.annotations(pane.key);
    const clusters = new Map();
    for (const a of annotations) if (a.cluster) clusters.set(a.cluster, [...(clusters.get(a.cluster) || []), a]);
    drawAnnotations(pane, context, annotations, new Set([...this.selected, this.chosen]), clusters);
    if (this.shape?.key === pane.key) drawCorners(pane, context, this.shape.outline, this.shape.corner);
    if (this.press?.frame && this.press.key === pane.key) drawFrame(context, this.press.frame);
    if (this.corners?.length) drawPath(pane, context, this.corners);
  }
}
