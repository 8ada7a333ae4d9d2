// The page: a person gives the key once, fills in a row, gets the answer, asks why, and says what was right.
// Whatever came from outside is put in as text, never as HTML.
import { el, put, show } from "./dom.js";
import { at, begin, enter, introduce, trouble } from "./door.js";
import { ask } from "./asking.js";
import { word } from "./words.js";
import { Form } from "./form.js";
import { showAnswer } from "./answer.js";

let form = null;
let model = null;

function describe() {
  introduce(model.name, model.models);
  const says = word(`says.${model.kind}`, { classes: model.classes.length });
  put(
    at("about"),
    el("span", {}, word(model.inputs.length === 1 ? "reads_one" : "reads", { count: model.inputs.length })),
    el("span", {}, says),
    model.target ? el("span", {}, word("target", { target: model.target })) : null,
    el("span", { title: model.model }, word("model_hash", { hash: model.model.slice(0, 12) })),
  );
}

async function open(name) {
  trouble(null);
  try {
    model = await ask(`form${name ? `?model=${encodeURIComponent(name)}` : ""}`);
  } catch (error) {
    model = null;
    enter(false);
    trouble(error);
    at("key").focus();
    return;
  }
  enter(true);
  clearAnswer();
  describe();
  form = new Form(model, at("fields"), at("more"));
  show(at("typical"), form.hasTypical());
}

function clearAnswer() {
  for (const id of ["said", "why", "wrong"]) put(at(id));
  show(at("waiting"), true);
  at("waiting").textContent = word("nothing_yet");
}

async function answer(event) {
  event.preventDefault();
  trouble(null);
  const button = at("go");
  button.disabled = true;
  for (const id of ["said", "why", "wrong"]) put(at(id));
  show(at("waiting"), true);
  at("waiting").textContent = word("working");
  try {
    const row = await form.row();
    const query = `?model=${encodeURIComponent(model.name)}`;
    const reply = await ask(`predict${query}`, { rows: [row] });
    show(at("waiting"), false);
    showAnswer({ model, row, reply, query, form, trouble });
    if (matchMedia("(max-width: 760px)").matches) at("answer").focus();
  } catch (error) {
    clearAnswer();
    trouble(error);
  } finally {
    button.disabled = false;
  }
}

function fill() {
  trouble(null);
  try {
    const { count, all } = form.paste(at("pasted").value);
    at("waiting").textContent = word("filled", { count, all });
    show(at("waiting"), true);
  } catch (error) {
    trouble(error);
  }
}

function respeak() {
  if (!model) return;
  const row = form.raw();
  describe();
  clearAnswer();
  form = new Form(model, at("fields"), at("more"));
  form.fill(row);
}

at("row").addEventListener("submit", answer);
at("row").addEventListener("reset", () => {
  form.clear();
  clearAnswer();
  trouble(null);
});
at("typical").addEventListener("click", () => form.fillTypical());
at("fill").addEventListener("click", fill);

await begin(open, respeak);
