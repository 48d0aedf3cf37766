// The trends of an asset: score against its limit, inputs, contributions; pan and zoom by keys, pointer, buttons.

import { daemonNow, duration, el, make, number, stamp, text } from "/static/dom.js";
import { nearest, strip } from "/static/plot.js";

const EVERY_MS = 10000;
const HOUR_MS = 3600000;
const SPANS = [["1 h", 1], ["8 h", 8], ["1 d", 24], ["1 w", 168], ["1 m", 720], ["3 m", 2190], ["1 y", 8760]];
const LEAST_MS = 300000;
const MOST_MS = 10 * 8760 * HOUR_MS;
const TABLE_ROWS = 200;
const LEGEND = ["gap", "uncertain", "bad", "replayed", "raised", "late", "limit"];

export const trendWords = {
  en: {
    trends: "Trends", span: "Span", earlier: "Earlier", later: "Later", zoom_in: "Zoom in", zoom_out: "Zoom out", now: "Now",
    hint: "Left and right move in time, plus and minus zoom, Home returns to now, Shift with left and right reads values.",
    inputs_trend: "Inputs", contributions: "Contributions to the score", table: "Values as a table", time: "time", step: "step {time}",
    gap: "no value", replayed: "came late", raised: "alarm", late: "alarm, told late", no_trends: "This gateway keeps no trends (trends.enabled).", empty_trend: "No values in this time.",
  },
  de: {
    trends: "Verläufe", span: "Zeitraum", earlier: "Früher", later: "Später", zoom_in: "Vergrößern", zoom_out: "Verkleinern", now: "Jetzt",
    hint: "Links und rechts bewegen in der Zeit, Plus und Minus vergrößern und verkleinern, Pos1 kehrt zu jetzt zurück, Umschalt mit links und rechts liest Werte ab.",
    inputs_trend: "Eingänge", contributions: "Beiträge zum Wert", table: "Werte als Tabelle", time: "Zeit", step: "Schritt {time}",
    gap: "kein Wert", replayed: "kam spät", raised: "Alarm", late: "Alarm, spät gemeldet", no_trends: "Dieses Gateway führt keine Verläufe (trends.enabled).", empty_trend: "Keine Werte in dieser Zeit.",
  },
  zh: {
    trends: "趋势", span: "时间范围", earlier: "更早", later: "更晚", zoom_in: "放大", zoom_out: "缩小", now: "现在",
    hint: "左右键移动时间，加减键缩放，Home 键回到现在，Shift 加左右键读取数值。",
    inputs_trend: "输入", contributions: "对分数的贡献", table: "表格形式的数值", time: "时间", step: "步长 {time}",
    gap: "无数值", replayed: "迟到", raised: "报警", late: "报警（迟报）", no_trends: "此网关不保存趋势（trends.enabled）。", empty_trend: "此时段没有数值。",
  },
  ja: {
    trends: "トレンド", span: "期間", earlier: "前へ", later: "次へ", zoom_in: "拡大", zoom_out: "縮小", now: "現在",
    hint: "左右キーで時間を移動、プラスとマイナスで拡大縮小、Home で現在に戻り、Shift と左右で値を読みます。",
    inputs_trend: "入力", contributions: "スコアへの寄与", table: "値の表", time: "時刻", step: "刻み {time}",
    gap: "値なし", replayed: "遅れて到着", raised: "アラーム", late: "アラーム（遅れて通知）", no_trends: "このゲートウェイはトレンドを保存しません（trends.enabled）。", empty_trend: "この期間に値はありません。",
  },
};

