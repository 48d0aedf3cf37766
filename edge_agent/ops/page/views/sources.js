// Sources: how values come in, how late, and by which clock.

import { ago, duration, el, make, number, stamp } from "/static/dom.js";
import { Grid } from "/static/grid.js";

export const words = {
  en: { none: "No source is configured.", source: "Source", type: "Type", state: "State", rate: "Values a second", lag: "Lag", clock: "Clock off by", silent: "Last value ago", newest: "Newest stamp", signals: "Signals", bad_signals: "Not good", lost_values: "Dropped / late", rejected: "Rejected", reconnects: "Reconnects", without_value: "without a value", measuring: "measuring …" },
  de: { none: "Keine Quelle ist eingerichtet.", source: "Quelle", type: "Art", state: "Zustand", rate: "Werte je Sekunde", lag: "Verzug", clock: "Uhr falsch um", silent: "Letzter Wert vor", newest: "Neuester Stempel", signals: "Signale", bad_signals: "Nicht gut", lost_values: "Verworfen / zu spät", rejected: "Abgelehnt", reconnects: "Neue Verbindungen", without_value: "ohne Wert", measuring: "wird gemessen …" },
  zh: { none: "没有配置数据源。", source: "数据源", type: "类型", state: "状态", rate: "每秒数值", lag: "延迟", clock: "时钟偏差", silent: "距上次数值", newest: "最新时间戳", signals: "信号", bad_signals: "不良", lost_values: "丢弃 / 迟到", rejected: "拒绝", reconnects: "重新连接", without_value: "没有数值", measuring: "正在测量…" },
  ja: { none: "データ源は設定されていません。", source: "データ源", type: "種類", state: "状態", rate: "毎秒の値", lag: "遅れ", clock: "時計のずれ", silent: "最後の値から", newest: "最新の時刻", signals: "信号", bad_signals: "不良", lost_values: "破棄 / 遅着", rejected: "拒否", reconnects: "再接続", without_value: "値なし", measuring: "測定中…" },
};

export function mount(root, page) {
  const { t } = page;
  const grid = new Grid(t("sources"), [
    { head: t("source"), show: (row) => row.name },
    { head: t("type"), show: (row) => row.type },
    { head: t("state"), show: (row) => [`${t(row.state)}, ${ago(row.since_ms)}`, row.detail, ...row.faults.filter((one) => !row.detail.includes(one))].filter(Boolean).join(" · ") },
    { head: t("rate"), isNumber: true, show: (row) => (row.rate === null || row.rate === undefined ? t("measuring") : number(row.rate)) },
    { head: t("lag"), isNumber: true, show: (row) => seconds(row.lag_s) },
    { head: t("clock"), isNumber: true, show: (row) => seconds(row.clock_offset_s) },
    { head: t("silent"), isNumber: true, show: (row) => (row.silent_s === null ? "" : duration(row.silent_s)) },
    { head: t("newest"), show: (row) => stamp(row.newest_ms) },
    { head: t("signals"), isNumber: true, show: (row) => number(row.signals) },
    { head: t("bad_signals"), show: (row) => badOf(row, t) },
    { head: t("lost_values"), isNumber: true, show: (row) => `${number(row.dropped)} / ${number(row.late)}` },
    { head: t("rejected"), show: (row) => Object.entries(row.rejected).map(([why, n]) => `${why.replaceAll("_", " ")} ${number(n)}`).join(", ") },
    { head: t("reconnects"), isNumber: true, show: (row) => number(row.reconnects) },
  ], (row) => (row.state === "up" && !row.faults.length ? "" : "abnormal"));
  const none = make("p", { className: "empty", hidden: true }, t("none"));
  root.append(el("section", "", make("h2", {}, t("sources")), none, grid.root));
  page.poll("/api/sources", (rows) => {
    grid.update(rows, (row) => row.name);
    none.hidden = rows.length > 0;
  });
  return {};
}

/** Seconds with their sign; small ones to the millisecond. */
function seconds(value) {
  return value === null || value === undefined ? "" : `${number(Math.round(value * 1000) / 1000)} s`;
}

function badOf(row, t) {
  const found = Object.entries(row.problems).map(([quality, n]) => `${t(quality === "lost" ? "lost_signal" : quality)} ${number(n)}`);
  if (row.without_value) found.push(`${t("without_value")} ${number(row.without_value)}`);
  return found.join(", ");
}
