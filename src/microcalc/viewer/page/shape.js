// The corners of an outline that is there: moved, added and deleted, each change saved at once.

const REACH_PX = 8;

export class Shape {
  constructor(editor, key, id) {
    Object.assign(this, { editor, key, id, corner: -1, moved: false });
  }

  get annotation() {
    return this.editor.annotations(this.key).find((a) => a.id === this.id);
  }

  get outline() {
    return this.annotation?.outline || [];
  }

  // True where the event was meant for the outline.
  pointer(pane, name, event, x, y) {
    const { editor, outline } = this;
    if (pane.key !== this.key) return false;
    if (name === "pointerdown" && event.button === 0 && !event.shiftKey) {
      this.corner = outline.findIndex((corner) => apart(pane.toPane(...corner), [x, y]) <= REACH_PX);
      const edge = this.corner < 0 ? edgeAt(pane, outline, x, y) : -1;
      if (edge >= 0) {
        this.corner = edge + 1;
        outline.splice(this.corner, 0, pane.toStored(x, y));
        this.moved = true;
      }
      if (this.corner >= 0) editor.press = { x, y };
      editor.redraw();
      return this.corner >= 0; // elsewhere a drag pans
    }
    if (name === "pointermove" && editor.press && this.corner >= 0) {
      this.moved ||= Math.hypot(x - editor.press.x, y - editor.press.y) > 3;
      if (this.moved) outline[this.corner] = pane.toStored(x, y);
      editor.redraw();
      return true;
    }
    if (name === "pointerup" && editor.press) {
      editor.press = null;
      if (this.moved) this.save(outline);
      this.moved = false;
      return true;
    }
    return false;
  }

  // The chosen corner; without one the outline.
  remove() {
    const { outline, corner, editor } = this;
    if (corner >= 0 && outline.length <= 3) return editor.say("an outline has at least three corners", "error");
    if (corner < 0) editor.shape = null;
    this.corner = -1;
    return this.save(corner < 0 ? [] : outline.filter((_corner, n) => n !== corner));
  }

  save(outline) {
    const { annotation } = this;
    if (annotation.kind === "calcification_region" && outline.length) { // it lies in the middle of its corners
      [annotation.row, annotation.column] = [0, 1].map((n) => outline.reduce((sum, corner) => sum + corner[n], 0) / outline.length);
    }
    return this.editor.put(this.key, { ...annotation, outline });
  }
}

const apart = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);

// Number of the edge of an outline at a place of the pane; -1: none.
export function edgeAt(pane, outline, x, y) {
  const places = outline.map((corner) => pane.toPane(...corner));
  return places.findIndex((from, n) => {
    const to = places[(n + 1) % places.length];
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const along = Math.min(1, Math.max(0, ((x - from[0]) * dx + (y - from[1]) * dy) / (dx * dx + dy * dy || 1)));
    return apart([from[0] + along * dx, from[1] + along * dy], [x, y]) <= REACH_PX;
  });
}
