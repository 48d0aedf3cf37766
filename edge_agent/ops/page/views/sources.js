// Sources: how values come in, how late, and by which clock.

import { ago, duration, el, make, number, stamp, text } from "/static/dom.js";
import { Grid } from "/static/grid.js";
import { tagBrowser } from "/static/tags.js";

export const words = {
  en: { none: "No source is configured.", source: "Source", type: "Type", state: "State", rate: "Values a second", lag: "Lag", clock: "Clock off by", silent: "Last value ago", newest: "Newest stamp", signals: "Signals", bad_signals: "Not good", lost_values: "Dropped / late", rejected: "Rejected", reconnects: "Reconnects", without_value: "without a value", measuring: "measuring …",
    tags: "Tags", tags_of: "Tags of {name}", tags_mean: "Reads what the other side has, over a connection of its own; nothing is written, at most 2,000 tags, and it is recorded in the audit. Patterns: Line1/*/Flow, a word, or a topic filter such as plant/#.", pattern: "Pattern (may be left out)", browse: "Browse", browsing: "Looking; this takes some seconds …", n_tags: "{n} tags", stopped: "not all of them: {why}", tag: "Tag", value: "Value", unit: "Unit", status: "Status", range: "Range", address: "Address", retained: "retained", back: "All sources" },
  de: { none: "Keine Quelle ist eingerichtet.", source: "Quelle", type: "Art", state: "Zustand", rate: "Werte je Sekunde", lag: "Verzug", clock: "Uhr falsch um", silent: "Letzter Wert vor", newest: "Neuester Stempel", signals: "Signale", bad_signals: "Nicht gut", lost_values: "Verworfen / zu spät", rejected: "Abgelehnt", reconnects: "Neue Verbindungen", without_value: "ohne Wert", measuring: "wird gemessen …",
    tags: "Punkte", tags_of: "Punkte von {name}", tags_mean: "Liest, was die andere Seite hat, über eine eigene Verbindung; nichts wird geschrieben, höchstens 2.000 Punkte, und es steht im Audit. Muster: Line1/*/Flow, ein Wort oder ein Topic-Filter wie plant/#.", pattern: "Muster (kann entfallen)", browse: "Durchsuchen", browsing: "Wird gelesen; das dauert einige Sekunden …", n_tags: "{n} Punkte", stopped: "nicht alle: {why}", tag: "Punkt", value: "Wert", unit: "Einheit", status: "Status", range: "Bereich", address: "Adresse", retained: "gespeichert", back: "Alle Quellen" },
  zh: { none: "没有配置数据源。", source: "数据源", type: "类型", state: "状态", rate: "每秒数值", lag: "延迟", clock: "时钟偏差", silent: "距上次数值", newest: "最新时间戳", signals: "信号", bad_signals: "不良", lost_values: "丢弃 / 迟到", rejected: "拒绝", reconnects: "重新连接", without_value: "没有数值", measuring: "正在测量…",
    tags: "变量", tags_of: "{name} 的变量", tags_mean: "通过单独的连接读取对方的内容；不写入任何数据，最多 2,000 个变量，并记入审计。模式：Line1/*/Flow、一个词，或主题过滤器如 plant/#。", pattern: "模式（可省略）", browse: "浏览", browsing: "正在读取，需要几秒…", n_tags: "{n} 个变量", stopped: "不是全部：{why}", tag: "变量", value: "数值", unit: "单位", status: "状态码", range: "范围", address: "地址", retained: "保留", back: "所有数据源" },
  ja: { none: "データ源は設定されていません。", source: "データ源", type: "種類", state: "状態", rate: "毎秒の値", lag: "遅れ", clock: "時計のずれ", silent: "最後の値から", newest: "最新の時刻", signals: "信号", bad_signals: "不良", lost_values: "破棄 / 遅着", rejected: "拒否", reconnects: "再接続", without_value: "値なし", measuring: "測定中…",
    tags: "タグ", tags_of: "{name} のタグ", tags_mean: "専用の接続で相手側の内容を読みます。何も書き込まず、最大 2,000 個で、監査に記録されます。パターン：Line1/*/Flow、語、または plant/# のようなトピックフィルター。", pattern: "パターン（省略可）", browse: "参照", browsing: "読み取り中、数秒かかります…", n_tags: "{n} 個のタグ", stopped: "すべてではありません：{why}", tag: "タグ", value: "値", unit: "単位", status: "ステータス", range: "範囲", address: "アドレス", retained: "保持", back: "すべてのデータ源" },
};

export function mount(root, page, rest) {
  const box = el("div", "stack");
  root.append(box);
  let end = () => {};
  const show = ([name = ""]) => {
    end();
    box.replaceChildren();
    end = name ? showSource(box, page, name) : showAll(box, page);
  };
  show(rest);
  return { navigate: show };
}

/** The tag browser; a row of the list leads to it. */
function showSource(box, page, name) {
  box.append(make("p", {}, make("a", { href: page.linkTo("sources") }, page.t("back"))), tagBrowser(page, name));
  return () => {};
}

function showAll(box, page) {
  const { t } = page;
  const grid = new Grid(t("sources"), [
    { head: t("source"), node: (row) => nameOf(page, row) },
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
  box.append(el("section", "", make("h2", {}, t("sources")), none, grid.root));
  const poll = page.poll("/api/sources", (rows) => {
    grid.update(rows, (row) => row.name);
    none.hidden = rows.length > 0;
  });
  return () => poll.end();
}

/** The name, which leads to the tags where the other side has any. */
function nameOf(page, first) {
  const hasTags = ["opcua", "mqtt"].includes(first.type);
  const root = hasTags ? make("a", { href: page.linkTo("sources", first.name) }) : el("span");
  return { root, update: (row) => text(root, row.name) };
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
