// A clip of sound by file, by drag and drop, or pasted as a data: URI or {"bytes": base64}. It is sent, and not played.
import { ImageField } from "./image.js";

export class ClipField extends ImageField {
  get accepts() {
    return "audio/*";
  }

  get hint() {
    return "drop_clip";
  }

  async show() {}
}
