// Whether the answer was right: it goes to the server as a label of the answered row.
import { el, put } from "./dom.js";
import { ask } from "./asking.js";
import { CategoryField, NumberField, SetField } from "./form.js";
import { said } from "./answer.js";
import { word } from "./words.js";

const FIELDS = { category: CategoryField, number: NumberField, set: SetField };
const MOST_CHOICES = 1000;

export function askRight({ model, id, prediction, trouble }) {
  const place = document.getElementById("wrong");
  const yes = el("button", { type: "button", id: "it-is" }, word("it_is"));
  const no = el("button", { type: "button", id: "it-is-not" }, word("it_is_not"));
  const box = el("div");
  put(
    place,
    el("div", { className: "right" }, el("p", { className: "label" }, word("right")), el("div", { className: "line" }, yes, no), box),
  );
  const send = async (label) => {
    trouble(null);
    try {
      const outcome = await ask("feedback", { labels: [{ id, label }] });
      thank(place, model, id, label, outcome);
    } catch (error) {
      trouble(error);
    }
  };
  yes.addEventListener("click", () => send(prediction));
  no.addEventListener("click", () => {
    const choices = model.classes.slice(0, MOST_CHOICES);
    const input = { name: word("truth"), choices, typical: null, separator: ";", none: word("choose") };
    const field = new FIELDS[model.kind](input, "truth");
    const form = el("form", { noValidate: true }, field.node, el("button", { className: "main", id: "send-truth" }, word("send")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const label = field.value();
      if (label !== null) send(label);
    });
    put(box, form);
    box.querySelector("select, input")?.focus();
  });
}

// Say what became of the label. One whose answer has not come into the log yet (unknown) is kept aside for it.
function thank(place, model, id, label, outcome) {
  const refusal = outcome.refusals?.[0];
  const name = ["invalid", "conflicting", "duplicate", "accepted", "unknown", "queued"].find((one) => outcome[one] > 0) ?? "unknown";
  const isKept = ["accepted", "unknown", "queued"].includes(name);
  const why = refusal ? `${refusal.why}; ${refusal.do}` : "";
  const told = word(`outcome.${isKept ? "kept" : name}`, { label: said(model, label), id, why });
  put(place, el("div", { className: "right", role: "status" }, el("p", { className: isKept ? "ok" : "" }, told)));
}
