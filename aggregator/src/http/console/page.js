"use strict";

// Rows beyond these are counted, not shown: a page of more is slow and nobody reads it.
const ROWS_SHOWN_MAX = 1000;
const CELL_CHARACTERS_MAX = 500;
const POLL_MILLISECONDS = 2000;
// A busy leaf always has some batches in hand.
const LAG_SHOWN_MIN = 100;

const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const reply = await response.json();
  if (!response.ok) throw reply.error ?? { message: `the server answered ${response.status}` };
  return reply;
}

// ---- the query ----

const NUMBERS = new Set(["int", "float", "decimal"]);

function cell(value, type) {
  if (value === null) return element("td", "null", "NULL");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const shown = text.length > CELL_CHARACTERS_MAX ? `${text.slice(0, CELL_CHARACTERS_MAX)}…` : text;
  const made = element("td", NUMBERS.has(type) ? "number" : "", shown);
  made.title = shown;
  return made;
}

function show(reply) {
  const head = element("tr");
  for (const { name, type } of reply.columns) {
    const title = element("th", "", name);
    title.append(element("small", "", type));
    head.append(title);
  }
  const rows = reply.rows.slice(0, ROWS_SHOWN_MAX).map((row) => {
    const line = element("tr");
    line.append(...row.map((value, index) => cell(value, reply.columns[index].type)));
    return line;
  });
  at("rows").replaceChildren(head, ...rows);
  at("more").hidden = reply.rows.length <= ROWS_SHOWN_MAX;
  at("more").textContent = `${number(reply.rows.length - ROWS_SHOWN_MAX)} more rows are not shown`;
  at("warnings").hidden = reply.warnings.length === 0;
  at("warnings").replaceChildren(...reply.warnings.map((warning) => element("li", "", warning)));
  const { elapsed_ms: elapsed, rows_scanned: scanned } = reply.stats;
  at("stats").textContent = `${number(reply.rows.length)} rows, ${number(scanned)} scanned, ${elapsed} ms`;
}

function showError(error) {
  const place = error.line ? `line ${error.line}, column ${error.column}: ` : "";
  const hint = error.hint ? `\n${error.hint}` : "";
  at("error").textContent = `${place}${error.message}${hint}`;
  at("error").hidden = false;
}

async function run(event) {
  event?.preventDefault();
  if (at("run").disabled) return;
  at("run").disabled = true;
  at("error").hidden = true;
  at("stats").textContent = "running…";
  const body = {
    sql: at("sql").value,
    workspace: at("workspace").value,
    rows: "arrays",
    big_integers: "string",
    timeout_ms: 1000 * Number(at("timeout").value),
  };
  try {
    show(await ask("/v1/query", { method: "POST", body: JSON.stringify(body) }));
  } catch (error) {
    at("stats").textContent = "";
    at("rows").replaceChildren();
    at("warnings").hidden = at("more").hidden = true;
    showError(error);
  } finally {
    at("run").disabled = false;
  }
}

function insert(text) {
  const sql = at("sql");
  sql.setRangeText(text, sql.selectionStart, sql.selectionEnd, "end");
  sql.focus();
}

// ---- the collections ----

// What was last seen of each collection: its operations and when, for the rate.
const seen = new Map();

function rate(collection) {
  const now = performance.now();
  const before = seen.get(collection.name);
  seen.set(collection.name, { operations: collection.operations, at: now });
  if (!before || collection.operations < before.operations) return "";
  const perSecond = (1000 * (collection.operations - before.operations)) / (now - before.at);
  return perSecond > 0 ? `${number(Math.round(perSecond))} operations/s` : "quiet";
}

async function showFields(item, name) {
  const { fields } = await ask(`/v1/workspaces/${at("workspace").value}/collections/${name}`);
  const rows = fields.map(({ path, types }) => {
    const row = element("div", "field");
    const button = element("button", "", path);
    button.addEventListener("click", () => insert(path));
    row.append(button, element("span", "types", types.map((type) => type.type).join(" | ")));
    row.title = types.map((type) => `${type.type}: ${number(type.documents)}`).join("\n");
    return row;
  });
  item.querySelector(".fields").replaceChildren(...rows);
}

function collectionItem(collection) {
  const item = element("details", "collection");
  item.dataset.name = collection.name;
  const summary = element("summary");
  summary.append(element("span", "name", collection.name), element("span", "count"), element("span", "rate"));
  item.append(summary, element("div", "fields"));
  item.addEventListener("toggle", () => {
    if (item.open) showFields(item, collection.name).catch(showError);
  });
  return item;
}

async function refresh() {
  const workspace = at("workspace").value;
  const { collections } = await ask(`/v1/workspaces/${workspace}/collections`);
  const items = new Map([...at("collections").children].map((item) => [item.dataset.name, item]));
  const shown = collections.map((collection) => {
    const item = items.get(collection.name) ?? collectionItem(collection);
    item.querySelector(".count").textContent = number(collection.documents);
    const lag = collection.lag_batches > LAG_SHOWN_MIN ? `, ${number(collection.lag_batches)} batches behind` : "";
    item.querySelector(".rate").textContent = rate(collection) + lag;
    return item;
  });
  if (shown.length !== items.size || shown.some((item) => !items.has(item.dataset.name))) {
    at("collections").replaceChildren(...shown);
  }
  at("empty").hidden = shown.length > 0;
  if (at("sql").value === "" && shown.length > 0) at("sql").value = `SELECT * FROM ${collections[0].name} LIMIT 20`;
}

async function poll() {
  try {
    await refresh();
    at("health").textContent = "";
  } catch (error) {
    at("health").textContent = error.message ?? "the server does not answer";
  }
  setTimeout(poll, POLL_MILLISECONDS);
}

async function start() {
  const { workspaces } = await ask("/v1/workspaces");
  at("workspace").append(...workspaces.map(({ name }) => element("option", "", name)));
  at("workspace").value = "public";
  at("workspace").addEventListener("change", () => {
    seen.clear();
    at("collections").replaceChildren();
    refresh().catch(showError);
  });
  at("query").addEventListener("submit", run);
  at("sql").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  });
  // A link may bring a query: /?sql=…
  at("sql").value = new URLSearchParams(location.search).get("sql") ?? "";
  await poll();
  if (location.search.includes("sql=")) await run();
}

start().catch(showError);
