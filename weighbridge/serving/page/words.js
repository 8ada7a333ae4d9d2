// Words and numbers in the language of the browser, or of the switch.
const CHOSEN = "weighbridge.language";
let words = {};
let current = "en";

export const language = () => current;

// The words of a language are loaded: the one given, else the one chosen before, else that of the browser.
export async function load(wanted) {
  current = wanted ?? sessionStorage.getItem(CHOSEN) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
  if (wanted) sessionStorage.setItem(CHOSEN, wanted);
  words = await (await fetch(`page/${current === "zh" ? "zh" : "en"}.json`)).json();
}

// Return the sentence of a name such as `errors.401`, its {places} filled. `otherwise` where there is none.
export function word(name, values = {}, otherwise = name) {
  const found = name.split(".").reduce((part, key) => part?.[key], words);
  if (typeof found !== "string") return otherwise;
  return found.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

export function number(value) {
  const size = Math.abs(value);
  const notation = size !== 0 && (size >= 1e9 || size < 1e-4) ? "scientific" : "standard";
  return new Intl.NumberFormat(current, { notation, maximumSignificantDigits: 5, useGrouping: size >= 10_000 }).format(value);
}

// Return a probability in percent; one that rounds to all or nothing is said to be near it.
export function share(value) {
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  if (value < 1 && value >= 0.9995) return "> 99.9 %";
  return `${(100 * value).toFixed(1)} %`;
}
