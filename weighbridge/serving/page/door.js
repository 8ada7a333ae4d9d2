// What both pages have: the door at which the key is given, the language, the choice of a model, and the line that says what went wrong.
// The key stays in sessionStorage of this tab.
import { el, put, show } from "./dom.js";
import { forget, hasKey, keep } from "./asking.js";
import { language, load, word } from "./words.js";

export const at = (id) => document.getElementById(id);

// Every node with data-word says its word in the language of the page.
export function translate() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  at("language").textContent = word("other");
  at("language").lang = language() === "zh" ? "en" : "zh-CN";
}

// The line says what went wrong; null: nothing did.
export function trouble(error) {
  const box = at("problem");
  show(box, Boolean(error));
  if (!error) return;
  const known = word(`errors.${error.status}`, {}, "");
  const wait = error.wait ? ` ${word("again", { seconds: error.wait })}` : "";
  const id = error.request ? el("small", {}, word("id", { id: error.request })) : null;
  put(box, [known, error.message].filter(Boolean).join(" "), wait, id);
}

// The desk is shown or the door; who gave a key may take it back.
export function enter(inside) {
  show(at("desk"), inside);
  show(at("door"), !inside);
  show(at("forget"), inside || hasKey());
}

// The page is named for a model, and others may be chosen where there are some.
export function introduce(name, models) {
  at("name").textContent = name;
  document.title = `${name} · Weighbridge`;
  show(at("models-label"), models.length > 1);
  put(at("models"), ...models.map((one) => el("option", { value: one, selected: one === name }, one)));
}

// The page stands in its language and is opened where there is a key. open(name) opens a model; spoken() follows a change of language.
export async function begin(open, spoken) {
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
    translate();
    await spoken();
  });
  at("models").addEventListener("change", (event) => open(event.target.value));
  await load();
  translate();
  if (hasKey()) await open();
  else show(at("door"), true);
  document.documentElement.dataset.ready = "yes";
}
