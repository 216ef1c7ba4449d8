// Start the page.

import { ask } from "./api.js";
import { actions, connect, tools } from "./controls.js";
import { Editor } from "./edit.js";
import { fillList, setDetector, showThreshold } from "./findings.js";
import { go } from "./hanging.js";
import { LAYOUTS } from "./layout.js";
import { roomy } from "./marks.js";
import { describe } from "./pane.js";
import { $, open, redraw, say, state } from "./state.js";
import { isUnfinished, trainingPage } from "./training.js";

const POLL_MS = 2000;

// What other windows and readers have done since.
async function poll() {
  try {
    const { version, problem } = await ask("api/changes");
    if (problem) say(`the journal has every change; ${problem}`, "error");
    if (version !== state.editor.version && !state.editor.waiting && !state.editor.press) {
      state.editor.version = version;
      for (const p of state.panes) if (p.key) await state.editor.load(p.key, { again: true });
    }
  } catch (error) {
    say(`the server does not answer (${error.message}); nothing new is saved`, "error");
  }
  setTimeout(poll, POLL_MS);
}

async function start() {
  const catalogue = await ask("api/catalogue");
  state.catalogue = catalogue;
  $("exam").replaceChildren(...catalogue.exams.map((exam, n) => new Option(
    `${n + 1}/${catalogue.exams.length}  ${exam.images.length > 1 ? `${exam.name} (${exam.images.length})` : exam.images[0].name}`, exam.key)));
  $("detector").replaceChildren(...catalogue.detectors.map((d) => new Option(d.name, d.key)), new Option("no detector", ""));
  $("detector").hidden = !catalogue.detectors.length;
  $("training").hidden = !catalogue.training.length;
  state.detector = catalogue.detectors[0]?.key || "";
  connect();
  if (catalogue.annotating) {
    state.editor = new Editor({ annotating: catalogue.annotating, say, redraw, changed: () => fillList() });
    for (const id of ["annotate", "agreement", "export"]) $(id).hidden = false;
    say(`annotations lie in ${state.editor.folder}`);
    poll();
  }
  if (catalogue.problems.length) say(`${catalogue.problems.length} not shown: ${catalogue.problems[0]}`, "error");
  const address = new URLSearchParams(location.hash.slice(1));
  const images = catalogue.exams.flatMap((exam) => exam.images);
  const first = images.find((i) => i.key === address.get("image")) || catalogue.exams[0].images[0];
  const exam = catalogue.exams.find((e) => e.images.includes(first));
  const standard = new Set(exam.images.map((i) => `${i.laterality}${i.view}`));
  const four = ["RCC", "LCC", "RMLO", "LMLO"].every((view) => standard.has(view));
  state.layout = LAYOUTS.includes(address.get("layout")) ? address.get("layout") : four ? "four" : "one";
  state.annotate = Boolean(state.editor) && address.has("annotate");
  const [row, column] = [Number(address.get("row")), Number(address.get("column"))];
  const box = address.get("row") ? roomy({ top: row, bottom: row, left: column, right: column }, (await describe(first.key)).spacing_mm) : null;
  await go(first.key, { box });
  if (state.detector) await setDetector(state.detector);
  if (box) state.panes.find((p) => p.key === first.key)?.fitTo(box);
  showThreshold();
  tools();
  if (isUnfinished(catalogue.training)) open(trainingPage());
  window.microcalc = { state, panes: () => state.panes, editor: () => state.editor, actions }; // for tests and scripts
}

start().catch((error) => say(error.message, "error"));
