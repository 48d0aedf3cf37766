// Process quality: control charts with their capability, and what became of each part.

import { download } from "/static/api.js";
import { controlChart } from "/static/control_chart.js";
import { el, make, number, stamp, text } from "/static/dom.js";
import { Facts, Grid } from "/static/grid.js";

const SHOWN = 50;

export const words = {
  en: {
    charts: "Control charts", none: "No control chart is configured (control_charts).", chart: "Chart", product: "Product", kind: "Kind", center: "Centre", spread: "Spread", out: "Out of control", cpk: "Cpk", back: "All charts",
    learning: "learning, {n} of {all}", ready: "ready", in_control: "in control", out_of_control: "out of control", points: "Points as a table", time: "Time", value: "Value", limits: "Limits", rules: "Rules", part: "Part", parts: "Parts", no_parts: "No part was recorded.", verdict: "Verdict", measurements: "Measurements", process: "Process", cameras: "Cameras", as_csv: "as CSV",
    ok: "good", watch: "watch", reject: "reject", unknown: "not known", sigma: "Sigma of one value", capability: "Capability", outside: "Outside of the specification", trouble: "Why not learned", no_spread: "the values do not differ", unstable: "the process is not stable", notes: "Notes", excluded: "subgroups were left out", coarse: "the sensor is coarse", autocorrelated: "measurements depend on those before", missing: "Without measurement", specification: "Specification", show: "Show",
    beyond_limits: "beyond the limits", run_of_7: "7 on one side", run_of_8: "8 on one side", run_of_9: "9 on one side", trend_of_6: "6 in one direction", trend_of_7: "7 in one direction", alternating_14: "14 up and down", two_of_three: "2 of 3 far out", four_of_five: "4 of 5 out", fifteen_inside: "15 near the centre", eight_outside: "8 away from the centre", moving_range: "moving range", defect: "defect", good_picture: "good",
    reset: "Tool changed", learn: "Learn limits again", done: "Done.", legend: "Dashed: control limits. Dotted: zones. Thick: specification. Grey ground: phase I, in which limits were learned.",
  },
  de: {
    charts: "Regelkarten", none: "Keine Regelkarte ist eingerichtet (control_charts).", chart: "Karte", product: "Produkt", kind: "Art", center: "Mitte", spread: "Streuung", out: "Außer Kontrolle", cpk: "Cpk", back: "Alle Karten",
    learning: "lernt, {n} von {all}", ready: "bereit", in_control: "unter Kontrolle", out_of_control: "außer Kontrolle", points: "Punkte als Tabelle", time: "Zeit", value: "Wert", limits: "Grenzen", rules: "Regeln", part: "Teil", parts: "Teile", no_parts: "Kein Teil wurde erfasst.", verdict: "Urteil", measurements: "Messwerte", process: "Prozess", cameras: "Kameras", as_csv: "als CSV",
    ok: "gut", watch: "beobachten", reject: "Ausschuss", unknown: "nicht bekannt", sigma: "Sigma eines Werts", capability: "Fähigkeit", outside: "Außerhalb der Toleranz", trouble: "Warum nicht gelernt", no_spread: "die Werte unterscheiden sich nicht", unstable: "der Prozess ist nicht stabil", notes: "Hinweise", excluded: "Stichproben wurden ausgelassen", coarse: "der Sensor ist grob", autocorrelated: "Messwerte hängen von vorigen ab", missing: "Ohne Messwert", specification: "Toleranz", show: "Zeigen",
    beyond_limits: "außerhalb der Grenzen", run_of_7: "7 auf einer Seite", run_of_8: "8 auf einer Seite", run_of_9: "9 auf einer Seite", trend_of_6: "6 in eine Richtung", trend_of_7: "7 in eine Richtung", alternating_14: "14 auf und ab", two_of_three: "2 von 3 weit außen", four_of_five: "4 von 5 außen", fifteen_inside: "15 nahe der Mitte", eight_outside: "8 abseits der Mitte", moving_range: "gleitende Spannweite", defect: "Fehler", good_picture: "gut",
    reset: "Werkzeug gewechselt", learn: "Grenzen neu lernen", done: "Erledigt.", legend: "Gestrichelt: Eingriffsgrenzen. Gepunktet: Zonen. Dick: Toleranz. Grauer Grund: Phase I, in der die Grenzen gelernt wurden.",
  },
  zh: {
    charts: "控制图", none: "没有配置控制图（control_charts）。", chart: "控制图", product: "产品", kind: "类型", center: "中心", spread: "离散", out: "失控", cpk: "Cpk", back: "所有控制图",
    learning: "学习中，{n} / {all}", ready: "就绪", in_control: "受控", out_of_control: "失控", points: "表格形式的点", time: "时间", value: "数值", limits: "控制限", rules: "规则", part: "零件", parts: "零件", no_parts: "没有记录零件。", verdict: "判定", measurements: "测量值", process: "过程", cameras: "相机", as_csv: "CSV",
    ok: "合格", watch: "关注", reject: "不合格", unknown: "未知", sigma: "单值的 σ", capability: "过程能力", outside: "超出规格", trouble: "未学习的原因", no_spread: "数值没有差异", unstable: "过程不稳定", notes: "说明", excluded: "已排除部分子组", coarse: "传感器分辨率低", autocorrelated: "测量值与之前的相关", missing: "无测量值", specification: "规格", show: "显示",
    beyond_limits: "超出控制限", run_of_7: "连续 7 点同侧", run_of_8: "连续 8 点同侧", run_of_9: "连续 9 点同侧", trend_of_6: "连续 6 点同向", trend_of_7: "连续 7 点同向", alternating_14: "14 点上下交替", two_of_three: "3 点中 2 点远离", four_of_five: "5 点中 4 点偏离", fifteen_inside: "15 点靠近中心", eight_outside: "8 点远离中心", moving_range: "移动极差", defect: "缺陷", good_picture: "良好",
    reset: "已换刀", learn: "重新学习控制限", done: "完成。", legend: "虚线：控制限。点线：分区。粗线：规格。灰底：学习控制限的第一阶段。",
  },
  ja: {
    charts: "管理図", none: "管理図は設定されていません（control_charts）。", chart: "管理図", product: "製品", kind: "種類", center: "中心", spread: "ばらつき", out: "管理外れ", cpk: "Cpk", back: "すべての管理図",
    learning: "学習中 {n} / {all}", ready: "準備完了", in_control: "管理状態", out_of_control: "管理外れ", points: "点の表", time: "時刻", value: "値", limits: "限界", rules: "規則", part: "部品", parts: "部品", no_parts: "記録された部品はありません。", verdict: "判定", measurements: "測定値", process: "プロセス", cameras: "カメラ", as_csv: "CSV",
    ok: "良品", watch: "注意", reject: "不良", unknown: "不明", sigma: "一つの値の σ", capability: "工程能力", outside: "規格外", trouble: "学習できない理由", no_spread: "値に差がありません", unstable: "工程が安定していません", notes: "注記", excluded: "群を除外しました", coarse: "センサの分解能不足", autocorrelated: "測定値が前の値に依存", missing: "測定値なし", specification: "規格", show: "表示",
    beyond_limits: "限界外", run_of_7: "7 点連続で片側", run_of_8: "8 点連続で片側", run_of_9: "9 点連続で片側", trend_of_6: "6 点連続で同方向", trend_of_7: "7 点連続で同方向", alternating_14: "14 点が交互", two_of_three: "3 点中 2 点が大きく外", four_of_five: "5 点中 4 点が外", fifteen_inside: "15 点が中心付近", eight_outside: "8 点が中心から離れる", moving_range: "移動範囲", defect: "欠陥", good_picture: "良好",
    reset: "工具交換済み", learn: "限界を学習し直す", done: "完了。", legend: "破線：管理限界。点線：領域。太線：規格。灰色の背景：限界を学習した段階 I。",
  },
};

