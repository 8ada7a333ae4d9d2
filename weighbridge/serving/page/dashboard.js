// The dashboard: how a model does in service, read again and again with the caller's key.
// Whatever came from outside is put in as text, never as HTML.
import { el, put } from "./dom.js";
import { at, begin, enter, introduce, trouble } from "./door.js";
import { ask } from "./asking.js";
import { showCourse } from "./course.js";
import { showDecided, showFound } from "./decided.js";
import { showWorth } from "./worth.js";
import { language, number, word } from "./words.js";

const EVERY_MS = 15_000;
let name = "";
let told = null;

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
  describe(status);
  showCourse({ promise: status.promise, metric: word(`board.metric.${status.metric}`, {}, status.metric), windows: course.windows, rows: course.rows });
  showFound(status.findings);
  showDecided(decided, () => read(), trouble);
}

function describe(status) {
  const { serving, labels, quarantine } = status;
  introduce(status.name, status.models);
  const [, challenger] = serving.versions;
  const labelled = Object.values(labels).reduce((sum, count) => sum + count, 0);
  put(
    at("about"),
    el("span", {}, word("board.answers_labels", { answers: number(status.answers), labels: number(labelled) })),
    el("span", {}, word("board.champion", { hash: serving.version })),
    challenger ? el("span", {}, word("board.challenger", { hash: challenger, share: Math.round(100 * serving.share) })) : null,
    ...quarantine.map((one) => el("span", { title: one.reason }, word("board.quarantine", { who: one.who }))),
  );
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
    enter(Boolean(told));
    trouble(error);
    return;
  } finally {
    put(at("waiting"));
  }
  enter(true);
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

await begin(open, () => (told ? open(name) : null));
setInterval(again, EVERY_MS);
