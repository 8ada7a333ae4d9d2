// Reads /openapi.json with the caller's key and shows it. Every text goes in as text, never as HTML.
"use strict";

const add = (parent, name, text) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
};

const named = (reference) => reference.split("/").pop();

const block = (parent, title, value) => {
  add(parent, "h3", title);
  add(parent, "pre", JSON.stringify(value, null, 2));
};

const needed = (schema, all, found = new Set()) => {
  JSON.stringify(schema, (key, value) => {
    if (key === "$ref" && !found.has(named(value))) {
      found.add(named(value));
      needed(all[named(value)], all, found);
    }
    return value;
  });
  return found;
};

const show = (routes, path, method, one, schemas) => {
  const box = add(routes, "details");
  const line = add(box, "summary");
  add(line, "code", `${method.toUpperCase()} ${path}`);
  line.append(`  ${one.summary} `);
  const inside = add(box, "div");
  inside.className = "inside";
  add(inside, "p", one.security.length ? `Roles: ${one["x-roles"].join(" or ")}` : "Public: needs no key.");
  if (one.parameters.length) block(inside, "Parameters", one.parameters);
  if (one.requestBody) block(inside, "Body", one.requestBody.content);
  block(inside, "Answer", one.responses["200"].content ?? {});
  for (const name of needed([one.requestBody ?? {}, one.responses["200"]], schemas)) block(inside, name, schemas[name]);
};

const read = async (key) => {
  const said = document.getElementById("said");
  const routes = document.getElementById("routes");
  routes.replaceChildren();
  const answer = await fetch("openapi.json", { headers: { "x-api-key": key } });
  const found = await answer.json();
  if (!answer.ok) {
    said.textContent = found.error.message;
    return;
  }
  said.textContent = `${found.info.title} ${found.info.version}`;
  sessionStorage.setItem("key", key);
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, one] of Object.entries(methods)) {
      if (method !== "head") show(routes, path, method, one, found.components.schemas);
    }
  }
};

document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  read(document.getElementById("key").value.trim()).catch(() => {
    document.getElementById("said").textContent = "The server did not answer.";
  });
});

const kept = sessionStorage.getItem("key");
if (kept) {
  document.getElementById("key").value = kept;
  document.getElementById("ask").requestSubmit();
}
