// Lines: what each machine does and did, OEE of the running shift, its losses, and closed shifts.

import { bottleneckSection, bottleneckWords } from "/static/bottleneck.js";
import { Keyed, ago, clock, daemonNow, el, fill, make, number, text } from "/static/dom.js";
import { Grid } from "/static/grid.js";
import { timeline } from "/static/timeline.js";

const EVERY_MS = 10000;
const HOURS = [1, 4, 8, 12, 24];
const HOUR_MS = 3600000;
const STATES = ["running", "idle", "blocked", "starved", "down", "setup", "planned", "unknown"];

const own = {
  en: {
    lines: "Lines", line: "Line", no_lines: "No line is configured (section lines of the config).", machine: "Machine", state: "State", oee: "OEE", availability: "Availability", effectiveness: "Effectiveness", quality_ratio: "Quality", known: "Known", parts: "Parts", scrap: "Scrap", rework: "Rework",
    running: "running", idle: "idle", blocked: "blocked", starved: "starved", down: "down", setup: "set-up", planned: "planned stop", unknown: "no data",
    states: "States", states_hint: "Left and right read one stay after another; Home and End the first and the last.", hours: "{n} h", losses: "Where the time went", of_machine: "of {name}", min: "{n} min", loss: "Time", share: "Share", stops: "Number", shift: "Shift", shifts: "Closed shifts", no_shift: "No shift is closed yet.", no_shift_now: "No shift now.", running_shift: "{name}, since {time}",
    shift_node: "Shift so far", planned_busy: "Planned busy time", breaks: "Breaks", gap: "No data (no loss)", stopped: "Stopped", breakdowns: "Breakdowns", minor_stops: "Minor stops", waiting: "Waiting", good_parts: "Good parts", reduced_speed: "Reduced speed", too_fast: "Faster than its ideal cycle: ideal_cycle in the config is too long.",
  },
  de: {
    lines: "Linien", line: "Linie", no_lines: "Keine Linie ist eingerichtet (Abschnitt lines der Konfiguration).", machine: "Maschine", state: "Zustand", oee: "OEE", availability: "Verfügbarkeit", effectiveness: "Leistung", quality_ratio: "Qualität", known: "Bekannt", parts: "Teile", scrap: "Ausschuss", rework: "Nacharbeit",
    running: "läuft", idle: "bereit", blocked: "blockiert", starved: "wartet auf Teile", down: "Störung", setup: "Rüsten", planned: "geplanter Halt", unknown: "keine Daten",
    states: "Zustände", states_hint: "Links und rechts lesen einen Abschnitt nach dem anderen, Pos1 und Ende den ersten und den letzten.", hours: "{n} h", losses: "Wo die Zeit blieb", of_machine: "von {name}", min: "{n} min", loss: "Zeit", share: "Anteil", stops: "Anzahl", shift: "Schicht", shifts: "Abgeschlossene Schichten", no_shift: "Noch keine Schicht ist abgeschlossen.", no_shift_now: "Jetzt ist keine Schicht.", running_shift: "{name}, seit {time}",
    shift_node: "Schicht bis jetzt", planned_busy: "Geplante Belegung", breaks: "Pausen", gap: "Keine Daten (kein Verlust)", stopped: "Stillstand", breakdowns: "Störungen", minor_stops: "Kurze Halte", waiting: "Warten", good_parts: "Gute Teile", reduced_speed: "Zu langsam", too_fast: "Schneller als der Idealzyklus: ideal_cycle in der Konfiguration ist zu lang.",
  },
  zh: {
    lines: "产线", line: "产线", no_lines: "没有配置产线（配置的 lines 部分）。", machine: "机器", state: "状态", oee: "OEE", availability: "可用率", effectiveness: "性能", quality_ratio: "质量", known: "已知", parts: "零件", scrap: "废品", rework: "返工",
    running: "运行", idle: "空闲", blocked: "堵塞", starved: "缺料", down: "故障", setup: "换型", planned: "计划停机", unknown: "无数据",
    states: "状态", states_hint: "左右键逐段读取，Home 和 End 键到第一段和最后一段。", hours: "{n} 小时", losses: "时间去向", of_machine: "{name}", min: "{n} 分钟", loss: "时间", share: "占比", stops: "次数", shift: "班次", shifts: "已结束的班次", no_shift: "还没有结束的班次。", no_shift_now: "当前没有班次。", running_shift: "{name}，自 {time}",
    shift_node: "本班至今", planned_busy: "计划忙碌时间", breaks: "休息", gap: "无数据（不算损失）", stopped: "停止", breakdowns: "故障停机", minor_stops: "短暂停机", waiting: "等待", good_parts: "合格品", reduced_speed: "速度降低", too_fast: "快于理想节拍：配置中的 ideal_cycle 过长。",
  },
  ja: {
    lines: "ライン", line: "ライン", no_lines: "ラインは設定されていません（設定の lines）。", machine: "機械", state: "状態", oee: "OEE", availability: "可用率", effectiveness: "性能", quality_ratio: "品質", known: "既知", parts: "部品", scrap: "廃棄", rework: "手直し",
    running: "稼働", idle: "待機", blocked: "ブロック", starved: "部品待ち", down: "故障", setup: "段取り", planned: "計画停止", unknown: "データなし",
    states: "状態", states_hint: "左右で区間を順に読み、Home と End で最初と最後へ移動します。", hours: "{n} 時間", losses: "時間の内訳", of_machine: "{name}", min: "{n} 分", loss: "時間", share: "割合", stops: "回数", shift: "シフト", shifts: "終了したシフト", no_shift: "終了したシフトはまだありません。", no_shift_now: "現在シフトはありません。", running_shift: "{name}、{time} から",
    shift_node: "現在までのシフト", planned_busy: "計画稼働時間", breaks: "休憩", gap: "データなし（損失ではない）", stopped: "停止", breakdowns: "故障", minor_stops: "チョコ停", waiting: "待ち", good_parts: "良品", reduced_speed: "速度低下", too_fast: "理想サイクルより速い：設定の ideal_cycle が長すぎます。",
  },
};

