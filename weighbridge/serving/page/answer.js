// The answer: what the model says, in how plain a word, how the probability is shared out; then why, and what was right.
import { el, put } from "./dom.js";
import { number, share, word } from "./words.js";
import { ask } from "./asking.js";
import { showWhy } from "./why.js";
import { askRight } from "./right.js";

const BARS = 10;
const MOST_REST = 1000;

export function showAnswer({ model, row, reply, query, form, trouble }) {
  const one = reply.predictions[0];
  const label = said(model, one.prediction);
  const shares = Object.entries(one.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  put(
    document.getElementById("said"),
    el("p", { className: "said" }, label),
    el("p", { className: "sure" }, confidence(model, shares)),
    ...bars(model, one.prediction, shares),
    el("p", { className: "note" }, word("id", { id: reply.id }), " · ", word("model_hash", { hash: reply.model.slice(0, 12) })),
  );
  askWhy({ model, row, query, form, trouble, label });
  askRight({ model, id: `${reply.id}/0`, prediction: one.prediction, trouble });
}

export function said(model, prediction) {
  if (model.kind === "number") return number(prediction);
  if (model.kind === "set") return prediction.length ? prediction.join(", ") : word("no_labels");
  return prediction;
}

// Return a plain word on how sure the model says it is; that it says so is part of the sentence.
function confidence(model, shares) {
  if (model.kind === "number") return word("number_note");
  if (model.kind === "set") return word("set_note");
  const [[one, best], [two, next] = ["", 0]] = shares;
  if (best - next < 0.05 && best >= 0.2) return word("sure.torn", { one, two });
  const name = best >= 0.99 ? "certain" : best >= 0.9 ? "confident" : best >= 0.7 ? "likely" : best >= 0.5 ? "leaning" : "unsure";
  return word(`sure.${name}`, { share: share(best) });
}

function bars(model, prediction, shares) {
  if (!shares.length) return [];
  const chosen = new Set(model.kind === "set" ? prediction : [prediction]);
  const rest = shares.slice(BARS, BARS + MOST_REST);
  return [
    list(shares.slice(0, BARS), chosen),
    rest.length ? el("details", {}, el("summary", {}, word("rest", { count: shares.length - BARS })), list(rest, chosen)) : null,
  ];
}

function list(shares, chosen) {
  const items = shares.map(([name, value]) => {
    const bar = el("i");
    bar.style.width = `${100 * value}%`;
    const track = el("span", { className: "track", "aria-hidden": "true" }, bar);
    const told = el("span", { className: "value" }, share(value));
    return el("li", { className: chosen.has(name) ? "chosen" : "" }, el("span", {}, name), track, told);
  });
  return el("ul", { className: "bars", "aria-label": word("probabilities") }, ...items);
}

function askWhy({ model, row, query, form, trouble, label }) {
  const place = document.getElementById("why");
  const button = el("button", { type: "button", id: "ask-why" }, word("why"));
  put(place, el("p", { className: "line" }, button));
  button.addEventListener("click", async () => {
    trouble(null);
    put(place, el("p", { className: "note" }, word("explaining")));
    try {
      const reply = await ask(`explain${query}&top=1`, { rows: [row] });
      showWhy({ place, model, row, form, label, one: reply.explanations[0] });
    } catch (error) {
      askWhy({ model, row, query, form, trouble, label });
      trouble(error);
    }
  });
}
