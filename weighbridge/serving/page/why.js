// Why: what spoke for the answer and against it, each picture with the figure that says whether it holds.
import { el, put } from "./dom.js";
import { draw } from "./image.js";
import { number, share, word } from "./words.js";

const ROWS = 10;
const STRONG = 0.6;

export function showWhy({ place, model, row, form, label, one }) {
  const units = model.kind === "number" ? number : share;
  const title = model.kind === "number" ? word("why_number") : word("why_title", { label: one.explained ?? label });
  const most = strongest(one);
  const check = () => faithfulness(model, one);
  put(
    place,
    el("h3", {}, title),
    legend(),
    ...one.images.flatMap((image) => [picture(image, form.image(image.column), most), check()]),
    ...one.texts.flatMap((text) => [heading(one, text.column), words(text, most, units), check()]),
    ...(one.columns.length ? [table(one.columns, row, most, units), check()] : []),
    el("p", { className: "note" }, word("nothing", { value: units(one.nothing) })),
  );
}

function strongest(one) {
  const squares = one.images.flatMap((image) => image.strength.flat());
  const pieces = one.texts.flatMap((text) => text.pieces.map((piece) => piece.strength ?? 0));
  return Math.max(1e-9, ...[...squares, ...pieces, ...one.columns.map((column) => column.strength)].map(Math.abs));
}

function legend() {
  const entry = (kind) => el("span", {}, el("i", { className: kind, "aria-hidden": "true" }), word(kind));
  return el("p", { className: "key" }, entry("for"), entry("against"));
}

// Return the figure without which nothing is shown: by how much the answer falls when what is named is taken out, against chance.
function faithfulness(model, one) {
  const found = one.faithfulness;
  if (!found) return el("p", { className: "faith" }, word("faith_one"));
  const isNumber = model.kind === "number";
  const [units, what] = isNumber ? [number, word("faith_what.number")] : [share, word("faith_what.share")];
  const { slower, orders } = found;
  const text = word("faith_text", { what, named: units(found.named), random: units(found.random), slower, orders });
  return el("p", { className: `faith ${found.status}` }, el("b", {}, word(`faithful.${found.status}`)), el("small", {}, text));
}

function heading(one, column) {
  return one.texts.length + one.images.length + one.columns.length > 1 ? el("p", { className: "label" }, column) : null;
}

function table(columns, row, most, units) {
  const items = columns.map((column) => {
    const size = Math.abs(column.strength) / most;
    const bar = el("i", { className: column.strength >= 0 ? "for" : "against" });
    bar.style.width = `${50 * size}%`;
    const told = `${word(column.strength >= 0 ? "for" : "against")}: `;
    const name = el("span", {}, el("b", {}, column.column), " ", el("span", { className: "is" }, value(row[column.column])));
    return el(
      "li", {}, name, el("span", { className: "both", role: "img", "aria-label": `${told}${number(Math.abs(column.strength))}` }, bar),
      el("span", { className: "value" }, units(column.without)),
    );
  });
  const titles = [["", "column"], ["", "weight"], ["value", "without"]].map(([className, name]) => el("span", { className }, word(name)));
  const list = (...some) => el("ul", { className: "weights" }, ...some);
  const rest = items.slice(ROWS);
  return el(
    "div", {},
    el("ul", { className: "weights head", "aria-hidden": "true" }, el("li", {}, ...titles)),
    list(...items.slice(0, ROWS)),
    rest.length ? el("details", {}, el("summary", {}, word("rest", { count: rest.length })), list(...rest)) : null,
  );
}

function value(given) {
  if (given === null || given === undefined) return word("missing");
  return Array.isArray(given) ? given.join(", ") : typeof given === "number" ? number(given) : String(given);
}

// Return the text, its words shaded by their weight; what speaks against is underlined too, so that it is seen without colours.
function words(text, most, units) {
  const pieces = text.pieces.map((piece) => {
    const size = piece.strength === null ? 0 : Math.abs(piece.strength) / most;
    if (size < 0.05) return piece.text;
    const kind = piece.strength > 0 ? "for" : "against";
    const title = `${word(kind)}; ${word("without")} ${units(piece.without)}`;
    const node = el("i", { className: `${kind}${size >= STRONG ? " strong" : ""}`, title }, piece.text);
    node.style.setProperty("--w", `${Math.round(8 + 40 * size)}%`);
    return node;
  });
  return el("p", { className: "told", tabIndex: 0 }, ...pieces);
}

// Return the image beside itself with the squares that weigh: full edges speak for the answer, broken ones against it.
function picture(image, field, most) {
  const plain = el("canvas", { role: "img", "aria-label": word("as_is") });
  const canvas = el("canvas", { role: "img", "aria-label": word("image_text", { place: strongestPlace(image) }) });
  overlay(plain, canvas, image, field, most);
  const shown = (node, caption) => el("figure", {}, node, el("figcaption", {}, caption));
  return el("div", { className: "map" }, shown(plain, word("as_is")), shown(canvas, word("marked")));
}

function strongestPlace(image) {
  const flat = image.strength.flat().map(Math.abs);
  const place = flat.indexOf(Math.max(...flat));
  const [downs, acrosses] = [image.strength.length, image.strength[0].length];
  return word("row_of", { down: Math.floor(place / acrosses) + 1, downs, across: (place % acrosses) + 1, acrosses });
}

async function overlay(plain, canvas, image, field, most) {
  const side = 400;
  const source = el("canvas", { width: 1, height: 1 });
  try {
    await draw(source, field.file);
  } catch {
    source.width = source.height = 8;  // a missing image, or one that the browser can not show: the squares alone
  }
  const height = Math.max(1, Math.round((side * source.height) / source.width));
  for (const one of [plain, canvas]) {
    [one.width, one.height] = [side, height];
    const pen = one.getContext("2d");
    pen.imageSmoothingEnabled = source.width > 128;
    pen.drawImage(source, 0, 0, side, height);
  }
  const pen = canvas.getContext("2d");
  pen.globalAlpha = 0.5;
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, side, height);  // what does not weigh steps back
  pen.globalAlpha = 1;
  image.strength.forEach((line, down) => line.forEach((weight, across) => {
    const size = Math.abs(weight) / most;
    if (size < 0.08) return;
    const [left, top] = [image.across[across] * side, image.down[down] * height];
    const [wide, high] = [(image.across[across + 1] - image.across[across]) * side, (image.down[down + 1] - image.down[down]) * height];
    square(pen, [left, top, wide, high], weight > 0, size);
  }));
}

function square(pen, [left, top, wide, high], speaksFor, size) {
  pen.fillStyle = speaksFor ? "#0fa3ad" : "#e0661f";
  pen.globalAlpha = 0.2 + 0.6 * size;
  pen.fillRect(left, top, wide, high);
  pen.globalAlpha = 1;
  const edge = 1 + 4 * size;
  for (const [colour, dashes] of [["#101416", []], [speaksFor ? "#9af5f9" : "#ffcfa3", speaksFor ? [] : [7, 6]]]) {
    pen.lineWidth = edge;
    pen.strokeStyle = colour;
    pen.setLineDash(dashes);
    pen.strokeRect(left + edge / 2, top + edge / 2, wide - edge, high - edge);
  }
}