/** The section of trends of one asset. */
export function trendSection(page, asset) {
  const view = { span: HOUR_MS, end: null, cursor: null, answer: null }; // end null: now
  const strips = new Map();
  const about = make("p", { className: "muted about", role: "status" });
  const plots = make("div", { className: "plots", tabIndex: 0, role: "group", "aria-label": `${page.t("trends")}. ${page.t("hint")}` });
  const axis = make("div", { className: "axis muted", "aria-hidden": "true" });
  const table = el("table");
  const tables = el("details", "", el("summary", "", page.t("table")), el("div", "scroll", table));
  const buttons = el("div", "spans");
  const root = el("section", "trends", make("h2", {}, page.t("trends"), buttons), about, plots, legend(page), tables);

  const seen = () => {
    const to = view.end ?? daemonNow();
    return { from: to - view.span, to };
  };
  const path = () => {
    const { from, to } = seen();
    const points = Math.max(60, Math.min(600, Math.round((plots.clientWidth || 900) / 2)));
    return `/api/trend?asset=${encodeURIComponent(asset)}&from=${Math.round(from)}&to=${Math.round(to)}&points=${points}`;
  };
  const poll = page.poll(path, (answer) => {
    view.answer = answer;
    draw();
  }, EVERY_MS, (failure) => {
    if (failure) text(about, failure.status === 404 && !failure.hint ? page.t("no_trends") : failure.message);
  });

  function draw() {
    const { answer } = view;
    const span = seen();
    showStrips(page, plots, strips, answer, span);
    plots.append(axis);
    showAxis(axis, span);
    const some = answer.series.some((one) => one.time_ms.length);
    text(about, some ? `${stamp(span.from)} – ${stamp(span.to)} · ${page.t("step", { time: duration(answer.step_s) })}` : page.t("empty_trend"));
    if (tables.open) showTable(page, table, answer);
  }

  function go(span, end) {
    view.span = Math.max(LEAST_MS, Math.min(MOST_MS, span));
    view.end = end === null || end >= daemonNow() ? null : end;
    view.cursor = null;
    for (const [button, ms] of choices) button.setAttribute("aria-pressed", String(ms === view.span));
    if (view.answer) draw();
    poll.now();
  }
  const move = (share) => go(view.span, seen().to + share * view.span);
  const zoom = (factor, at = 0.5) => {
    const { from } = seen();
    const span = Math.max(LEAST_MS, Math.min(MOST_MS, view.span * factor));
    const end = from + at * view.span + (1 - at) * span;
    go(span, view.end === null && factor < 1 ? null : end);
  };
  function read(ms) {
    view.cursor = ms;
    for (const part of strips.values()) part.point(ms);
    if (ms !== null) text(about, stamp(ms));
  }

  const choices = SPANS.map(([label, hours]) => {
    const button = make("button", { type: "button", "aria-pressed": String(hours === 1) }, label);
    button.onclick = () => go(hours * HOUR_MS, view.end);
    return [button, hours * HOUR_MS];
  });
  const tools = [["earlier", "◀", () => move(-0.5)], ["later", "▶", () => move(0.5)], ["zoom_in", "+", () => zoom(0.5)], ["zoom_out", "−", () => zoom(2)], ["now", page.t("now"), () => go(view.span, null)]];
  buttons.append(...choices.map(([button]) => button), ...tools.map(([word, sign, action]) => {
    const button = make("button", { type: "button", "aria-label": page.t(word), title: page.t(word) }, sign);
    button.onclick = action;
    return button;
  }));
  tables.ontoggle = () => tables.open && view.answer && showTable(page, table, view.answer);
  byKeys(plots, { move, zoom, home: () => go(view.span, null), read: (by) => {
    const { from, to } = seen();
    const step = (view.answer?.step_s ?? 10) * 1000;
    read(Math.max(from, Math.min(to, (view.cursor ?? to) + by * step)));
  } });
  byPointer(plots, { move, zoom, read, at: (share) => seen().from + share * view.span });
  return root;
}

