// Pages in the dialog: agreement and settling.

import { ask, tell } from "./api.js";
import { roomy } from "./marks.js";
import { $, redraw, state } from "./state.js";

const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

function tableOf(headings, rows) {
  const table = document.createElement("table");
  const head = table.insertRow();
  for (const heading of headings) head.append(Object.assign(document.createElement("th"), { textContent: heading }));
  for (const row of rows) {
    const line = table.insertRow();
    for (const cell of row) line.insertCell().append(cell);
  }
  return table;
}

function titled(title, ...content) {
  const section = document.createElement("section");
  section.append(Object.assign(document.createElement("h3"), { textContent: title }), ...content);
  return section;
}

const nameOf = (key) => state.catalogue.exams.flatMap((exam) => exam.images).find((image) => image.key === key)?.name || key;

export function agreementPage(go, say) {
  const page = document.createElement("div");
  page.textContent = "…";
  ask("api/agreement").then((answer) => fillAgreement(page, answer, go, say), (error) => { page.textContent = error.message; });
  return page;
}

function fillAgreement(page, answer, go, say) {
  const pairs = answer.pairs.map((p) => [
    p.readers.join(" and "), String(p.images), p.microcalcifications.join(" and "), String(p.both), number(p.specific),
    number(p.of_first), number(p.of_second), number(p.kappa_kinds), number(p.kappa_images),
  ]);
  const headings = ["readers", "images", "microcalcifications", "both", "specific agreement", "of the first", "of the second", "kappa (kinds)", "kappa (images)"];
  const settle = answer.to_settle.map((entry) => {
    const button = Object.assign(document.createElement("button"), { textContent: entry.settled ? "settled; open" : "open" });
    button.addEventListener("click", async () => {
      $("dialog").close();
      await go(entry.image);
      await settleOn(entry.image, say);
    });
    return [nameOf(entry.image), String(entry.different), button];
  });
  page.replaceChildren(
    titled("Agreement on images that both have finished", pairs.length ? tableOf(headings, pairs) : "no image has been finished by two readers"),
    titled("To settle", settle.length ? tableOf(["image", "differences", ""], settle) : "nothing: two other readers have finished no image"),
  );
}

const settleBar = document.createElement("div");

// The places on which the others agree become the settler's own; the others come up one by one.
async function settleOn(key, say) {
  let answer;
  try {
    answer = await tell(`api/images/${key}/settle`, {});
  } catch (error) {
    say(error.message, "error");
    return;
  }
  const { editor } = state;
  editor.take(key, answer);
  const shown = state.panes.find((pane) => pane.key === key);
  const todo = [...answer.different];
  $("settle").replaceChildren(settleBar);
  const next = () => {
    const place = todo.shift();
    settleBar.replaceChildren();
    state.settling = null;
    if (!place) {
      const finish = button("all differences are settled: this image is settled", async () => {
        await editor.send(`api/images/${key}/state`, { action: "settle" }, key);
        settleBar.replaceChildren();
        redraw();
      });
      settleBar.append(finish);
      return;
    }
    const [row, column] = [place[0].row, place[0].column];
    state.settling = { key, row, column };
    shown.fitTo(roomy({ top: row, bottom: row, left: column, right: column }, shown.meta.spacing_mm, 20));
    settleBar.append(`${todo.length + 1} to settle. Row ${row.toFixed(0)}, column ${column.toFixed(0)}: `);
    for (const annotation of place) {
      const text = `${annotation.judge}: ${annotation.kind.replaceAll("_", " ")}`;
      settleBar.append(button(text, async () => {
        await editor.put(key, { ...annotation, id: "" }, { settled: annotation.judge });
        next();
      }));
    }
    settleBar.append(button("none", next));
  };
  next();
}

function button(text, call) {
  const made = Object.assign(document.createElement("button"), { textContent: text });
  made.addEventListener("click", call);
  return made;
}
