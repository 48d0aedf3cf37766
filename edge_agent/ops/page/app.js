// Asks the daemon every two seconds and shows what it says.

import { PARKED, TO_ACK, alarmCard } from "/static/alarms.js";
import { beginAsk } from "/static/ask.js";
import { assetRow } from "/static/assets.js";
import { Keyed, clock, duration, setClock, text } from "/static/dom.js";
import { beginSession, headers, isRefused, lock, showAccess } from "/static/session.js";
import { figure, learningLine, modelLine, sinkLine, sourceLine, troubleLine } from "/static/side.js";
import { language, t } from "/static/strings.js";

const EVERY_MS = 2000;
const MOST_MS = 30000;
const ANSWER_MS = 8000;
const PAGE_ROWS = 60;
const ALARM_ROWS = 300;
const IDS_AT_ONCE = 50; // of at most 200 characters: a request holds 16 KiB

const byId = (id) => document.getElementById(id);
const lists = {
  alarms: new Keyed(byId("alarms"), alarmCard(command, confirmHealthy)),
  parked: new Keyed(byId("parked"), alarmCard(command, confirmHealthy)),
  assets: new Keyed(byId("assets"), assetRow),
  sources: new Keyed(byId("sources"), sourceLine),
  sinks: new Keyed(byId("sinks"), sinkLine),
  models: new Keyed(byId("models"), modelLine),
  learning: new Keyed(byId("learning"), learningLine),
  troubles: new Keyed(byId("troubles"), troubleLine),
  figures: new Keyed(byId("figures"), figure),
};
let toAck = []; // ids of the alarms that are shown and wait for it
let rows = PAGE_ROWS;
let delay = EVERY_MS;
let timer = 0;
let lastAnswer = Date.now();
let isLocked = false; // nothing is shown without a key
let asking = 0; // the newest question; answers to older ones come too late

async function ask(path) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const sent = headers();
  const answer = await fetch(path, { headers: sent, signal, cache: "no-store" });
  isLocked = await isRefused(answer, sent);
  if (isLocked) lock();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  setClock(answer.headers.get("Date"));
  return { body: await answer.json(), total: Number(answer.headers.get("X-Total-Count")) };
}

async function poll() {
  clearTimeout(timer);
  const question = ++asking;
  const search = encodeURIComponent(byId("search").value.trim());
  try {
    const [summary, alarms, assets] = await Promise.all([
      ask("/api/summary"),
      ask(`/api/alarms?limit=${ALARM_ROWS}`),
      ask(`/api/assets?limit=${rows}&search=${search}`),
    ]);
    if (question !== asking) return;
    show(summary.body, alarms, assets);
    lastAnswer = Date.now();
    delay = EVERY_MS;
    answered(true);
  } catch {
    if (question !== asking) return;
    delay = Math.min(delay * 2, MOST_MS);
    answered(false);
  }
  if (!document.hidden) timer = setTimeout(poll, delay);
}

function answered(well) {
  const banner = byId("banner");
  banner.hidden = well || isLocked;
  document.body.classList.toggle("old", !well);
  if (!well) text(banner, t("lost", { time: clock(lastAnswer) }));
  else text(byId("updated"), t("updated", { time: clock(lastAnswer) }));
}

function show(summary, alarms, assets) {
  text(byId("gateway"), summary.gateway);
  text(byId("place"), [summary.path, `edge-agent ${summary.version}`].filter(Boolean).join(" · "));
  showTitle(summary.gateway, alarms.total);
  showAccess(summary);
  showFigures(summary, alarms);
  showAlarms(alarms);
  lists.assets.update(assets.body, (row) => row.id);
  const part = { part: assets.body.length, all: assets.total };
  text(byId("assets-count"), part.part < part.all ? t("of", part) : part.all);
  byId("more").hidden = part.part >= part.all;
  byId("no-assets").hidden = part.all > 0;
  showSide(summary);
}

function showTitle(gateway, alarms) {
  document.title = alarms ? `(${alarms}) ${gateway}` : gateway;
}

function showFigures(summary, alarms) {
  const links = [...summary.sources, ...summary.sinks];
  const up = links.filter((link) => ["up", "degraded"].includes(link.state)).length;
  const open = alarms.body.filter((alarm) => !PARKED.has(alarm.state));
  const fresh = open.filter((alarm) => alarm.state !== "acked").length;
  const shown = [
    [t("alarms"), open.length, open.length > 0],
    [t("unacknowledged"), fresh, fresh > 0],
    [t("connected"), t("of", { part: up, all: links.length }),
      links.some((link) => link.state !== "up")],
    [t("uptime"), duration(summary.uptime_s), false],
  ];
  const pair = summary.pair ?? {};
  if (pair.role) shown.unshift([pair.member, t(`role_${pair.role}`), pair.role === "suspended"]);
  lists.figures.update(shown, ([word]) => word);
}

