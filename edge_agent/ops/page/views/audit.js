// Who did what: commands with their reasons, and those that were refused, the newest first.

import { Record, when } from "/static/record.js";

export const words = {
  en: { title: "Audit", at: "Time", by: "By", action: "Action", subject: "Of what", detail: "Detail", asset: "Asset", alarm_id: "Alarm id", search_records: "Search", older: "Older", nothing: "Nothing is recorded." },
  de: { title: "Audit", at: "Zeit", by: "Von", action: "Handlung", subject: "Woran", detail: "Einzelheiten", asset: "Anlage", alarm_id: "Kennung des Alarms", search_records: "Suchen", older: "Ältere", nothing: "Nichts ist verzeichnet." },
  zh: { title: "审计", at: "时间", by: "操作人", action: "操作", subject: "对象", detail: "详情", asset: "设备", alarm_id: "报警编号", search_records: "搜索", older: "更早", nothing: "没有记录。" },
  ja: { title: "監査", at: "時刻", by: "担当", action: "操作", subject: "対象", detail: "詳細", asset: "設備", alarm_id: "アラーム ID", search_records: "検索", older: "以前のもの", nothing: "記録はありません。" },
};

export function mount(root, page) {
  const record = new Record(page, {
    path: "/api/audit",
    title: page.t("title"),
    fields: ["by", "asset", "alarm_id"],
    columns: [
      ["at", when],
      ["by", (row) => row.actor],
      ["action", (row) => row.action],
      ["subject", (row) => row.subject],
      ["detail", (row) => row.detail],
    ],
  });
  root.append(record.root);
  record.read();
  return {};
}
