// A form from what a model reads: one field a column, by its type. Empty means that there is no value.
import { el, put, show } from "./dom.js";
import { number, word } from "./words.js";
import { ClipField } from "./clip.js";
import { ImageField } from "./image.js";
import { readPasted } from "./pasted.js";

const FEW_CHOICES = 24;
const FIRST_FIELDS = 40;

export class Form {
  constructor(model, fields, more) {
    this.model = model;
    this.fields = model.inputs.map((input, place) => new FIELDS[input.type](input, `field-${place}`));
    put(fields, group(this.fields.slice(0, FIRST_FIELDS)));
    const rest = this.fields.slice(FIRST_FIELDS);
    show(more, rest.length > 0);
    more.querySelector("summary").textContent = word("more_fields", { count: rest.length });
    put(more.querySelector("div"), group(rest));
  }

  // Return the row as JSON. Throws {message} for a value that can not be sent.
  async row() {
    const values = await Promise.all(this.fields.map((field) => field.value()));
    return Object.fromEntries(this.fields.map((field, place) => [field.input.name, values[place]]));
  }

  raw() {
    return new Map(this.fields.map((field) => [field.input.name, field.raw()]));
  }

  fill(row) {
    for (const field of this.fields) field.set(row.get(field.input.name));
  }

  clear() {
    for (const field of this.fields) field.set(null);
  }

  image(column) {
    return this.fields.find((field) => field.input.name === column);
  }

  hasTypical() {
    return this.model.inputs.some((input) => input.typical !== null);
  }

  fillTypical() {
    for (const field of this.fields) if (field.input.typical !== null) field.set(field.input.typical);
  }

  // Fill the fields from JSON or CSV; columns that it does not have keep what they hold. Throws {message}.
  paste(text) {
    const row = readPasted(text);
    if (!row) throw { message: word("not_row") };
    const found = this.fields.filter((field) => row.has(field.input.name));
    if (!found.length) throw { message: word("no_columns") };
    for (const field of found) field.set(row.get(field.input.name));
    return { count: found.length, all: this.fields.length };
  }
}

// Return the fields, small ones side by side.
function group(fields) {
  const box = el("div", { className: "pairs" });
  for (const field of fields) {
    if (field.isWide) field.node.classList.add("wide");
    box.append(field.node);
  }
  return box;
}

function labelled(input, id, control, note) {
  return el("label", { className: "field", htmlFor: id }, el("span", {}, input.name), control, note ? el("small", {}, note) : null);
}

class NumberField {
  constructor(input, id) {
    this.input = input;
    const usual = input.typical === null ? "" : word("usual", { value: number(input.typical) });
    this.control = el("input", { id, type: "number", step: "any", inputMode: "decimal", placeholder: usual, autocomplete: "off" });
    this.node = labelled(input, id, this.control);
  }

  value() {
    return this.control.value === "" ? null : Number(this.control.value);
  }

  raw() {
    return this.control.value;
  }

  set(value) {
    this.control.value = value === null || value === undefined || value === "" || Number.isNaN(Number(value)) ? "" : String(Number(value));
  }
}

class CategoryField {
  constructor(input, id) {
    this.input = input;
    this.isSelect = input.choices.length > 0 && input.choices.length <= FEW_CHOICES;
    const list = `${id}-known`;
    if (this.isSelect) {
      const options = input.choices.map((choice) => el("option", { value: choice }, choice));
      this.control = el("select", { id }, el("option", { value: "" }, input.none ?? word("missing")), ...options);
    } else {
      const placeholder = input.typical ? word("usual", { value: input.typical }) : "";
      this.control = el("input", { id, list, autocomplete: "off", spellcheck: false, placeholder });
    }
    this.node = labelled(input, id, this.control);
    if (!this.isSelect) this.node.append(el("datalist", { id: list }, ...input.choices.map((choice) => el("option", { value: choice }))));
  }

  value() {
    return this.control.value === "" ? null : this.control.value;
  }

  raw() {
    return this.control.value;
  }

  // A value that is not among the choices is kept: what the model does with it is the model's answer.
  set(value) {
    const text = value === null || value === undefined ? "" : String(value);
    if (this.isSelect && text && ![...this.control.options].some((option) => option.value === text)) {
      this.control.append(el("option", { value: text }, text));
    }
    this.control.value = text;
  }
}

class TextField {
  isWide = true;

  constructor(input, id) {
    this.input = input;
    this.control = el("textarea", { id, rows: 4 });
    this.node = labelled(input, id, this.control);
  }

  value() {
    return this.control.value === "" ? null : this.control.value;
  }

  raw() {
    return this.control.value;
  }

  set(value) {
    this.control.value = value === null || value === undefined ? "" : String(value);
  }
}

class DateField {
  constructor(input, id) {
    this.input = input;
    this.day = el("input", { id, type: "date" });
    this.time = el("input", { type: "time", step: "1", "aria-label": `${input.name}: ${word("time")}` });
    this.node = el("div", { className: "field" }, el("label", { htmlFor: id }, input.name), this.day, this.time);
  }

  value() {
    if (!this.day.value) return null;
    return this.time.value ? `${this.day.value}T${this.time.value}` : this.day.value;
  }

  raw() {
    return this.value();
  }

  set(value) {
    const [day, time] = String(value ?? "").split(/[T ]/);
    this.day.value = day;
    this.time.value = (time ?? "").slice(0, 8);
  }
}

class SetField {
  isWide = true;

  constructor(input, id) {
    this.input = input;
    this.isTicks = input.choices.length > 0 && input.choices.length <= FEW_CHOICES;
    if (this.isTicks) {
      this.boxes = input.choices.map((choice) => el("input", { type: "checkbox", value: choice }));
      const ticks = this.boxes.map((box) => el("label", {}, box, box.value));
      const name = el("legend", { className: "label" }, input.name);
      this.node = el("fieldset", { className: "field" }, name, el("div", { className: "ticks" }, ...ticks));
    } else {
      this.control = el("input", { id, autocomplete: "off" });
      this.node = labelled(input, id, this.control, word("words", { separator: input.separator }));
    }
  }

  value() {
    if (this.isTicks) return this.boxes.filter((box) => box.checked).map((box) => box.value);
    const parts = this.control.value.split(this.input.separator).map((part) => part.trim());
    return parts.some(Boolean) ? parts.filter(Boolean) : null;
  }

  raw() {
    return this.value();
  }

  set(value) {
    const parts = Array.isArray(value) ? value.map(String) : String(value ?? "").split(this.input.separator).map((part) => part.trim());
    if (this.isTicks) for (const box of this.boxes) box.checked = parts.includes(box.value);
    else this.control.value = parts.filter(Boolean).join(`${this.input.separator} `);
  }
}

const FIELDS = { number: NumberField, category: CategoryField, text: TextField, date: DateField, set: SetField, image: ImageField, audio: ClipField };
export { CategoryField, NumberField, SetField };
