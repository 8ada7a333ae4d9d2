// Charts drawn as SVG from numbers: what was promised, what was seen in each window with its interval, what the model says of itself.
import { el } from "./dom.js";
import { number, word } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 760;
const HEIGHT = 230;
const LEFT = 52;
const WORDS = 110; // about what the name of a change takes
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 26;

// Return a node of SVG; attributes are plain numbers and names of ours, children are nodes or texts.
export function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

// Return a figure. `points`: one a window, {value, interval, stated, below, note, models}, null where nothing is known. `promise`:
// {value, interval} or null. `limits`: the lowest and highest value that there is, null where there is none.
export function chart({ title, summary, points, promise, limits, ends }) {
  const seen = points.flatMap((one) => [one.value, one.stated, ...(one.interval ?? [])]);
  const [low, high] = bounds([...seen, promise?.value, ...(promise?.interval ?? [])], limits);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const x = (place) => LEFT + ((place + 0.5) / points.length) * (WIDTH - LEFT - RIGHT);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary });
  svg.append(...grid(low, high, y), ...axis(ends));
  if (promise) svg.append(...promised(promise, y));
  svg.append(...changes(points, x));
  svg.append(line(points, "stated", x, y, "stated"), line(points, "value", x, y, "line"));
  svg.append(...points.flatMap((one, place) => (one.value === null ? [] : [dot(one, x(place), y)])));
  return el("figure", { className: "chart" }, el("figcaption", {}, title), svg);
}

// Return the ends of the axis: all values with some air, inside the limits.
function bounds(values, limits) {
  const known = values.filter((value) => Number.isFinite(value));
  if (!known.length) return limits ?? [0, 1];
  const low = Math.min(...known);
  const high = Math.max(...known);
  const air = Math.max((high - low) * 0.12, Math.abs(high) * 0.01, 1e-9);
  return [Math.max(low - air, limits?.[0] ?? -Infinity), Math.min(high + air, limits?.[1] ?? Infinity)];
}

function grid(low, high, y) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 2));
  const size = [1, 2, 5, 10].map((factor) => factor * step).find((one) => (high - low) / one <= 5) ?? 10 * step;
  const places = [];
  for (let value = Math.ceil(low / size) * size; value <= high + size * 1e-6; value += size) places.push(Number(value.toPrecision(12)));
  return places.flatMap((value) => [
    shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    shape("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, number(value)),
  ]);
}

function axis([first, last]) {
  return [
    shape("text", { x: LEFT, y: HEIGHT - 6 }, first),
    shape("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, last),
  ];
}

function promised({ value, interval }, y) {
  const width = WIDTH - LEFT - RIGHT;
  const level = shape("line", { class: "promise", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) });
  if (!interval) return [level];
  const [low, high] = interval;
  return [shape("rect", { class: "band", x: LEFT, width, y: y(high), height: Math.max(y(low) - y(high), 1) }), level];
}

// A line where another model answers than in the window before; its words are left out where they would lie over those before, and end
// at the line where there is no room behind it.
function changes(points, x) {
  let free = 0;
  return points.flatMap((one, place) => {
    if (!place || one.models === points[place - 1].models) return [];
    const at = (x(place) + x(place - 1)) / 2;
    const drawn = [shape("line", { class: "change", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM })];
    const before = at + WORDS > WIDTH - RIGHT;
    if ((before ? at - WORDS : at) < free) return drawn;
    free = before ? at : at + WORDS;
    const side = before ? { x: at - 4, "text-anchor": "end" } : { x: at + 4 };
    return [...drawn, shape("text", { ...side, y: TOP + 9 }, word("board.other_model"))];
  });
}

function line(points, name, x, y, style) {
  let path = "";
  let open = false;
  points.forEach((one, place) => {
    if (Number.isFinite(one[name])) path += `${open ? "L" : "M"}${x(place).toFixed(1)} ${y(one[name]).toFixed(1)}`;
    open = Number.isFinite(one[name]);
  });
  return shape("path", { class: style, d: path });
}

function dot(one, at, y) {
  const group = shape("g", one.below ? { class: "below" } : {}, shape("title", {}, one.note));
  if (one.interval) group.append(shape("line", { class: "reach", x1: at, x2: at, y1: y(one.interval[0]), y2: y(one.interval[1]) }));
  group.append(shape("circle", { class: "dot", cx: at, cy: y(one.value), r: one.below ? 4.2 : 3 }));
  return group;
}

// Return what the marks mean.
export function legend(names) {
  const marks = {
    promise: () => [shape("rect", { class: "band", width: 26, height: 12 }), shape("line", { class: "promise", x2: 26, y1: 6, y2: 6 })],
    actual: () => [shape("line", { class: "reach", x1: 13, x2: 13, y2: 12 }), shape("circle", { class: "dot", cx: 13, cy: 6, r: 3 })],
    below: () => [shape("g", { class: "below" }, shape("circle", { class: "dot", cx: 13, cy: 6, r: 4 }))],
    stated: () => [shape("line", { class: "stated", x1: 1, x2: 25, y1: 6, y2: 6 })],
  };
  const items = names.map((name) =>
    el("span", {}, shape("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, ...marks[name]()), word(`board.legend.${name}`)),
  );
  return el("div", { className: "legend chart" }, ...items);
}
