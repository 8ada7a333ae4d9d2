// An image by file, by drag and drop, or pasted as a data: URI or {"bytes": base64}. It is drawn on a canvas; nothing is loaded by address.
import { el, put, show } from "./dom.js";
import { word } from "./words.js";

const MOST_MB = 20;

export class ImageField {
  isWide = true;

  constructor(input, id) {
    this.input = input;
    this.file = null;
    this.canvas = el("canvas", { width: 96, height: 96, hidden: true, role: "img", "aria-label": input.name });
    this.picker = el("input", { id, type: "file", accept: this.accepts });
    this.note = el("small", { role: "status" }, word(this.hint));
    this.remove = el("button", { type: "button", className: "plain", hidden: true }, word("remove"));
    const box = el("div", { className: "drop" }, this.canvas, el("div", {}, this.picker, this.note), this.remove);
    this.node = el("div", { className: "field" }, el("label", { htmlFor: id }, input.name), box);
    this.picker.addEventListener("change", () => this.take(this.picker.files[0] ?? null));
    this.remove.addEventListener("click", () => this.set(null));
    this.takesDrops(box);
  }

  get accepts() {
    return "image/*";
  }

  get hint() {
    return "drop";
  }

  takesDrops(box) {
    const over = (event, whether) => {
      event.preventDefault();
      box.classList.toggle("over", whether);
    };
    box.addEventListener("dragover", (event) => over(event, true));
    box.addEventListener("dragleave", (event) => over(event, false));
    box.addEventListener("drop", (event) => {
      over(event, false);
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
  }

  // The file is the field's value, and is shown where the browser can.
  async take(file) {
    this.file = null;
    show(this.canvas, false);
    show(this.remove, Boolean(file));
    this.note.textContent = word(this.hint);
    if (!file) return;
    if (file.size > MOST_MB << 20) {
      this.note.textContent = word("large", { size: MOST_MB });
      return;
    }
    this.file = file;
    try {
      await this.show(file);
      this.note.textContent = this.picker.files.length ? "" : file.name || "";
    } catch {
      this.note.textContent = word("unreadable");
    }
  }

  async show(file) {
    await draw(this.canvas, file);
    show(this.canvas, true);
  }

  async value() {
    return this.file ? { bytes: await base64(this.file) } : null;
  }

  raw() {
    return this.file;
  }

  set(value) {
    this.picker.value = "";
    if (value instanceof Blob) return this.take(value);
    const text = typeof value === "string" && value.startsWith("data:") ? value.slice(value.indexOf(",") + 1) : value?.bytes;
    try {
      return this.take(text ? new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]) : null);
    } catch {
      return this.take(null);
    }
  }
}

// The canvas shows the image in its own pixels. Throws where the browser does not read it.
export async function draw(canvas, file) {
  const picture = await createImageBitmap(file);
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).slice(String(reader.result).indexOf(",") + 1));
    reader.onerror = () => reject({ message: word("unreadable") });
    reader.readAsDataURL(file);
  });
}
