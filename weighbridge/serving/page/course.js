// Expected against actual: the charts of a model's windows, and the same as a table.
import { el, put } from "./dom.js";
import { chart, legend } from "./chart.js";
import { language, number, word } from "./words.js";

export function showCourse({ promise, metric, windows, rows }) {
  const shown = !promise ? "board.no_promise" : promise.interval ? "board.promise" : "board.promise_plain";
  const values = promise ? { metric, value: number(promise.value), n: promise.n, ...reach(promise.interval) } : {};
  document.getElementById("promise").textContent = word(shown, values);
  const place = document.getElementById("charts");
  if (!windows.length) return put(place, el("p", {}, word("board.no_answers")));
  const labelled = windows.filter((one) => one.value !== null);
  const points = windows.map((one) => pointOf(one, promise));
  const ends = [moment(windows[0].first), moment(windows.at(-1).last)];
  const below = points.filter((one) => one.below).length;
  const limits = promise?.kind === "number" ? [0, Infinity] : [0, 1];
  const title = word("board.chart_quality", { metric, rows });
  const summary = word("board.chart_summary", { title, windows: windows.length, labelled: labelled.length, below });
  put(
    place,
    legend(["promise", "actual", "below", ...(windows.some((one) => one.stated !== null) ? ["stated"] : [])]),
    chart({ title, summary, points, promise, limits, ends }),
    latency(windows, points, ends),
    table(windows, metric),
  );
}

const reach = (interval) => (interval ? { low: number(interval[0]), high: number(interval[1]) } : {});

// A window is below what was promised when its whole interval is on the worse side of the promise's.
function pointOf(one, promise) {
  const bound = promise?.interval ?? (promise ? [promise.value, promise.value] : null);
  const lower = promise?.kind === "number";
  const below = Boolean(bound && one.interval && (lower ? one.interval[0] > bound[1] : one.interval[1] < bound[0]));
  const models = Object.keys(one.models).sort().join(" ");
  const said = one.value === null ? word("board.unlabelled") : word("board.seen", { value: number(one.value), ...reach(one.interval) });
  const note = `${moment(one.first)}: ${said}; ${word("board.labelled_of", { labelled: one.labelled, n: one.n })}; ${models}`;
  return { value: one.value, interval: one.interval, stated: one.stated, below, note, models };
}

function latency(windows, points, ends) {
  const known = windows.some((one) => one.latency_s !== null);
  if (!known) return null;
  const title = word("board.chart_latency");
  const slow = windows.map((one, place) => {
    const value = one.latency_s === null ? null : one.latency_s * 1000;
    return { value, interval: null, stated: null, below: false, note: `${moment(one.first)}: ${number(value ?? 0)} ms`, models: points[place].models };
  });
  const last = slow.at(-1).value;
  const summary = `${title}: ${last === null ? "" : number(last)}`;
  return chart({ title, summary, points: slow, promise: null, limits: [0, Infinity], ends });
}

function table(windows, metric) {
  const head = ["from", "answers", "labels", "seen_head", "stated_head", "model_head"].map((name) => el("th", {}, word(`board.${name}`, { metric })));
  const rows = [...windows].reverse().map((one) =>
    el(
      "tr",
      {},
      el("td", {}, moment(one.first)),
      el("td", {}, String(one.n)),
      el("td", {}, String(one.labelled)),
      el("td", {}, one.value === null ? "" : `${number(one.value)} [${number(one.interval[0])}, ${number(one.interval[1])}]`),
      el("td", {}, one.stated === null ? "" : number(one.stated)),
      el("td", {}, Object.keys(one.models).join(" ")),
    ),
  );
  const body = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  return el("details", {}, el("summary", {}, word("board.table")), el("div", { className: "scroll", tabIndex: 0 }, body));
}

export function moment(text) {
  const format = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(language() === "zh" ? "zh-CN" : "en-GB", format).format(new Date(text));
}
