// The config as it is in use: each key with its value and place, and what the disk has instead.

import { el, make, number, text } from "/static/dom.js";
import { Facts, Grid } from "/static/grid.js";

const PAGE = 500;
const TYPING_MS = 300;
const LONGEST_MS = 60000; // of a plant with thousands of assets

export const words = {
  en: { config: "Config", search_keys: "Search keys, values, files", only_set: "only what is set", key: "Key", value: "Value", from: "From", is_default: "default", on_disk: "On the disk", not_in_use: "not in use yet", removed: "removed", files: "Files", disk: "Disk", disk_same: "the same as in use", disk_changed: "{n} keys differ: a reload (or a restart) applies them", disk_refused: "refused: {why}", disk_none: "started without a file", lines: "{part} of {all} keys", secrets: "Secrets are never shown, only where they are." },
  de: { config: "Konfiguration", search_keys: "Schlüssel, Werte, Dateien suchen", only_set: "nur Gesetztes", key: "Schlüssel", value: "Wert", from: "Herkunft", is_default: "Vorgabe", on_disk: "Auf der Platte", not_in_use: "noch nicht in Gebrauch", removed: "entfernt", files: "Dateien", disk: "Platte", disk_same: "wie in Gebrauch", disk_changed: "{n} Schlüssel weichen ab: ein Neuladen (oder Neustart) wendet sie an", disk_refused: "abgelehnt: {why}", disk_none: "ohne Datei gestartet", lines: "{part} von {all} Schlüsseln", secrets: "Geheimnisse werden nie gezeigt, nur ihr Ort." },
  zh: { config: "配置", search_keys: "搜索键、值、文件", only_set: "仅已设置的", key: "键", value: "值", from: "来源", is_default: "默认", on_disk: "磁盘上", not_in_use: "尚未使用", removed: "已删除", files: "文件", disk: "磁盘", disk_same: "与使用中的相同", disk_changed: "{n} 个键不同：重新加载（或重启）后生效", disk_refused: "被拒绝：{why}", disk_none: "启动时没有文件", lines: "{all} 个键中的 {part} 个", secrets: "从不显示机密，只显示其位置。" },
  ja: { config: "設定", search_keys: "キー・値・ファイルを検索", only_set: "設定されたもののみ", key: "キー", value: "値", from: "出所", is_default: "既定", on_disk: "ディスク上", not_in_use: "未使用", removed: "削除", files: "ファイル", disk: "ディスク", disk_same: "使用中と同じ", disk_changed: "{n} 個のキーが異なります：再読み込み（または再起動）で適用されます", disk_refused: "拒否：{why}", disk_none: "ファイルなしで起動", lines: "{all} 個のキーのうち {part} 個", secrets: "秘密は表示されず、その場所だけを示します。" },
};

export function mount(root, page) {
  const { t } = page;
  let limit = PAGE;
  let asked = 0;
  const search = make("input", { type: "search", maxLength: 256, placeholder: t("search_keys"), "aria-label": t("search_keys"), spellcheck: false });
  const onlySet = make("input", { type: "checkbox", checked: true });
  const facts = new Facts();
  const count = make("p", { className: "muted", role: "status" });
  const grid = new Grid(t("config"), [
    { head: t("key"), show: (row) => row.key },
    { head: t("value"), show: (row) => shown(row.value, row.unit) },
    { head: t("from"), show: (row) => row.from || (row.is_default ? t("is_default") : "") },
    { head: t("on_disk"), show: (row) => onDisk(row, t) },
  ], (row) => ("on_disk" in row ? "warning" : ""));
  const more = make("button", { type: "button", hidden: true, onclick: () => ask(limit + PAGE) }, t("more"));
  const form = make("form", { className: "ask" }, search, make("label", { className: "check" }, onlySet, ` ${t("only_set")}`));
  form.onsubmit = (event) => event.preventDefault();
  root.append(el("section", "", make("h2", {}, t("config")), make("p", { className: "muted" }, t("secrets")), facts.root, form, count, grid.root, more));

  async function ask(most) {
    limit = most;
    const mine = ++asked;
    const query = new URLSearchParams({ search: search.value.trim(), only: onlySet.checked ? "set" : "all", limit });
    try {
      const { body } = await page.get(`/api/config?${query}`, LONGEST_MS);
      if (mine !== asked) return;
      count.className = "muted";
      text(count, t("lines", { part: number(body.lines.length), all: number(body.total) }));
      facts.update([[t("files"), body.files.join(", ")], [t("disk"), t(`disk_${body.disk}`, { n: number(body.changed), why: body.disk_problem })]]);
      grid.update(body.lines, (row) => row.key);
      more.hidden = body.lines.length >= body.total;
    } catch (problem) {
      if (mine !== asked) return;
      count.className = "failure";
      text(count, problem.message);
    }
  }
  let typing = 0;
  search.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => ask(PAGE), TYPING_MS);
  };
  onlySet.onchange = () => ask(PAGE);
  page.onEnd(() => {
    clearTimeout(typing);
    asked += 1;
  });
  ask(PAGE);
  return {};
}

function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  const found = typeof value === "object" ? JSON.stringify(value) : String(value);
  return unit ? `${found} ${unit}` : found;
}

function onDisk(row, t) {
  if (!("on_disk" in row)) return "";
  if (row.on_disk === null) return t("removed");
  return row.value === null ? `${shown(row.on_disk, row.unit)} (${t("not_in_use")})` : shown(row.on_disk, row.unit);
}
