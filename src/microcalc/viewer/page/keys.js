// Every key and what it does: the one table from which keys are heard and the help is written.

// [group, key as shown, keys as the browser names them, what it does, name of the action]
export const KEYS = [
  ["Move", "→ ←", ["ArrowRight", "ArrowLeft"], "next, previous image", ["nextImage", "previousImage"]],
  ["Move", "PgDn PgUp", ["PageDown", "PageUp"], "next, previous exam", ["nextExam", "previousExam"]],
  ["Move", "n p", ["n", "p"], "next, previous finding: jump and zoom", ["nextFinding", "previousFinding"]],
  ["Move", "F", ["F"], "findings of all images, highest likelihood first: n and p go from image to image", ["everywhere"]],
  ["Move", "1 2 4", ["1", "2", "4"], "one image, right and left, four views (when not annotating)", ["layoutOne", "layoutPair", "layoutFour"]],
  ["Move", "g", ["g"], "next layout", ["nextLayout"]],
  ["Move", "b", ["b"], "prior beside current", ["layoutPrior"]],
  ["Move", "B", ["B"], "the next older prior; after the oldest the latest", ["olderPrior"]],
  ["Move", "s", ["s"], "two detectors side by side", ["layoutReaders"]],
  ["Move", "Tab", ["Tab"], "next pane", ["nextPane"]],
  ["Zoom", "+ -", ["+", "-"], "in, out (or the wheel)", ["zoomIn", "zoomOut"]],
  ["Zoom", "z", ["z"], "native pixels: one to one, then four to one, eight to one", ["native"]],
  ["Zoom", "f or 0", ["f", "0"], "whole image", ["fit", "fit"]],
  ["Zoom", "l", ["l"], "loupe", ["loupe"]],
  ["Grey levels", "v", ["v"], "next window or LUT of the file", ["nextPreset"]],
  ["Grey levels", "i", ["i"], "invert", ["invert"]],
  ["Grey levels", "[ ]", ["[", "]"], "darker, brighter", ["darker", "brighter"]],
  ["Grey levels", "{ }", ["{", "}"], "more, less contrast", ["moreContrast", "lessContrast"]],
  ["Grey levels", "w", ["w"], "drag to window (or drag with the right button, or with Shift)", ["windowTool"]],
  ["Grey levels", "r", ["r"], "as the file says", ["resetWindow"]],
  ["Marks", "h", ["h"], "hide and show all marks; or hold the space bar", ["hide"]],
  ["Marks", "< >", ["<", ">"], "lower, higher threshold", ["lower", "higher"]],
  ["Marks", "m", ["m"], "also single marks from the threshold on", ["all"]],
  ["Marks", "t", ["t"], "annotations beside the marks", ["truth"]],
  ["Marks", "d", ["d"], "next detector", ["nextDetector"]],
  ["Marks", "o", ["o"], "what the network sees: normalised image, likelihood map", ["nextLayer"]],
  ["Annotate", "a", ["a"], "annotate: click adds or chooses, drag moves, wheel sets the diameter", ["annotate"]],
  ["Annotate", "1 … 7", ["1", "2", "3", "4", "5", "6", "7"], "kind of the chosen place, of the place under review, or of the next click: microcalcification, coarse, vascular, rim or skin, other calcium, no calcium, unsure", ["kind1", "kind2", "kind3", "kind4", "kind5", "kind6", "kind7"]],
  ["Annotate", "Ctrl+click", [], "select several: with Ctrl, click each or draw a frame around them", []],
  ["Annotate", "Del", ["Delete", "Backspace"], "delete what is chosen: annotations, or a corner of the outline", ["remove", "remove"]],
  ["Annotate", "e", ["e"], "outline: click its corners; of one that is there drag the corners, click a line to add one; Enter ends", ["outline"]],
  ["Annotate", "c", ["c"], "group into clusters by the rule", ["group"]],
  ["Annotate", "k K", ["k", "K"], "group what is chosen into a cluster by hand; take it out of its cluster", ["cluster", "uncluster"]],
  ["Annotate", "Ctrl+Z, Ctrl+Y", [], "undo, do again", []],
  ["Annotate", "D", ["D"], "this image is done, or is not", ["done"]],
  ["Annotate", "E", ["E"], "export: what the table holds, and how it gets to other programs", ["export"]],
  ["Review", "q", ["q"], "review: the highest place without a verdict comes up; n skips it", ["review"]],
  ["Review", "y", ["y"], "it is a microcalcification (as 1); the next comes up", ["accept"]],
  ["Review", "x", ["x"], "it is no calcium (as 6); the next comes up", ["reject"]],
  ["Review", "A", ["A"], "agreement of readers, and settling", ["agreement"]],
  ["Help", "?", ["?"], "this page", ["help"]],
];

export function actionOf(event, annotating) {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") return event.shiftKey ? "redo" : "undo";
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") return "redo";
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  for (const [group, , keys, , actions] of KEYS) {
    const at = keys.indexOf(event.key);
    if (at < 0 || (/^[0-9]$/.test(event.key) && event.key !== "0" && annotating !== (group === "Annotate"))) continue;
    return actions[at];
  }
  return null;
}

export function helpPage() {
  const page = document.createElement("div");
  page.id = "keys";
  for (const group of new Set(KEYS.map((entry) => entry[0]))) {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = group;
    const table = document.createElement("table");
    for (const [, shown, , text] of KEYS.filter((entry) => entry[0] === group)) {
      const line = table.insertRow();
      const key = document.createElement("kbd");
      key.textContent = shown;
      line.insertCell().append(key);
      line.insertCell().textContent = text;
    }
    section.append(title, table);
    page.append(section);
  }
  return page;
}
