// The outbox: by sink what waits, how old it is, the last error, and the messages that are refused.

import { ago, duration, el, make, number, stamp } from "/static/dom.js";
import { Grid } from "/static/grid.js";

export const words = {
  en: { outbox: "Outbox", none: "No sink is configured.", sink: "Sink", state: "State", waits: "Messages waiting", bytes: "KiB", oldest_message: "Oldest", last_error: "Last error", never: "none since the start", given_up: "Given up", refused_messages: "Refused messages", none_refused: "No receiver refuses a message.", message: "Message", reason: "Reason", tries: "Tries", created: "Since" },
  de: { outbox: "Postausgang", none: "Kein Empfänger ist eingerichtet.", sink: "Empfänger", state: "Zustand", waits: "Wartende Nachrichten", bytes: "KiB", oldest_message: "Älteste", last_error: "Letzter Fehler", never: "keiner seit dem Start", given_up: "Aufgegeben", refused_messages: "Abgelehnte Nachrichten", none_refused: "Kein Empfänger lehnt eine Nachricht ab.", message: "Nachricht", reason: "Grund", tries: "Versuche", created: "Seit" },
  zh: { outbox: "发件箱", none: "没有配置接收方。", sink: "接收方", state: "状态", waits: "等待的消息", bytes: "KiB", oldest_message: "最早", last_error: "最近的错误", never: "启动以来没有", given_up: "已放弃", refused_messages: "被拒绝的消息", none_refused: "没有接收方拒绝消息。", message: "消息", reason: "原因", tries: "尝试次数", created: "自" },
  ja: { outbox: "送信箱", none: "受信側は設定されていません。", sink: "受信側", state: "状態", waits: "待機中のメッセージ", bytes: "KiB", oldest_message: "最古", last_error: "最後のエラー", never: "起動後なし", given_up: "断念", refused_messages: "拒否されたメッセージ", none_refused: "メッセージを拒否している受信側はありません。", message: "メッセージ", reason: "理由", tries: "試行回数", created: "開始" },
};

export function mount(root, page) {
  const { t } = page;
  const sinks = new Grid(t("outbox"), [
    { head: t("sink"), show: (row) => row.sink },
    { head: t("state"), show: (row) => `${t(row.state)}, ${ago(row.since_ms)}${row.detail ? ` · ${row.detail}` : ""}` },
    { head: t("waits"), isNumber: true, show: (row) => number(row.rows) },
    { head: t("bytes"), isNumber: true, show: (row) => number(Math.ceil(row.bytes / 1024)) },
    { head: t("oldest_message"), isNumber: true, show: (row) => (row.rows ? duration(row.oldest_s) : "") },
    { head: t("refused"), isNumber: true, show: (row) => number(row.refused) },
    { head: t("given_up"), isNumber: true, show: (row) => number(row.given_up) },
    { head: t("last_error"), show: (row) => (row.last_error_ms ? `${row.last_error} · ${stamp(row.last_error_ms)}` : t("never")) },
  ], (row) => (row.state !== "up" || row.refused || row.given_up ? "abnormal" : ""));
  const refused = new Grid(t("refused_messages"), [
    { head: t("sink"), show: (row) => row.sink },
    { head: t("message"), show: (row) => `${row.kind} ${row.subject || row.key}` },
    { head: t("reason"), show: (row) => row.reason },
    { head: t("tries"), isNumber: true, show: (row) => number(row.tries) },
    { head: t("created"), show: (row) => stamp(row.created_ms) },
  ], () => "abnormal");
  const none = make("p", { className: "empty", hidden: true }, t("none"));
  const well = make("p", { className: "empty", hidden: true }, t("none_refused"));
  root.append(el("div", "stack",
    el("section", "", make("h2", {}, t("outbox")), none, sinks.root),
    el("section", "", make("h2", {}, t("refused_messages")), well, refused.root)));
  page.poll("/api/outbox", (rows) => {
    sinks.update(rows, (row) => row.sink);
    none.hidden = rows.length > 0;
    const all = rows.flatMap((row) => row.refused_messages.map((one) => ({ sink: row.sink, ...one })));
    refused.update(all, (row) => `${row.sink} ${row.kind} ${row.key}`);
    well.hidden = all.length > 0;
  });
  return {};
}
