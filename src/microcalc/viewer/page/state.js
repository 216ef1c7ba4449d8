// What the page shows now. Every module reads it; the functions that change it are in the modules named for what they do.

export const $ = (id) => document.getElementById(id);

export const state = {
  catalogue: null, exam: null, image: null, place: undefined, layout: "one", everywhere: false, older: 0, linked: false, detector: "",
  thresholds: {}, all: false, hidden: false, truth: true, list: [], current: -1, windowTool: false, annotate: false,
  reviewing: false, review: null, settling: null, panes: [], active: 0, editor: null,
  hanging: 0, // changes of what hangs that are not finished: what is read of the panes before may change again
};
export const loaded = new Map(); // image → its marks, once they are there
export const curves = new Map(); // detector → what was measured on these images

export const pane = () => state.panes[state.active] || state.panes[0];
// A detector may be several models, such as one for each intent: each has its own threshold.
export const modelName = (detector) => detector?.model?.sha256 || "";
export const thresholdName = (detector) => `${detector?.key} ${modelName(detector)}`;
export const threshold = (detector) => state.thresholds[thresholdName(detector)] ?? detector?.threshold ?? 0.5;
export const detectorOf = (key, image) => loaded.get(image)?.detectors.find((d) => d.key === key && !d.missing) || null;

// Whose findings are listed and whose threshold the slider sets: side by side those of the active pane.
export const listedDetector = () => (state.layout === "readers" ? pane()?.detector ?? state.detector : state.detector);
export const currentDetector = () => detectorOf(listedDetector(), state.image?.key)
  || [...loaded.values()].flatMap((marks) => marks.detectors).find((d) => d.key === listedDetector() && !d.missing) || null;

export function say(text, kind = "") {
  $("status").textContent = text;
  $("status").className = kind;
}

export function redraw({ labels = false } = {}) {
  for (const p of state.panes) {
    p.draw();
    if (labels) p.label();
  }
  $("chosen").textContent = state.editor?.words || "";
}

export function open(page) {
  $("dialogbody").replaceChildren(page);
  $("dialog").showModal();
}
