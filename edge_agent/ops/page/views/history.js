// What became of alarms: every transition that is stored, the newest first. `#/history/P-101`: of an asset.

import { make } from "/static/dom.js";
import { Record, when } from "/static/record.js";

export const words = {
  en: { title: "History of alarms", at: "Time", what: "What", message: "Alarm", asset: "Asset", alarm_id: "Alarm id", actor: "By", comment: "Comment", search_records: "Search", older: "Older", nothing: "Nothing is recorded." },
  de: { title: "Verlauf der Alarme", at: "Zeit", what: "Was", message: "Alarm", asset: "Anlage", alarm_id: "Kennung des Alarms", actor: "Von", comment: "Kommentar", search_records: "Suchen", older: "Ältere", nothing: "Nichts ist verzeichnet." },
  zh: { title: "报警历史", at: "时间", what: "变化", message: "报警", asset: "设备", alarm_id: "报警编号", actor: "操作人", comment: "备注", search_records: "搜索", older: "更早", nothing: "没有记录。" },
  ja: { title: "アラーム履歴", at: "時刻", what: "内容", message: "アラーム", asset: "設備", alarm_id: "アラーム ID", actor: "担当", comment: "コメント", search_records: "検索", older: "以前のもの", nothing: "記録はありません。" },
};

export function mount(root, page, [asset = ""]) {
  const record = new Record(page, {
    path: "/api/alarms/history",
    title: page.t("title"),
    fields: ["asset", "alarm_id"],
    columns: [
      ["at", when],
      ["what", (row) => page.t(`tr_${row.transition}`)],
      ["message", (row) => page.pick(row.message) || row.alarm_id],
      ["asset", (row) => make("a", { href: page.linkTo("asset", row.asset ?? "") }, row.asset ?? "")],
      ["actor", (row) => row.actor ?? ""],
      ["comment", (row) => row.alarm?.comment ?? ""],
    ],
  });
  record.fields[0].value = asset;
  root.append(record.root);
  record.read();
  return {};
}
