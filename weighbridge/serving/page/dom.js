// Nodes from names, properties and texts. Nothing here reads HTML, so no text of a stranger can become a node that does something.
const PROPERTIES = new Set([
  "accept", "autocomplete", "className", "hidden", "height", "htmlFor", "id", "inputMode", "noValidate", "placeholder", "rows", "selected",
  "spellcheck", "step", "tabIndex", "title", "type", "value", "width",
]);

// Return a new node; properties are those of PROPERTIES, `aria-*` and `role`. Children are nodes or texts; null is none.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name === "list") node.setAttribute(name, String(value));
    else if (PROPERTIES.has(name)) node[name] = value;
    else throw new Error(`no property ${name}`);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// The node has these children and no others.
export function put(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

export function show(node, whether) {
  node.hidden = !whether;
}
