// The dashboard: how a model does in service, read again and again with the caller's key.
// The key stays in sessionStorage of this tab. Whatever came from outside is put in as text, never as HTML.
import { el, put, show } from "./dom.js";
import { ask, forget, hasKey, keep } from "./asking.js";
import { showCourse } from "./course.js";
import { showDecided, showFound } from "./decided.js";
import { showWorth } from "./worth.js";
import { language, load, number, word } from "./words.js";

const EVERY_MS = 15_000;
const at = (id) => document.getElementById(id);
let name = "";
let told = null;

function translate() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  at("language").textContent = word("other");
  at("language").lang = language() === "zh" ? "en" : "zh-CN";
}

function trouble(error) {
  show(at("problem"), Boolean(error));
  if (!error) return;
  const known = word(`errors.${error.status}`, {}, "");
  const wait = error.wait ? ` ${word("again", { seconds: error.wait })}` : "";
  const id = error.request ? el("small", {}, word("id", { id: error.request })) : null;
  put(at("problem"), [known, error.message].filter(Boolean).join(" "), wait, id);
}

// Everything but the queue is read anew; the queue stays, because somebody may be at work in it.
async function read() {
  const query = `?model=${encodeURIComponent(name)}`;
  const spoken = `${query}&language=${language()}`;
  const [status, course, decided] = await Promise.all([
    ask(`feedback/status${name ? spoken : `?language=${language()}`}`),
    ask(`feedback/windows${name ? query : ""}`),
    ask(`feedback/decisions${name ? spoken : `?language=${language()}`}`),
  ]);
  name = status.name;
  told = { status, course, decided };
  paint();
}

function paint() {
  const { status, course, decided } = told;
  introduce(status);
  showCourse({ promise: status.promise, metric: word(`board.metric.${status.metric}`, {}, status.metric), windows: course.windows, rows: course.rows });
  showFound(status.findings);
  showDecided(decided, () => read(), trouble);
}

function introduce(status) {
  const { serving, labels, quarantine } = status;
  at("name").textContent = status.name;
  document.title = `${status.name} · Weighbridge`;
  const [, challenger] = serving.versions;
  const labelled = Object.values(labels).reduce((sum, count) => sum + count, 0);
  put(
    at("about"),
    el("span", {}, word("board.answers_labels", { answers: number(status.answers), labels: number(labelled) })),
    el("span", {}, word("board.champion", { hash: serving.version })),
    challenger ? el("span", {}, word("board.challenger", { hash: challenger, share: Math.round(100 * serving.share) })) : null,
    ...quarantine.map((one) => el("span", { title: one.reason }, word("board.quarantine", { who: one.who }))),
  );
  show(at("models-label"), status.models.length > 1);
  put(at("models"), ...status.models.map((one) => el("option", { value: one, selected: one === status.name }, one)));
}

async function open(wanted = "") {
  name = wanted;
  trouble(null);
  put(at("waiting"), el("p", { className: "note" }, word("board.reading")));
  try {
    await read();
    showWorth(told.status.serving, await ask(`feedback/queue?model=${encodeURIComponent(name)}`), trouble);
  } catch (error) {
    if (error.status === undefined) throw error;
    show(at("desk"), Boolean(told));
    show(at("door"), !told);
    show(at("forget"), hasKey());
    trouble(error);
    return;
  } finally {
    put(at("waiting"));
  }
  show(at("door"), false);
  show(at("desk"), true);
  show(at("forget"), true);
}

async function again() {
  if (!told || document.hidden) return;
  if (document.activeElement?.closest("#decided, #found")) return; // nothing moves under somebody's hand
  try {
    await read();
    trouble(null);
  } catch (error) {
    if (error.status === undefined) throw error;
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
  translate();
  if (told) await open(name);
});
at("models").addEventListener("change", (event) => open(event.target.value));

await load();
translate();
if (hasKey()) await open();
else show(at("door"), true);
setInterval(again, EVERY_MS);
document.documentElement.dataset.ready = "yes";
