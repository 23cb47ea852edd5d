// The dashboard: reads what the admin listener tells machines, every two seconds, and shows it.
// What it shows is text and never markup.
"use strict";

const PAUSE = 2000; // milliseconds
const COLUMNS = 120;
const rates = [];
let before = null;

const element = (id) => document.getElementById(id);

async function ask(path) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store" });
  if (answer.status === 401) throw Object.assign(new Error("a token is needed"), { login: true });
  return answer.ok ? answer.json() : null;
}

function node(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function list(id, entries) {
  const parts = entries.flatMap(([name, value]) => [node("dt", name), node("dd", value)]);
  element(id).replaceChildren(...(parts.length ? parts : [node("dt", "none")]));
}

function table(id, head, rows) {
  const row = (cells, name) => {
    const made = document.createElement("tr");
    made.append(...cells.map((cell) => (cell instanceof Node ? cell : node(name, cell ?? ""))));
    return made;
  };
  element(id).replaceChildren(row(head, "th"), ...rows.map((cells) => row(cells, "td")));
  element(id).parentElement.hidden = rows.length === 0;
}

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = units[first];
  const [next, small] = units[first + 1] ?? ["", Infinity];
  const rest = Math.floor((seconds % size) / small);
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next}` : ""}`;
}

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function plot(status) {
  const now = { at: performance.now(), count: sum(status.responses) };
  if (before) rates.push(Math.max(0, (now.count - before.count) * 1000 / (now.at - before.at)));
  before = now;
  rates.splice(0, rates.length - COLUMNS);
  const most = Math.max(1, ...rates);
  const made = (name, attributes) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => one.setAttribute(key, value));
    return one;
  };
  const bars = rates.map((rate, place) => {
    const height = rate / most * 85;
    return made("rect", { x: place * 5, y: 100 - height, width: 4, height });
  });
  const caption = made("text", { x: 0, y: 10 });
  caption.textContent = `${(rates.at(-1) ?? 0).toFixed(1)} now, ${most.toFixed(1)} at most`;
  element("plot").replaceChildren(...bars, caption);
}

function show(status, certificates, limits) {
  list("now", [
    ["version", status.version],
    ["up for", duration(status.uptime_seconds)],
    ["configuration", `generation ${status.generation}`],
    ["open connections", status.connections.open],
    ["accepted", status.connections.accepted],
    ["workers", status.workers],
    ["sites", status.sites.map((hosts) => hosts[0]).join(", ")],
  ]);
  list("responses", Object.entries(status.responses));
  list("rejections", Object.entries(status.rejections).sort((a, b) => b[1] - a[1]));
  plot(status);
  const servers = Object.entries(status.upstreams ?? {}).flatMap(([name, upstream]) =>
    Object.entries(upstream.servers).map(([server, { up, in_flight }]) => [
      upstream.active ? `${name} (${upstream.active} is active)` : name, server, in_flight,
      node("td", up ? "up" : "down", up ? "good" : "bad"),
    ]));
  table("upstreams", ["upstream", "server", "in flight", "state"], servers);
  table("certificates", ["name", "issuer", "ends", "state"], (certificates ?? []).map((one) => [
    one.name, one.issuer, one.not_after,
    node("td", one.failures ? one.error : "ok", one.failures ? "bad" : "good"),
  ]));
  table("limits", ["rule", "keys", "admitted", "rejected"], (limits ?? []).map((rule) => [
    rule.name, rule.keys, rule.admitted, rule.rejected,
  ]));
}

function state(text, kind) {
  element("state").textContent = text;
  element("state").className = kind;
}

async function refresh() {
  try {
    const paths = ["/api/status", "/api/certificates", "/api/rate-limits"];
    const [status, certificates, limits] = await Promise.all(paths.map(ask));
    show(status, certificates?.certificates, limits?.rules);
    element("login").hidden = true;
    element("main").hidden = false;
    state(status.draining ? "draining" : "serving", status.draining ? "bad" : "good");
  } catch (error) {
    element("login").hidden = !error.login;
    state(error.login ? error.message : "no answer", "bad");
    if (error.login) return; // until there is a token
  }
  setTimeout(refresh, PAUSE);
}

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", element("token").value);
  refresh();
});

refresh();
