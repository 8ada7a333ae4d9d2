// The page: a person gives the key once, fills in a row, gets the answer, asks why, and says what was right.
// The key stays in sessionStorage of this tab. Whatever came from outside is put in as text, never as HTML.
import { el, put, show } from "./dom.js";
import { ask, forget, hasKey, keep } from "./asking.js";
import { language, load, word } from "./words.js";
import { Form } from "./form.js";
import { showAnswer } from "./answer.js";

const at = (id) => document.getElementById(id);
let form = null;
let model = null;

function translate() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  at("language").textContent = word("other");
  at("language").lang = language() === "zh" ? "en" : "zh-CN";
  if (model) introduce();
}

function introduce() {
  at("name").textContent = model.name;
  const says = word(`says.${model.kind}`, { classes: model.classes.length });
  put(
    at("about"),
    el("span", {}, word(model.inputs.length === 1 ? "reads_one" : "reads", { count: model.inputs.length })),
    el("span", {}, says),
    model.target ? el("span", {}, word("target", { target: model.target })) : null,
    el("span", { title: model.model }, word("model_hash", { hash: model.model.slice(0, 12) })),
  );
  document.title = `${model.name} · Weighbridge`;
}

function trouble(error) {
  const box = at("problem");
  show(box, Boolean(error));
  if (!error) return;
  const known = word(`errors.${error.status}`, {}, "");
  const wait = error.wait ? ` ${word("again", { seconds: error.wait })}` : "";
  const id = error.request ? el("small", {}, word("id", { id: error.request })) : null;
  put(box, [known, error.message].filter(Boolean).join(" "), wait, id);
}

async function open(name) {
  trouble(null);
  try {
    model = await ask(`form${name ? `?model=${encodeURIComponent(name)}` : ""}`);
  } catch (error) {
    model = null;
    show(at("desk"), false);
    show(at("door"), true);
    show(at("forget"), hasKey());
    trouble(error);
    at("key").focus();
    return;
  }
  show(at("door"), false);
  show(at("forget"), true);
  show(at("desk"), true);
  show(at("models-label"), model.models.length > 1);
  put(at("models"), ...model.models.map((one) => el("option", { value: one, selected: one === model.name }, one)));
  clearAnswer();
  introduce();
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

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(at("key").value.trim());
  at("key").value = "";
  open();
});
at("forget").addEventListener("click", () => {
  forget();
  location.reload();
});
at("language").addEventListener("click", async () => {
  await load(language() === "zh" ? "en" : "zh");
  const row = form ? form.raw() : null;
  translate();
  if (!model) return;
  clearAnswer();
  form = new Form(model, at("fields"), at("more"));
  form.fill(row);
});
at("models").addEventListener("change", (event) => open(event.target.value));
at("row").addEventListener("submit", answer);
at("row").addEventListener("reset", () => {
  form.clear();
  clearAnswer();
  trouble(null);
});
at("typical").addEventListener("click", () => form.fillTypical());
at("fill").addEventListener("click", fill);

await load();
translate();
if (hasKey()) await open();
else show(at("door"), true);
document.documentElement.dataset.ready = "yes";
