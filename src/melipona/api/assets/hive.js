// The hive at a glance: one snapshot, then a new one after each burst of events. All that is shown are text nodes.
const SHAPES = {
  needs_you: "◆", working: "●", queued: "◔", waiting: "◐", idle: "○",
  paused: "‖", stuck: "▲", failed: "✕", changing: "◌", off: "·",
};
const NEED = Object.keys(SHAPES);
const PROTOCOL = 1;
const byId = (id) => document.getElementById(id);
let shown = null;
let pending = null;

class LoggedOut extends Error {}

async function fetched(path) {
  const response = await fetch(path);
  if (Number(response.headers.get("melipona-protocol")) > PROTOCOL) {
    location.reload();
  }
  if (response.status === 401) {
    throw new LoggedOut();
  }
  if (!response.ok) {
    throw new Error(String(response.status));
  }
  return response.json();
}

function visible(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (ch) =>
    ch === "\n" || ch === "\t" ? ch : `⟦U+${ch.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`);
}

function ago(at) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function node(kind, text, name) {
  const made = document.createElement(kind);
  made.textContent = visible(text);
  if (name) made.className = name;
  return made;
}

function agentRow(agent) {
  const row = document.createElement("tr");
  const state = node("td", `${SHAPES[agent.state] ?? "?"} ${agent.state.replace("_", " ")}`, `state ${agent.state}`);
  const what = document.createElement("td");
  if (agent.detail) what.append(node("span", agent.detail));
  else if (agent.status) what.append(node("q", agent.status));
  const since = node("td", ago(agent.since), "number");
  since.title = agent.since;
  row.append(
    node("td", agent.name, "name"), state, what, node("td", agent.model ?? agent.engine, "muted"),
    node("td", agent.waiting || "", "number"), node("td", `$${agent.spent_usd.toFixed(2)}`, "number"), since);
  return row;
}

function sentence(agents) {
  if (agents.length === 0) {
    return "No agents yet. Make one: mel agent new ana --engine playbook";
  }
  const count = (state) => agents.filter((agent) => agent.state === state).length;
  const parts = [`${agents.length} ${agents.length === 1 ? "agent" : "agents"}`];
  for (const [state, word] of [["working", "working"], ["needs_you", "need you"], ["stuck", "stuck"], ["failed", "failed"]]) {
    if (count(state)) parts.push(`${count(state)} ${word}`);
  }
  return `${parts.join(", ")}.`;
}

function messageItem(message) {
  const item = document.createElement("li");
  if (message.state === "waiting") item.className = "unread";
  const head = node("p", `${message.sender} · m${message.id} · ${ago(message.sent_at)}`, "muted");
  item.append(head, node("blockquote", message.body));
  return item;
}

function show(state, inbox) {
  byId("name").textContent = visible(state.name);
  const budget = state.spent.budget_usd === null ? "" : ` of ${state.spent.budget_usd}`;
  byId("spent").textContent = `$${state.spent.usd.toFixed(2)}${budget} today`;
  const agents = [...state.agents].sort((a, b) =>
    NEED.indexOf(a.state) - NEED.indexOf(b.state) || a.name.localeCompare(b.name));
  byId("sentence").textContent = sentence(agents);
  byId("agents").hidden = agents.length === 0;
  document.querySelector("#agents tbody").replaceChildren(...agents.map(agentRow));
  byId("inbox").hidden = inbox.items.length === 0;
  document.querySelector("#inbox ol").replaceChildren(...inbox.items.slice(0, 20).map(messageItem));
  const needs = agents.filter((agent) => agent.state === "needs_you").length + state.mail.unread;
  document.title = needs ? `${needs} · Melipona` : "Melipona";
}

async function refresh() {
  pending = null;
  const [state, inbox] = await Promise.all([fetched("/api/v1/state"), fetched("/api/v1/inbox")]);
  shown = state;
  show(state, inbox);
}

function soon() {
  pending ??= setTimeout(() => refresh().catch(failed), 250);
}

function connection(live) {
  byId("live").textContent = live ? "● live" : "not connected, this may be old";
  document.body.classList.toggle("old", !live);
}

function failed(error) {
  connection(false);
  if (error instanceof LoggedOut) {
    byId("sentence").textContent = "You are not logged in. Run `mel login` on the hive's machine and open the link it prints.";
  }
}

async function start() {
  await refresh();
  const source = new EventSource(`/api/v1/events?after=${shown.store}-${shown.event}`);
  source.onopen = () => { connection(true); soon(); };
  source.onmessage = soon;
  source.addEventListener("reset", soon);
  source.onerror = () => { connection(false); soon(); };
  setInterval(() => { if (document.visibilityState === "visible") soon(); }, 30000);
}

byId("logout").addEventListener("click", async () => {
  await fetch("/api/v1/logout", { method: "POST" });
  location.replace("/login");
});
start().catch(failed);