export function mount(root, page, rest) {
  const box = el("div", "stack");
  root.append(box);
  let end = () => {};
  const show = ([asset = "", chart = "", product = ""]) => {
    end();
    box.replaceChildren();
    end = chart ? showChart(box, page, asset, chart, product) : showAll(box, page);
  };
  show(rest);
  return { navigate: show };
}

function showAll(box, page) {
  const { t } = page;
  const grid = new Grid(t("charts"), [
    { head: t("chart"), node: (row) => linkOf(page, row) },
    { head: t("product"), show: (row) => row.product },
    { head: t("kind"), show: (row) => `${row.kind.replaceAll("_", "-")} (${row.subgroup})` },
    { head: t("state"), show: (row) => stateOf(t, row) },
    { head: t("center"), isNumber: true, show: (row) => (row.baseline ? `${number(row.baseline.center)} ${row.unit}` : "") },
    { head: t("out"), isNumber: true, show: (row) => `${number(row.counts.violations)} / ${number(row.counts.points)}` },
    { head: t("cpk"), isNumber: true, show: (row) => indexOf(row.capability?.cpk) },
  ], (row) => (row.alarm || row.state === "out_of_control" ? "abnormal" : row.trouble ? "warning" : ""));
  const none = make("p", { className: "empty", hidden: true }, t("none"));
  const parts = partsOf(page, "");
  box.append(el("section", "", make("h2", {}, t("charts")), none, grid.root), parts.root);
  const poll = page.poll("/api/quality", (rows) => {
    grid.update(rows, (row) => `${row.asset}/${row.chart}/${row.product}`);
    none.hidden = rows.length > 0;
  }, 5000, (failure) => {
    if (failure?.status === 404) none.hidden = false;
  });
  return () => [poll, parts].forEach((one) => one.end());
}

