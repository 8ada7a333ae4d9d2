// What the watch found, what was decided about it, and a yes or no to what waits for a person.
import { el, put } from "./dom.js";
import { ask } from "./asking.js";
import { moment } from "./course.js";
import { word } from "./words.js";

const LOOKS = { limitation: "alarm", advantage: "fine", neutral: "fine", unmeasured: "" };
const ORDER = ["limitation", "unmeasured", "neutral", "advantage"];

export function showFound(findings) {
  const sorted = [...findings].sort((one, other) => ORDER.indexOf(one.verdict) - ORDER.indexOf(other.verdict));
  const place = document.getElementById("found");
  if (!sorted.length) return put(place, el("p", { className: "note" }, word("board.no_watch")));
  const alarms = sorted.filter((one) => one.verdict === "limitation");
  const rest = sorted.filter((one) => one.verdict !== "limitation");
  const quiet = el("details", {}, el("summary", {}, word("board.quiet", { count: rest.length })), list(rest));
  put(place, alarms.length ? list(alarms) : el("p", {}, word("board.no_alarm")), rest.length ? quiet : null);
}

function list(findings) {
  return el("ul", { className: "facts" }, ...findings.map(finding));
}

function finding(one) {
  const value = [one.value, one.interval ? `[${one.interval}]` : "", one.n === null ? "" : `n = ${one.n}`].filter(Boolean).join(" ");
  const against = one.against ? ` ${word("board.against", { what: one.against })}` : "";
  const how = [one.method, one.source].filter(Boolean).join("; ");
  return el(
    "li",
    { className: LOOKS[one.verdict] ?? "" },
    el("span", { className: "mark" }, word(`board.verdict.${one.verdict}`)),
    el("b", {}, one.title),
    value ? `: ${value}` : "",
    against,
    one.reason ? el("small", {}, one.reason) : null,
    how ? el("small", {}, how) : null,
  );
}

export function showDecided({ decisions, turns }, again, trouble) {
  const place = document.getElementById("decided");
  if (!decisions.length && !turns.length) return put(place, el("p", { className: "note" }, word("board.no_decision")));
  const waiting = decisions.filter((one) => one.waits);
  const others = decisions.filter((one) => !one.waits);
  const history = el("ul", { className: "facts" }, ...turns.map(turned));
  put(
    place,
    waiting.length ? el("ul", { className: "facts" }, ...waiting.map((one) => decision(one, again, trouble))) : null,
    el("ul", { className: "facts" }, ...others.slice(0, 5).map((one) => decision(one, again, trouble))),
    others.length > 5
      ? el("details", {}, el("summary", {}, word("rest", { count: others.length - 5 })), el("ul", { className: "facts" }, ...others.slice(5).map((one) => decision(one, again, trouble))))
      : null,
    turns.length ? el("details", {}, el("summary", {}, word("board.turns", { count: turns.length })), history) : null,
  );
}

function decision(one, again, trouble) {
  const state = one.waits ? "waits" : one.done ? "done" : one.answer ?? (one.allowed ? (one.automatic ? "automatic" : "open") : "never");
  const mark = word(`board.state.${state}`);
  const who = one.who ? ` · ${one.who}` : "";
  const item = el(
    "li",
    { className: one.waits ? "waits" : "" },
    el("span", { className: "mark" }, mark),
    el("b", {}, word(`board.action.${one.action}`, {}, one.action)),
    `: ${one.reason}`,
    el("small", {}, `${word("board.number", { number: one.number })} · ${moment(one.time)}${who}${one.done ? ` · ${one.done}` : ""}`),
  );
  if (one.evidence.length) item.append(el("details", {}, el("summary", {}, word("board.evidence")), list(one.evidence)));
  if (one.waits) item.append(buttons(one, again, trouble));
  return item;
}

function buttons(one, again, trouble) {
  const button = (answer, style) => {
    const made = el("button", { type: "button", className: style, id: `${answer}-${one.number}` }, word(`board.${answer}`));
    made.addEventListener("click", async () => {
      trouble(null);
      made.disabled = true;
      try {
        await ask(`feedback/decisions/${one.number}`, { answer });
        await again();
      } catch (error) {
        made.disabled = false;
        trouble(error);
      }
    });
    return made;
  };
  return el("div", { className: "line" }, button("approved", "main"), button("refused", ""));
}

function turned(one) {
  const share = one.challenger ? ` · ${word("board.challenger", { hash: one.challenger.slice(0, 12), share: Math.round(100 * one.share) })}` : "";
  return el("li", {}, el("b", {}, word(`board.turn.${one.what}`, {}, one.what)), `: ${one.champion.slice(0, 12)}${share}`, el("small", {}, `${moment(one.turned)} · ${one.why}`));
}
