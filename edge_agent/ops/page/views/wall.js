// For a screen on the wall (`/wall`): nothing to press, large from afar, and still while all is well.

import { SHAPES, TO_ACK, priorityOf } from "/static/alarms.js";
import { Keyed, ago, clock, el, make, set, text } from "/static/dom.js";
import { PARKED } from "/static/head.js";
import { addCounts, noCounts, pathOf } from "/static/rollup.js";

const ROWS = 14;
const TILES = 48;
const CLOCK_MS = 1000;

export const words = {
  en: { more_alarms: "and {n} more", all_well: "No alarms." },
  de: { more_alarms: "und {n} weitere", all_well: "Keine Alarme." },
  zh: { more_alarms: "另有 {n} 条", all_well: "无报警。" },
  ja: { more_alarms: "ほか {n} 件", all_well: "アラームはありません。" },
};

export function mount(root, page) {
  const { t } = page;
  const time = make("time", { className: "wall-clock" });
  const name = el("h2", "wall-name");
  const rows = el("div", "wall-alarms");
  const more = el("p", "wall-more");
  const tiles = el("div", "wall-tiles");
  const alarms = new Keyed(rows, () => alarmLine(page));
  const lines = new Keyed(tiles, () => tile(t));
  const tick = () => text(time, clock(Date.now()));
  const timer = setInterval(tick, CLOCK_MS);
  page.onEnd(() => clearInterval(timer));
  tick();
  root.append(el("section", "wall", el("div", "wall-head", name, time), rows, more, tiles));
  return {
    update(live) {
      const open = live.sortedAlarms().filter((alarm) => !PARKED.has(alarm.state));
      text(name, live.summary.gateway);
      alarms.update(open.slice(0, ROWS), (alarm) => alarm.alarm_id);
      const rest = open.length - ROWS;
      text(more, open.length === 0 ? t("all_well") : rest > 0 ? t("more_alarms", { n: rest }) : "");
      lines.update(linesOf(live).slice(0, TILES), (line) => line.name);
    },
  };
}

/** The lines of the plant, those with the most alarms first. */
function linesOf(live) {
  const found = new Map();
  for (const asset of live.assets.values()) {
    const name = pathOf(asset).join(" / ");
    if (!found.has(name)) found.set(name, { name, counts: noCounts() });
    addCounts(found.get(name).counts, asset);
  }
  return [...found.values()].sort((a, b) => b.counts.alarms - a.counts.alarms || (a.counts.health ?? 1) - (b.counts.health ?? 1));
}

function alarmLine(page) {
  const mark = el("span", "mark");
  const message = el("strong");
  const facts = el("span", "muted");
  const root = el("div", "", mark, message, facts);
  return {
    root,
    update(alarm) {
      const priority = priorityOf(alarm);
      set(root, "className", `wall-alarm alarm ${priority} ${TO_ACK.has(alarm.state) ? "new" : ""}`);
      text(mark, `${SHAPES[priority]} ${page.t(priority)}`);
      text(message, page.pick(alarm.message) || alarm.alarm_id);
      text(facts, `${alarm.asset} · ${page.t(alarm.state)} · ${ago(alarm.changed_ms)}`);
    },
  };
}

function tile(t) {
  const name = el("strong");
  const state = el("span");
  const health = el("span", "wall-health");
  const root = el("div", "wall-tile", name, health, state);
  return {
    root,
    update({ name: of, counts }) {
      set(root, "className", `wall-tile ${counts.alarms ? "abnormal" : counts.off ? "troubled" : ""}`);
      text(name, of);
      text(health, counts.health === null ? "–" : `${Math.round(counts.health * 100)} %`);
      text(state, counts.words(t));
    },
  };
}