function linkOf(page, first) {
  const link = make("a", {}, "");
  return {
    root: link,
    update(row) {
      text(link, `${row.asset} ${row.chart}`);
      link.href = page.linkTo("quality", row.asset, row.chart, ...(row.product ? [row.product] : []));
    },
  };
}

function stateOf(t, row) {
  if (row.state === "learning") return t("learning", { n: row.learned, all: row.wanted }) + (row.trouble ? ` · ${t(row.trouble)}` : "");
  return t(row.state);
}

function indexOf(one) {
  return one ? `${number(one.value)} (${number(one.low)} – ${number(one.high)})` : "";
}

function showChart(box, page, asset, chart, product) {
  const { t } = page;
  const query = `asset=${encodeURIComponent(asset)}&chart=${encodeURIComponent(chart)}&product=${encodeURIComponent(product)}`;
  const picture = controlChart(page, { statistic: t("value"), spread: t("spread") });
  const facts = new Facts();
  const said = make("p", { className: "muted", role: "status" });
  const table = new Grid(t("points"), [
    { head: t("time"), show: (row) => stamp(row.at_ms) },
    { head: t("part"), show: (row) => row.parts.filter(Boolean).join(", ") },
    { head: t("value"), isNumber: true, show: (row) => number(row.value) },
    { head: t("limits"), isNumber: true, show: (row) => `${number(row.low)} – ${number(row.high)}` },
    { head: t("spread"), isNumber: true, show: (row) => (row.spread === null ? "" : number(row.spread)) },
    { head: t("rules"), show: (row) => row.rules.map((rule) => t(rule)).join(", ") },
  ], (row) => (row.rules.length ? "abnormal" : ""));
  const tables = el("details", "", el("summary", "", t("points")), el("div", "scroll", table.root));
  const csv = csvButton(page, `/api/quality/points?${query}&format=csv`, `${asset}-${chart}.csv`, said);
  const parts = partsOf(page, asset);
  box.append(
    make("p", {}, make("a", { href: page.linkTo("quality") }, t("back"))),
    el("section", "", make("h2", {}, `${asset} ${chart} ${product}`, csv), said, picture.root, make("p", { className: "muted" }, t("legend")), facts.root, commandsOf(page, asset, chart, said), tables),
    parts.root,
  );
  // Either answer may come first.
  let specification = null;
  let drawn = null;
  const draw = () => { if (drawn) picture.update(drawn, specification); };
  const rows = page.poll(`/api/quality?asset=${encodeURIComponent(asset)}`, (all) => {
    const mine = all.find((one) => one.chart === chart && one.product === product);
    if (!mine) return;
    specification = ["individuals", "xbar_r", "xbar_s"].includes(mine.kind) ? mine.specification : null;
    facts.update(factsOf(t, mine));
    draw();
  }, 5000);
  const points = page.poll(`/api/quality/points?${query}`, (found) => {
    drawn = found;
    draw();
    table.update(found.slice(-SHOWN).reverse(), (row) => String(row.at_ms));
  }, 5000);
  return () => [rows, points, parts].forEach((one) => one.end());
}