function showAlarms({ body: found, total }) {
  const parked = found.filter((alarm) => PARKED.has(alarm.state));
  const open = found.filter((alarm) => !PARKED.has(alarm.state));
  lists.alarms.update(open, (alarm) => alarm.alarm_id);
  lists.parked.update(parked, (alarm) => alarm.alarm_id);
  const part = { part: found.length, all: total };
  text(byId("alarms-count"), found.length < total ? t("of", part) : open.length || "");
  text(byId("parked-count"), parked.length);
  byId("parked-box").hidden = parked.length === 0;
  byId("no-alarms").hidden = open.length > 0;
  toAck = open.filter((alarm) => TO_ACK.has(alarm.state)).map((alarm) => alarm.alarm_id);
  byId("acknowledge").hidden = toAck.length === 0;
  text(byId("ack-all"), t("ack_all", { n: toAck.length }));
}

function showSide(summary) {
  const waiting = new Map((summary.outbox ?? []).map((row) => [row.sink, row]));
  const sinks = summary.sinks.map((sink) => ({ ...sink, outbox: waiting.get(sink.name) }));
  lists.sources.update(summary.sources, (row) => row.name);
  lists.sinks.update(sinks, (row) => row.name);
  lists.models.update(summary.models, (row) => `${row.mode} ${row.name}`);
  lists.learning.update(summary.learning, (row) => row.asset);
  // What a link says of itself stands in its own line; its faults stand here.
  const said = new Set([...summary.sources, ...summary.sinks]
    .map((link) => `${link.name}: ${link.detail || link.state}`));
  const troubles = (summary.troubles ?? []).filter((trouble) => !said.has(trouble));
  lists.troubles.update(troubles, (row) => row);
  byId("models-box").hidden = summary.models.length === 0;
  byId("learning-box").hidden = summary.learning.length === 0;
  byId("troubles-box").hidden = troubles.length === 0;
}

function command(kind, alarmId, more = {}, onAnswer = undefined) {
  const path = `/api/alarms/${encodeURIComponent(alarmId)}/${kind}`;
  return post(path, { ...commented(), ...more }, onAnswer);
}

function confirmHealthy(asset) {
  return post(`/api/assets/${encodeURIComponent(asset)}/healthy`, commented());
}

function commented() {
  const comment = byId("comment").value.trim();
  return comment ? { comment } : {};
}

/** All that are shown and wait for it, as many at a time as a request may hold. */
async function acknowledgeAll(event) {
  event.preventDefault();
  const ids = [...toAck];
  const comment = byId("comment").value.trim();
  let failure = "";
  while (ids.length && !failure) {
    failure = await post("/api/alarms/ack", { comment, ids: ids.splice(0, IDS_AT_ONCE) });
  }
  text(byId("ack-failure"), failure);
}

async function post(path, body, onAnswer = undefined) {
  const by = byId("operator").value.trim();
  if (!by) {
    byId("operator").focus();
    return t("name_needed");
  }
  try {
    const sent = headers({ "Content-Type": "application/json" });
    const answer = await fetch(path, {
      method: "POST",
      headers: sent,
      body: JSON.stringify({ by, ...body }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    await isRefused(answer, sent);
    if (answer.ok) {
      byId("comment").value = ""; // it was about these alarms
      onAnswer?.(await answer.json());
      return "";
    }
    const { error, hint } = await answer.json();
    return hint ? `${error} (${hint})` : error;
  } catch (problem) {
    return String(problem);
  } finally {
    poll();
  }
}

function begin() {
  beginSession(poll);
  beginAsk();
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) text(node, t(node.dataset.text));
  byId("search").placeholder = t("search");
  byId("search").setAttribute("aria-label", t("search"));
  byId("operator").value = localStorage.getItem("operator") ?? "";
  byId("operator").onchange = () => localStorage.setItem("operator", byId("operator").value.trim());
  byId("comment").placeholder = t("comment");
  byId("comment").setAttribute("aria-label", t("comment"));
  byId("acknowledge").onsubmit = acknowledgeAll;
  byId("search").oninput = () => { rows = PAGE_ROWS; poll(); };
  byId("more").onclick = () => { rows += PAGE_ROWS; poll(); };
  document.onvisibilitychange = () => (document.hidden ? clearTimeout(timer) : poll());
  poll();
}

begin();
