// What is asked of the server: each request carries the key in a header, never in an address.
const KEY = "weighbridge.key";

export const keep = (key) => sessionStorage.setItem(KEY, key);
export const forget = () => sessionStorage.removeItem(KEY);
export const hasKey = () => Boolean(sessionStorage.getItem(KEY));

// Return the answer's JSON. Throws {status, message, wait, request}; status 0: there was no answer.
export async function ask(path, body) {
  const headers = { "x-api-key": sessionStorage.getItem(KEY) ?? "", ...(body ? { "content-type": "application/json" } : {}) };
  const options = { method: body ? "POST" : "GET", headers, credentials: "omit", cache: "no-store", redirect: "error" };
  let response;
  try {
    response = await fetch(path, body ? { ...options, body: JSON.stringify(body) } : options);
  } catch {
    throw { status: 0 };
  }
  const request = response.headers.get("x-request-id") ?? "";
  let value;
  try {
    value = await response.json();
  } catch {
    throw { status: response.status, request };
  }
  if (response.ok) return value;
  const error = value.error ?? {};
  const message = response.status === 401 ? "" : String((typeof error === "string" ? error : error.message) ?? "");
  throw { status: response.status, message, wait: response.headers.get("retry-after"), request };
}
