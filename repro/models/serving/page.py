"""The page at `/`: what the model takes, and a form that sends it; nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
textarea, pre { width: 100%; box-sizing: border-box; font: 13px/1.4 ui-monospace, monospace; padding: .6rem;
  border: 1px solid #bbb; border-radius: 4px; }
textarea { min-height: 12rem; } pre { background: #f6f6f6; white-space: pre-wrap; overflow-wrap: anywhere; }
button { font: inherit; padding: .3rem 1.2rem; margin: .5rem 0; } td, th { text-align: left; padding-right: 1.5rem; }
label { display: block; margin-top: 1rem; font-weight: 600; } [hidden] { display: none; }
"""
_SCRIPT = """
const at = id => document.getElementById(id);
const secret = () => at("token").value ? {Authorization: "Bearer " + at("token").value} : {};
const guess = body => {
  const first = (body.anyOf || [body])[0], records = (first.properties || {}).dataframe_records;
  if (!records) return {inputs: []};
  const row = Object.fromEntries(Object.entries(records.items.properties).map(([name, type]) =>
    [name, [].concat(type.type)[0] === "string" ? "" : [].concat(type.type)[0] === "boolean" ? false : 0]));
  return {dataframe_records: [row]};
};
async function describe() {
  const answer = await fetch("openapi.json", {headers: secret()});
  at("locked").hidden = answer.status !== 401;
  if (!answer.ok) return;
  const api = await answer.json();
  document.title = at("name").textContent = api.info.title;
  at("routes").replaceChildren(...Object.entries(api.paths).map(([path, methods]) => {
    const row = document.createElement("tr"), [method, about] = Object.entries(methods)[0];
    for (const text of [method.toUpperCase(), path, about.summary]) row.append(Object.assign(
      document.createElement("td"), {textContent: text}));
    return row;
  }));
  const media = api.paths["/invocations"].post.requestBody.content["application/json"];
  if (!at("body").value) at("body").value = JSON.stringify(media.example || guess(media.schema), null, 1);
  at("schema").textContent = JSON.stringify(media.schema, null, 1);
}
at("token").addEventListener("change", describe);
at("ask").addEventListener("submit", async event => {
  event.preventDefault();
  const began = performance.now();
  const answer = await fetch("invocations", {method: "POST", body: at("body").value,
    headers: {"Content-Type": "application/json", ...secret()}});
  const text = await answer.text();
  at("status").textContent = `${answer.status} in ${Math.round(performance.now() - began)} ms`;
  at("answer").textContent = text;
});
describe();
"""


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>model</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1 id="name">model</h1>
<p id="locked" hidden>This server asks for a token.</p>
<form id="ask"><label for="token">Token, where one is asked for</label><input id="token" type="password"
autocomplete="off" size="40">
<label for="body">Request</label><textarea id="body" spellcheck="false"></textarea>
<button>Send</button> <span id="status" role="status"></span></form>
<label for="answer">Answer</label><pre id="answer"></pre>
<h2>Paths</h2><table><tbody id="routes"></tbody></table>
<p>Described for machines: <a href="openapi.json">openapi.json</a>.</p>
<details><summary>What the body may hold</summary><pre id="schema"></pre></details>
<script>{_SCRIPT}</script></body></html>
""".encode()
POLICY = (
    f"default-src 'none'; connect-src 'self'; img-src data:; style-src {_digest(_STYLE)}; "
    f"script-src {_digest(_SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