function factsOf(t, row) {
  const [baseline, found] = [row.baseline, row.capability];
  const wanted = row.specification;
  return [
    [t("state"), stateOf(t, row)],
    [t("center"), baseline ? `${number(baseline.center)} ${row.unit}` : ""],
    [t("sigma"), baseline ? number(baseline.sigma) : ""],
    [t("notes"), (baseline?.notes ?? []).map((one) => t(one)).join(", ")],
    [t("trouble"), row.trouble ? t(row.trouble) : ""],
    [t("out"), `${number(row.counts.violations)} / ${number(row.counts.points)}`],
    [t("missing"), row.counts.missing ? number(row.counts.missing) : ""],
    [t("specification"), wanted ? `${number(wanted.low)} – ${number(wanted.high)}` : ""],
    [t("capability"), found ? ["cp", "cpk", "pp", "ppk"].filter((one) => found[one]).map((one) => `${one[0].toUpperCase()}${one.slice(1)} ${indexOf(found[one])}`).join(", ") : ""],
    [t("outside"), found ? `${number(100 * found.outside)} %` : ""],
  ];
}

function commandsOf(page, asset, chart, said) {
  const line = el("div", "actions-line");
  if (!page.can("command")) return line;
  for (const kind of ["reset", "learn"]) {
    const button = make("button", { type: "button" }, page.t(kind));
    button.onclick = async () => {
      const why = await page.post(`/api/quality/${encodeURIComponent(asset)}/${encodeURIComponent(chart)}/${kind}`, { comment: "" });
      text(said, why || page.t("done"));
    };
    line.append(button);
  }
  return line;
}

function csvButton(page, path, name, said) {
  const button = make("button", { type: "button" }, page.t("as_csv"));
  button.onclick = () => download(path, name).catch((failure) => text(said, failure.message));
  return button;
}

/** The last parts, of one asset or of all. */
function partsOf(page, asset) {
  const { t } = page;
  const path = `/api/quality/parts?limit=${SHOWN}${asset ? `&asset=${encodeURIComponent(asset)}` : ""}`;
  const grid = new Grid(t("parts"), [
    { head: t("part"), show: (row) => `${row.asset} ${row.part}` },
    { head: t("time"), show: (row) => stamp(row.at_ms) },
    { head: t("product"), show: (row) => row.product },
    { head: t("verdict"), show: (row) => t(row.verdict) },
    { head: t("measurements"), show: (row) => pairs(row.measurements) },
    { head: t("rules"), show: (row) => Object.entries(row.charts).filter(([, rules]) => rules.length).map(([name, rules]) => `${name}: ${rules.map((rule) => t(rule)).join(", ")}`).join("; ") },
    { head: t("cameras"), show: (row) => Object.entries(row.cameras).map(([name, one]) => `${name}: ${t(one.defect ? "defect" : "good_picture")}`).join(", ") },
    { head: t("process"), show: (row) => pairs(row.process) },
  ], (row) => ({ reject: "abnormal", watch: "warning" })[row.verdict] ?? "");
  const none = make("p", { className: "empty", hidden: true }, t("no_parts"));
  const said = make("p", { className: "muted", role: "status" });
  const csv = csvButton(page, `${path}&format=csv`, "parts.csv", said);
  const poll = page.poll(path, (rows) => {
    grid.update(rows, (row) => `${row.asset}/${row.part}/${row.at_ms}`);
    none.hidden = rows.length > 0;
  }, 5000);
  return { root: el("section", "", make("h2", {}, t("parts"), csv), said, none, grid.root), end: () => poll.end() };
}

function pairs(values) {
  return Object.entries(values).map(([name, value]) => `${name} ${number(value)}`).join(", ");
}