export const words = Object.fromEntries(
  Object.keys(own).map((language) => [language, { ...bottleneckWords[language], ...own[language] }]),
);

export function mount(root, page) {
  const none = make("p", { className: "empty", hidden: true }, page.t("no_lines"));
  const box = el("div", "stack");
  root.append(el("section", "", none, box));
  const sections = new Keyed(box, (line) => lineSection(page, line.line));
  page.poll("/api/lines", (lines) => {
    sections.update(lines, (one) => one.line);
    none.hidden = lines.length > 0;
  }, EVERY_MS, (failure) => {
    if (failure?.status === 404) none.hidden = false;
  });
  return {};
}

function lineSection(page, name) {
  const { t } = page;
  const view = { hours: 8, machine: "" };
  const figure = el("span", "count");
  const machines = new Grid(`${t("line")} ${name}`, [
    { head: t("machine"), show: (row) => row.machine },
    { head: t("state"), show: (row) => `${t(row.state)}, ${ago(row.since_ms)}` },
    ...["oee", "availability", "effectiveness", "quality_ratio"].map((key) => ({ head: t(key), isNumber: true, show: (row) => percent(row.current?.indicators[key]) })),
    { head: t("known"), isNumber: true, show: (row) => percent(row.current?.coverage) },
    { head: t("parts"), isNumber: true, show: (row) => number(row.current?.elements.pq) },
    { head: t("scrap"), isNumber: true, show: (row) => number(row.current?.elements.sq) },
    { head: t("rework"), isNumber: true, show: (row) => number(row.current?.elements.rq) },
  ], (row) => (row.state === "down" ? "abnormal" : row.state === "unknown" || row.current?.is_ideal_cycle_wrong ? "warning" : ""));
  const times = timeline(page, STATES);
  const choices = HOURS.map((hours) => {
    const button = make("button", { type: "button", "aria-pressed": String(hours === view.hours) }, t("hours", { n: hours }));
    button.onclick = () => {
      view.hours = hours;
      for (const [other, n] of choices) other.setAttribute("aria-pressed", String(n === hours));
      poll.now();
    };
    return [button, hours];
  });
  const select = make("select", { "aria-label": t("machine") });
  const tree = lossTree(page);
  const shifts = shiftTable(page);
  const none = make("p", { className: "empty", hidden: true }, t("no_shift"));
  let known = null;
  select.onchange = () => {
    view.machine = select.value;
    tree.update(known.machines.find((one) => one.machine === view.machine)?.current ?? null);
    closed.now();
  };
  const root = el("section", "line-view",
    make("h2", {}, `${t("line")} ${name}`, figure), machines.root, bottleneckSection(page, name),
    make("h3", {}, t("states")), el("div", "spans", ...choices.map(([button]) => button)), times.root,
    el("div", "tools", make("h3", {}, t("losses")), select), tree.root,
    make("h3", {}, t("shifts")), none, shifts.root);
  const at = encodeURIComponent(name);
  const poll = page.poll(() => `/api/lines/${at}/states?from=${Math.round(daemonNow() - view.hours * HOUR_MS)}&to=${Math.round(daemonNow())}&most=1500`, (answer) => times.update(answer), EVERY_MS);
  const closed = page.poll(() => `/api/lines/${at}/shifts?limit=30&machine=${encodeURIComponent(view.machine)}`, (rows) => {
    shifts.update(rows);
    none.hidden = rows.length > 0;
  }, EVERY_MS);
  return {
    root,
    update(line) {
      known = line;
      machines.update(line.machines, (one) => one.machine);
      if (!select.options.length) {
        select.append(...line.machines.map((one) => make("option", { value: one.machine }, one.machine)));
        select.value = view.machine = line.oee_of;
      }
      const now = line.current;
      text(figure, now ? `${t("oee")} ${percent(now.indicators.oee)} · ${t("running_shift", { name: now.shift, time: clock(now.start_ms) })}` : t("no_shift_now"));
      tree.update(line.machines.find((one) => one.machine === view.machine)?.current ?? null);
    },
  };
}