/** Strips in the order of the answer: scores first, with their limits, then inputs, then contributions. */
function showStrips(page, plots, strips, answer, span) {
  const limits = new Map(answer.series.filter((one) => one.kind === "limit").map((one) => [one.name, one]));
  const kinds = ["score", "input", "contribution"];
  const shown = kinds.flatMap((kind) => answer.series.filter((one) => one.kind === kind && (kind !== "contribution" || one.time_ms.length)));
  const wanted = new Map(shown.map((one) => [`${one.kind}:${one.name}`, one]));
  for (const [key, part] of strips) {
    if (wanted.has(key)) continue;
    part.root.remove();
    strips.delete(key);
  }
  for (const [key, series] of wanted) {
    if (!strips.has(key)) {
      const label = series.kind === "contribution" ? `${page.t("contributions")}: ${series.name}` : series.kind === "score" ? `${page.t("score")} ${series.name}` : series.name;
      strips.set(key, strip(label));
    }
    const part = strips.get(key);
    part.className = `of-${series.kind}`;
    plots.append(part.root);
    const limit = series.kind === "score" ? limits.get(series.name) : undefined;
    const alarms = answer.alarms;
    part.update({ series, limit, alarms, marks: answer.marks, step_s: answer.step_s }, span);
  }
}

function showAxis(axis, { from, to }) {
  const day = { month: "2-digit", day: "2-digit" };
  const hour = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const form = to - from > 48 * HOUR_MS ? (to - from > 20 * 24 * HOUR_MS ? day : { ...day, ...hour }) : hour;
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => from + share * (to - from));
  axis.replaceChildren(...times.map((ms) => el("span", "", new Date(ms).toLocaleString(navigator.language, form))));
}

/** The newest buckets as rows: for screen readers, and whoever wants figures. */
function showTable(page, table, answer) {
  const series = answer.series.filter((one) => one.kind !== "limit" && one.time_ms.length);
  const times = [...new Set(series.flatMap((one) => one.time_ms))].sort((a, b) => b - a).slice(0, TABLE_ROWS);
  const heads = [page.t("time"), ...series.map((one) => (one.unit ? `${one.name} (${one.unit})` : one.name))];
  const head = el("tr", "", ...heads.map((one) => make("th", { scope: "col" }, one)));
  const rows = times.map((ms) => el("tr", "", make("th", { scope: "row" }, stamp(ms)), ...series.map((one) => {
    const at = nearest({ series: one, step_s: answer.step_s }, ms);
    const marks = at < 0 ? [] : Object.keys(answer.marks).filter((mark) => mark !== "held" && mark !== "over" && one.marks[at] & answer.marks[mark]);
    const words = marks.map((mark) => page.t(mark)).join(", ");
    return el("td", "", at < 0 ? page.t("gap") : `${number(one.mean[at])}${words ? ` (${words})` : ""}`);
  })));
  table.replaceChildren(el("thead", "", head), el("tbody", "", ...rows));
}

function legend(page) {
  return el("p", "legend muted", ...LEGEND.flatMap((kind) => [make("i", { className: kind, "aria-hidden": "true" }), el("span", "", page.t(kind))]));
}

function byKeys(plots, { move, zoom, home, read }) {
  const actions = {
    ArrowLeft: (shift) => (shift ? read(-1) : move(-0.25)),
    ArrowRight: (shift) => (shift ? read(1) : move(0.25)),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Home: home,
  };
  plots.onkeydown = (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    action(event.shiftKey);
  };
}

/** Drag to move, Ctrl and the wheel to zoom, double click to zoom in; the pointer reads values. */
function byPointer(plots, { move, zoom, read, at }) {
  let from = null;
  const shareOf = (event) => {
    const box = plots.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  plots.onpointerdown = (event) => {
    from = shareOf(event);
  };
  plots.onpointermove = (event) => event.pointerType !== "touch" && read(at(shareOf(event)));
  plots.onpointerleave = () => {
    from = null;
    read(null);
  };
  plots.onpointerup = (event) => {
    const moved = from === null ? 0 : from - shareOf(event);
    from = null;
    if (Math.abs(moved) > 0.02) move(moved);
  };
  plots.ondblclick = (event) => zoom(0.5, shareOf(event));
  plots.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.5 : 1 / 1.5, shareOf(event));
  }, { passive: false });
}
