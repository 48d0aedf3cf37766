// The page of one asset: `#/asset/P-101`: its state, why, and its trends.

import { assetRow } from "/static/assets.js";
import { Keyed, duration, el, make, number, text } from "/static/dom.js";
import { trendSection, trendWords } from "/static/trend.js";

const why = {
  en: {
    why: "Why", is_healthy: "Healthy: the score is at {share} % of its limit.", is_over: "Over its limit: the score is at {share} % of it.",
    mostly: "{message} – mostly {inputs}.", bad_inputs: "Inputs that are not good: {inputs}.", no_score: "No model judges it now.",
    learns: "Learning: {rows} of {wanted} rows ({share} %).", learns_more: "About {time} more of running.", waits_for: "It waits: {reason}.", left_out: "Left out: {inputs}.",
  },
  de: {
    why: "Warum", is_healthy: "Gesund: der Wert liegt bei {share} % seiner Grenze.", is_over: "Über der Grenze: der Wert liegt bei {share} % davon.",
    mostly: "{message} – vor allem {inputs}.", bad_inputs: "Eingänge, die nicht gut sind: {inputs}.", no_score: "Kein Modell beurteilt sie jetzt.",
    learns: "Lernt: {rows} von {wanted} Zeilen ({share} %).", learns_more: "Noch etwa {time} Betrieb.", waits_for: "Es wartet: {reason}.", left_out: "Ausgelassen: {inputs}.",
  },
  zh: {
    why: "原因", is_healthy: "健康：分数为限值的 {share} %。", is_over: "超限：分数为限值的 {share} %。",
    mostly: "{message}——主要是 {inputs}。", bad_inputs: "状态不佳的输入：{inputs}。", no_score: "目前没有模型评估它。",
    learns: "学习中：{rows} / {wanted} 行（{share} %）。", learns_more: "还需运行约 {time}。", waits_for: "等待：{reason}。", left_out: "未使用：{inputs}。",
  },
  ja: {
    why: "理由", is_healthy: "正常：スコアは限界の {share} % です。", is_over: "限界超過：スコアは限界の {share} % です。",
    mostly: "{message}（主に {inputs}）", bad_inputs: "良好でない入力：{inputs}。", no_score: "現在どのモデルも評価していません。",
    learns: "学習中：{rows} / {wanted} 行（{share} %）。", learns_more: "あと約 {time} の運転が必要です。", waits_for: "待機中：{reason}。", left_out: "除外：{inputs}。",
  },
};

export const words = Object.fromEntries(
  Object.keys(why).map((language) => [language, { ...why[language], ...trendWords[language] }]),
);

export function mount(root, page, [id = ""]) {
  const row = el("div", "assets");
  const reasons = el("ul", "why");
  const missing = make("p", { className: "empty", hidden: true }, page.t("not_found", { name: id }));
  const rows = new Keyed(row, (first) => {
    const part = assetRow(first);
    part.root.open = true;
    return part;
  });
  const lines = new Keyed(reasons, () => {
    const line = el("li");
    return { root: line, update: (said) => text(line, said) };
  });
  const known = { asset: null, alarms: [], learning: [] };
  const explain = () => lines.update(known.asset ? reasonsOf(page, known) : [], (said) => said);
  root.append(el("section", "", make("h2", {}, id), missing, row, make("h2", {}, page.t("why")), reasons, trendSection(page, id)));
  page.poll(`/api/assets?ids=${encodeURIComponent(id)}`, (own) => {
    rows.update(own, (one) => one.id);
    missing.hidden = own.length > 0;
    known.asset = own[0] ?? null;
    explain();
  });
  return {
    update(live) {
      known.alarms = live.sortedAlarms().filter((one) => one.asset === id && one.state !== "normal");
      known.learning = (live.summary.learning ?? []).filter((one) => one.asset === id);
      explain();
    },
  };
}

/** Why the asset is in its state, in sentences; what learning waits for. */
function reasonsOf(page, { asset, alarms, learning }) {
  const off = asset.inputs.filter((one) => one.quality !== "good").map((one) => one.name);
  return [
    ...alarms.map((alarm) => alarmReason(page, alarm)),
    scoreReason(page, asset),
    asset.note,
    off.length ? page.t("bad_inputs", { inputs: off.join(", ") }) : "",
    ...learning.flatMap((one) => learningReasons(page, one)),
  ].filter(Boolean);
}

function scoreReason(page, asset) {
  if (asset.health === null || !asset.limit) return asset.note ? "" : page.t("no_score");
  const share = Math.round((100 * asset.score) / asset.limit);
  return page.t(share < 100 ? "is_healthy" : "is_over", { share });
}

function alarmReason(page, alarm) {
  const message = page.pick(alarm.message);
  const contributors = alarm.detail?.contributors ?? [];
  const total = contributors.reduce((sum, one) => sum + Math.abs(one.weight), 0);
  const inputs = contributors.slice(0, 3).filter((one) => total && Math.abs(one.weight) > total * 0.1)
    .map((one) => `${one.input} (${Math.round((100 * Math.abs(one.weight)) / total)} %, ${number(one.value)} ${one.unit ?? ""})`);
  return inputs.length ? page.t("mostly", { message, inputs: inputs.join(", ") }) : message;
}

function learningReasons(page, one) {
  const left = Math.max(0, one.wanted_rows - one.rows) * (one.step_s || 0);
  const names = Object.entries(one.left_out ?? {}).map(([name, why]) => `${name} (${why})`);
  const reason = [one.failure, one.obstacle].filter(Boolean).join(" · ");
  return [
    page.t("learns", { rows: one.rows, wanted: one.wanted_rows, share: Math.round(100 * one.progress) }),
    left ? page.t("learns_more", { time: duration(left) }) : "",
    reason ? page.t("waits_for", { reason }) : "",
    names.length ? page.t("left_out", { inputs: names.join(", ") }) : "",
  ];
}
