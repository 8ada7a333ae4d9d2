// A row as text: a JSON object (also the first of a list, or of {"rows": [...]}), or a CSV header with a line below it.

// Return the row as a Map, null for a text that is neither.
export function readPasted(text) {
  const trimmed = text.trim();
  if (!trimmed) return null;
  try {
    const value = JSON.parse(trimmed);
    const row = Array.isArray(value) ? value[0] : Array.isArray(value?.rows) ? value.rows[0] : value;
    return row && typeof row === "object" && !Array.isArray(row) ? new Map(Object.entries(row)) : null;
  } catch {
    return fromTable(trimmed);
  }
}

function fromTable(text) {
  const delimiter = [",", ";", "\t", "|"].map((one) => [text.split("\n", 1)[0].split(one).length, one]).sort((a, b) => b[0] - a[0])[0][1];
  const [header, line] = records(text, delimiter);
  if (!header || !line || header.length !== line.length) return null;
  return new Map(header.map((name, place) => [name.trim(), line[place].trim()]));
}

// Return the first two records of a CSV text (RFC 4180: quotes may hold delimiters, line ends and doubled quotes).
function records(text, delimiter) {
  const found = [[]];
  let field = "";
  let quoted = false;
  const end = () => {
    found.at(-1).push(field);
    field = "";
  };
  for (let place = 0; place <= text.length && found.length < 3; place += 1) {
    const letter = text[place] ?? "\n";
    if (quoted && place < text.length) {
      if (letter !== '"') field += letter;
      else if (text[place + 1] === '"') field += text[(place += 1)];
      else quoted = false;
    } else if (letter === '"' && field === "") quoted = true;
    else if (letter === delimiter) end();
    else if (letter === "\n") {
      end();
      found.push([]);
    } else if (letter !== "\r") field += letter;
  }
  return found.slice(0, 2);
}
