// The rows whose label would teach most, each as the model read it, with a place to say what is right.
import { el, put } from "./dom.js";
import { ask } from "./asking.js";
import { said } from "./answer.js";
import { CategoryField, NumberField, SetField } from "./form.js";
import { draw } from "./image.js";
import { moment } from "./course.js";
import { number, share, word } from "./words.js";

const FIELDS = { category: CategoryField, number: NumberField, set: SetField };
const MOST_COLUMNS = 12;
const LONG = 80;

export function showWorth(model, { asked, rows }, trouble) {
  const place = document.getElementById("worth");
  if (!rows.length) return put(place, el("p", {}, word("board.nothing_worth")));
  const left = el("p", { className: "note" }, word("board.asked", { asked }));
  put(place, left, el("div", { className: "rows" }, ...rows.map((row, order) => card(model, row, order, trouble))));
}

function card(model, row, order, trouble) {
  const likely = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]).map(([name, value]) => `${name} ${share(value)}`);
  const told = model.kind === "category" && likely.length ? likely.join(", ") : said(model, row.prediction);
  const drawn = row.random ? word("board.drawn") : word("board.unsure");
  const box = el("div", { className: "row" }, ...inputs(row.inputs), el("p", { className: "note" }, word("board.model_says", { told })));
  box.append(labelForm(model, row, order, box, trouble), el("p", { className: "note" }, `${moment(row.time_us / 1000)} · ${drawn}`));
  return box;
}

function inputs(values) {
  if (values === null) return [el("p", { className: "note" }, word("board.no_inputs"))];
  const [plain, wide] = [[], []];
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) wide.push(picture(name, value));
    else if (typeof value === "string" && value.length > LONG) wide.push(el("p", { className: "told" }, value));
    else plain.push(el("dt", {}, name), el("dd", {}, plainValue(value)));
  }
  const first = plain.slice(0, 2 * MOST_COLUMNS);
  const rest = plain.slice(2 * MOST_COLUMNS);
  const more = rest.length ? el("details", {}, el("summary", {}, word("rest", { count: rest.length / 2 })), el("dl", {}, ...rest)) : null;
  return [...wide, plain.length ? el("dl", {}, ...first) : null, more].filter(Boolean);
}

function plainValue(value) {
  if (value === null) return word("missing");
  if (typeof value === "number") return number(value);
  return Array.isArray(value) ? value.join(", ") : String(value);
}

// A picture is drawn from its own pixels or its file's bytes; what the browser can not read is said so.
function picture(name, value) {
  const canvas = el("canvas", { width: 112, height: 112, role: "img", "aria-label": name });
  const box = el("div", {}, canvas);
  drawn(canvas, value).catch(() => put(box, el("p", { className: "note" }, word("unreadable"))));
  return box;
}

async function drawn(canvas, value) {
  const bytes = Uint8Array.from(atob(value.bytes ?? value.uint8), (letter) => letter.charCodeAt(0));
  if (value.bytes !== undefined) return draw(canvas, new Blob([bytes]));
  const [height, width, channels = 1] = value.shape;
  const pixels = new ImageData(width, height);
  for (let place = 0; place < width * height; place += 1) {
    for (let part = 0; part < 3; part += 1) pixels.data[4 * place + part] = bytes[place * channels + Math.min(part, channels - 1)];
    pixels.data[4 * place + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function labelForm(model, row, order, box, trouble) {
  const input = { name: word("truth"), choices: model.classes.slice(0, 1000), typical: null, separator: ";", none: word("choose") };
  const field = new FIELDS[model.kind](input, `truth-${order}`);
  const button = el("button", { className: "main" }, word("send"));
  const form = el("form", { noValidate: true }, field.node, el("p", { className: "line" }, button));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const label = field.value();
    if (label === null) return;
    trouble(null);
    button.disabled = true;
    try {
      thank(box, model, row, label, await ask("feedback", { labels: [{ id: row.id, label }] }));
    } catch (error) {
      button.disabled = false;
      trouble(error);
    }
  });
  return form;
}

function thank(box, model, row, label, outcome) {
  const refusal = outcome.refusals?.[0];
  const name = ["invalid", "conflicting", "duplicate", "accepted", "unknown", "queued"].find((one) => outcome[one] > 0) ?? "unknown";
  const isKept = ["accepted", "unknown", "queued"].includes(name);
  const values = { label: said(model, label), id: row.id, why: refusal ? `${refusal.why}; ${refusal.do}` : "" };
  put(box, el("p", { className: isKept ? "ok" : "", role: "status" }, word(`outcome.${isKept ? "kept" : name}`, values)));
}