/** The tree of the time of a shift: one row a node, as deep as it is indented. */
function lossTree(page) {
  const { t } = page;
  const warning = make("p", { className: "failure" });
  const body = el("tbody");
  const rows = new Keyed(body, () => lossRow(page));
  const head = el("tr", "", ...["loss", "min_head", "share", "stops"].map((one) => make("th", { scope: "col", className: one === "loss" ? "" : "number" }, one === "min_head" ? t("min", { n: "" }).trim() : t(one))), make("th", { scope: "col" }, ""));
  const table = el("table", "grid losses", make("caption", { className: "hidden-text" }, t("losses")), el("thead", "", head), body);
  const box = make("div", { className: "grid-box", tabIndex: 0, role: "region", "aria-label": t("losses"), hidden: true }, table);
  return {
    root: el("div", "", warning, box),
    update(result) {
      const flat = result ? flatten(result.losses, 0, result.losses.seconds || 1) : [];
      rows.update(flat, (one) => one.key);
      box.hidden = flat.length === 0;
      text(warning, result?.is_ideal_cycle_wrong ? t("too_fast") : "");
    },
  };
}

function flatten(node, depth, whole, path = "") {
  const key = `${path}/${node.name}`;
  const rest = (node.parts ?? []).flatMap((one) => flatten(one, depth + 1, whole, key));
  return [{ key, depth, name: node.name, seconds: node.seconds, n: node.n, share: node.seconds / whole, big: node.big_loss }, ...rest];
}

function lossRow(page) {
  const { t } = page;
  const [name, minutes, share, count] = [make("th", { scope: "row" }), el("td", "number"), el("td", "number"), el("td", "number")];
  const bar = el("i");
  const root = el("tr", "", name, minutes, share, count, el("td", "loss-bar", make("span", { className: "track", "aria-hidden": "true" }, bar)));
  return {
    root,
    update(row) {
      root.className = row.big ? "loss" : "";
      name.style.paddingLeft = `${0.6 + row.depth * 1.2}rem`;
      text(name, t(row.name === "shift" ? "shift_node" : row.name));
      text(minutes, number(Math.round(row.seconds / 6) / 10));
      text(share, percent(row.share));
      text(count, row.n ? number(row.n) : "");
      fill(bar, row.share);
    },
  };
}

function shiftTable(page) {
  const { t } = page;
  const grid = new Grid(t("shifts"), [
    { head: t("shift"), show: (row) => `${row.day} ${row.shift}` },
    { head: t("machine"), show: (row) => row.machine },
    ...["oee", "availability", "effectiveness", "quality_ratio"].map((key) => ({ head: t(key), isNumber: true, show: (row) => percent(row.indicators[key]) })),
    { head: t("known"), isNumber: true, show: (row) => percent(row.coverage) },
    { head: t("parts"), isNumber: true, show: (row) => number(row.elements.pq) },
    { head: t("breakdowns"), isNumber: true, show: (row) => number(row.stops.down) },
    { head: t("minor_stops"), isNumber: true, show: (row) => number(row.stops.minor) },
  ], (row) => (row.is_ideal_cycle_wrong ? "warning" : ""));
  return { root: grid.root, update: (rows) => grid.update(rows, (row) => `${row.machine} ${row.start_ms}`) };
}

function percent(share) {
  return typeof share === "number" ? `${number(Math.round(share * 1000) / 10)} %` : "–";
}
