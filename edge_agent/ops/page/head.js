// The head of the page: which gateway, and its figures.

import { Keyed, duration, el, set, text } from "/static/dom.js";
import { t } from "/static/strings.js";

// Alarms that wait for nobody.
export const PARKED = new Set(["shelved", "suppressed", "out_of_service"]);

const byId = (id) => document.getElementById(id);
let figures = null;

export function beginHead() {
  figures = new Keyed(byId("figures"), figure);
}

export function showHead(live) {
  const { summary } = live;
  text(byId("gateway"), summary.gateway);
  text(byId("place"), [summary.path, `edge-agent ${summary.version}`].filter(Boolean).join(" · "));
  const alarms = [...live.alarms.values()];
  document.title = alarms.length ? `(${alarms.length}) ${summary.gateway}` : summary.gateway;
  const links = [...summary.sources, ...summary.sinks];
  const up = links.filter((link) => ["up", "degraded"].includes(link.state)).length;
  const open = alarms.filter((alarm) => !PARKED.has(alarm.state));
  const fresh = open.filter((alarm) => alarm.state !== "acked").length;
  const shown = [
    [t("alarms"), open.length, open.length > 0],
    [t("unacknowledged"), fresh, fresh > 0],
    [t("connected"), t("of", { part: up, all: links.length }),
      links.some((link) => link.state !== "up")],
    [t("uptime"), duration(live.uptime()), false],
  ];
  const pair = summary.pair ?? {};
  if (pair.role) shown.unshift([pair.member, t(`role_${pair.role}`), pair.role === "suspended"]);
  figures.update(shown, ([word]) => word);
}

/** A figure of the head: [word, value, abnormal]. */
function figure() {
  const word = el("dt");
  const value = el("dd");
  const root = el("div", "", word, value);
  return {
    root,
    update([name, shown, abnormal]) {
      text(word, name);
      text(value, shown);
      set(root, "className", abnormal ? "abnormal" : "");
    },
  };
}
