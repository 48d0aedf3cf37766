// The maintenance plan: ranked jobs with their reasons, and the stops with their jobs over time. A proposal.

import { Keyed, clock, el, make, number, stamp, text } from "/static/dom.js";
import { headers } from "/static/session.js";

export const words = {
  en: { title: "Maintenance plan", proposal: "A proposal: nothing is ordered.", none: "There is no plan: the config has no section maintenance, or the first plan is being made.", empty: "Nothing to do.", rank: "Rank", asset: "Asset", job: "Job", until: "Until", stop: "Stop", from: "From", crew: "Crew", chance: "Failure before", cost: "Expected cost", wait: "Waiting costs", state: "State", planned: "in time", late: "too late", impossible: "not planned", why: "Why", made: "Made {time} by {by}, looks ahead to {until}", expected: "Failures before their stops: {cost} expected", over_time: "Stops and jobs over time", stops_label: "Stops", changed: "Changed since the last plan", noted: "Left out", csv: "CSV", ics: "Calendar (ics)", running: "while running", due: "due" },
  de: { title: "Wartungsplan", proposal: "Ein Vorschlag: nichts wird bestellt.", none: "Es gibt keinen Plan: die Konfiguration hat keinen Abschnitt maintenance, oder der erste Plan entsteht gerade.", empty: "Nichts zu tun.", rank: "Rang", asset: "Anlage", job: "Arbeit", until: "Bis", stop: "Stillstand", from: "Ab", crew: "Team", chance: "Ausfall vorher", cost: "Erwartete Kosten", wait: "Warten kostet", state: "Stand", planned: "rechtzeitig", late: "zu spät", impossible: "nicht geplant", why: "Warum", made: "Erstellt {time} ({by}), blickt bis {until}", expected: "Ausfälle vor ihrem Stillstand: {cost} erwartet", over_time: "Stillstände und Arbeiten über der Zeit", stops_label: "Stillstände", changed: "Geändert seit dem letzten Plan", noted: "Nicht berücksichtigt", csv: "CSV", ics: "Kalender (ics)", running: "im Betrieb", due: "fällig" },
  zh: { title: "维护计划", proposal: "仅为建议：不会下达任何订单。", none: "没有计划：配置中没有 maintenance 部分，或首个计划正在生成。", empty: "没有任务。", rank: "排名", asset: "设备", job: "任务", until: "期限", stop: "停机", from: "开始", crew: "班组", chance: "此前失效", cost: "预期成本", wait: "等待的代价", state: "状态", planned: "按时", late: "过迟", impossible: "未计划", why: "原因", made: "生成于 {time}（{by}），展望至 {until}", expected: "停机前失效：预期 {cost}", over_time: "停机与任务时间图", stops_label: "停机", changed: "与上次计划相比的变化", noted: "未纳入", csv: "CSV", ics: "日历 (ics)", running: "运行中", due: "到期" },
  ja: { title: "保全計画", proposal: "提案です。発注はされません。", none: "計画はありません。設定に maintenance がないか、最初の計画を作成中です。", empty: "作業はありません。", rank: "順位", asset: "設備", job: "作業", until: "期限", stop: "停止", from: "開始", crew: "班", chance: "それまでの故障", cost: "期待コスト", wait: "待つ場合の追加", state: "状態", planned: "期限内", late: "期限超過", impossible: "計画不可", why: "理由", made: "作成 {time}（{by}）、{until} まで", expected: "停止前の故障：期待値 {cost}", over_time: "停止と作業の時間図", stops_label: "停止", changed: "前回の計画からの変更", noted: "対象外", csv: "CSV", ics: "カレンダー (ics)", running: "運転中", due: "期限" },
};

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, LEFT, ROW, AXIS] = [1000, 150, 26, 24];
const DAY_MS = 86_400_000;

export function mount(root, page) {
  const { t } = page;
  const head = el("p", "muted");
  const expected = el("p");
  const none = make("p", { className: "empty", hidden: true }, t("none"));
  const empty = make("p", { className: "empty", hidden: true }, t("empty"));
  const lines = new Keyed(el("tbody"), () => lineOf(page));
  const titles = ["rank", "state", "asset", "job", "until", "stop", "from", "crew", "chance", "cost", "wait"];
  const heads = titles.map((one) => make("th", { scope: "col", className: NUMBERS.has(one) ? "number" : "" }, t(one)));
  const table = el("table", "grid plan-lines", make("caption", { className: "hidden-text" }, t("title")), el("thead", "", el("tr", "", ...heads)), lines.root);
  const box = make("div", { className: "grid-box", tabIndex: 0, role: "region", "aria-label": t("title") }, table);
  const drawing = el("div", "plan-time");
  const changes = new Keyed(el("ul"), () => itemOf((one) => page.pick(one.text)));
  const notes = new Keyed(el("ul"), () => itemOf((one) => one));
  const changed = el("section", "", make("h2", {}, t("changed")), changes.root);
  const noted = el("section", "", make("h2", {}, t("noted")), notes.root);
  const links = el("p", "", download(page, "csv", t("csv")), " · ", download(page, "ics", t("ics")));
  const whole = el("div", "stack",
    el("section", "", make("h2", {}, t("title")), el("p", "", t("proposal")), head, expected, empty, box, links),
    el("section", "", make("h2", {}, t("over_time")), drawing), changed, noted);
  whole.hidden = true;
  root.append(el("div", "stack", none, whole));

  const show = (plan) => {
    none.hidden = true;
    whole.hidden = false;
    text(head, t("made", { time: stamp(plan.at_ms), by: plan.by, until: stamp(plan.until_ms) }));
    text(expected, t("expected", { cost: money(plan.expected_cost, plan.currency) }));
    lines.update(plan.lines.map((one) => ({ ...one, currency: plan.currency })), (one) => one.job);
    empty.hidden = plan.lines.length > 0;
    box.hidden = plan.lines.length === 0;
    drawing.replaceChildren(drawn(plan, page));
    changes.update(plan.changes, (one) => one.job);
    changed.hidden = plan.changes.length === 0;
    notes.update(plan.notes, (one) => one);
    noted.hidden = plan.notes.length === 0;
  };
  const read = async () => {
    try {
      show((await page.get("/api/plan")).body);
    } catch (error) {
      if (error.status !== 404) return;
      none.hidden = false;
      whole.hidden = true;
    }
  };
  read();
  const timer = setInterval(() => document.visibilityState === "visible" && read(), 15_000);
  page.onEnd(() => clearInterval(timer));
  return {};
}

const NUMBERS = new Set(["rank", "chance", "cost", "wait"]);
const MARKS = { planned: "", late: "abnormal", impossible: "abnormal" };

/** A row of the table: the job opens its reasons. */
function lineOf(page) {
  const cells = Object.fromEntries(["rank", "state", "asset", "job", "until", "stop", "from", "crew", "chance", "cost", "wait"]
    .map((one) => [one, el("td", NUMBERS.has(one) ? "number" : "")]));
  const link = make("a", { href: "#" });
  cells.asset.append(link);
  const [what, why] = [el("summary"), el("p", "plan-why")];
  cells.job.append(el("details", "", what, why));
  const root = el("tr", "", ...Object.values(cells));
  return {
    root,
    update(line) {
      root.className = MARKS[line.status] ?? "";
      text(cells.rank, line.rank);
      text(cells.state, page.t(line.status));
      link.href = page.linkTo("asset", line.asset);
      text(link, line.asset);
      text(what, page.pick(line.what));
      text(why, page.pick(line.why));
      text(cells.until, moment(line.due_ms));
      text(cells.stop, stopName(line, page));
      text(cells.from, moment(line.start_ms));
      text(cells.crew, line.crew);
      text(cells.chance, `${number(Math.round(1000 * line.probability) / 10)} %`);
      text(cells.cost, money(line.expected_cost, line.currency));
      text(cells.wait, `+ ${money(line.wait_cost, line.currency)}`);
    },
  };
}

function stopName(line, page) {
  if (!line.stop) return "–";
  return line.stop.running ? page.t("running") : line.stop.name;
}

/** A time without year and seconds, so that a row is one line. */
function moment(ms) {
  const form = { weekday: "short", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return ms === null ? "–" : new Date(ms).toLocaleString(navigator.language, form);
}

function itemOf(show) {
  const root = el("li");
  return { root, update: (one) => text(root, show(one)) };
}

function money(amount, currency) {
  return `${Math.round(amount).toLocaleString(navigator.language)} ${currency}`;
}

/** A link that fetches the file with the page's key. */
function download(page, form, name) {
  const button = make("button", { type: "button" }, name);
  button.onclick = async () => {
    const answer = await fetch(`/api/plan?format=${form}&language=${page.language}`, { headers: headers() });
    if (!answer.ok) return;
    const url = URL.createObjectURL(await answer.blob());
    make("a", { href: url, download: `plan.${form}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return button;
}

// The drawing ----------------------------------------------------------------------------------------

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The stops with jobs, each a row: its span, and its jobs in it. What it says is in the table, too. */
function drawn(plan, page) {
  const rows = rowsOf(plan);
  const span = spanOf(plan, rows);
  const x = (ms) => LEFT + ((WIDTH - LEFT) * (ms - span.from)) / (span.to - span.from);
  const height = AXIS + ROW * Math.max(1, rows.length);
  const label = page.t("over_time");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label, class: "gantt" });
  drawing.append(...axisOf(span, x, height));
  rows.forEach((row, number) => drawing.append(...rowOf(row, AXIS + number * ROW, x, page)));
  return drawing;
}

const MOST_ROWS = 14;

/** The stops that have jobs or are near, in order of time. */
function rowsOf(plan) {
  const jobs = plan.lines.filter((one) => one.start_ms !== null);
  const stops = new Map(plan.stops.map((one) => [one.id, { ...one, jobs: [] }]));
  for (const line of jobs) {
    if (!stops.has(line.stop.id)) stops.set(line.stop.id, { ...line.stop, jobs: [] });
    stops.get(line.stop.id).jobs.push(line);
  }
  const all = [...stops.values()].sort((a, b) => a.start_ms - b.start_ms);
  const last = Math.max(plan.at_ms, ...jobs.map((one) => one.start_ms));
  return all.filter((one) => one.jobs.length > 0 || one.start_ms < last).slice(0, MOST_ROWS);
}

function spanOf(plan, rows) {
  const ends = [...rows.map((one) => one.end_ms), ...plan.lines.map((one) => one.due_ms)].filter((one) => one <= plan.until_ms);
  const to = Math.max(plan.at_ms + DAY_MS, ...ends);
  return { from: plan.at_ms, to: to + (to - plan.at_ms) * 0.03 };
}

/** Lines at midnight, with the day: as many as there is room for. */
function axisOf(span, x, height) {
  const found = [];
  const days = (span.to - span.from) / DAY_MS;
  const step = Math.max(1, Math.ceil(days / 10));
  const day = new Date(span.from);
  day.setHours(24, 0, 0, 0);
  for (; day.getTime() < span.to; day.setDate(day.getDate() + step)) {
    const at = x(day.getTime());
    found.push(svg("line", { x1: at, x2: at, y1: AXIS - 6, y2: height, class: "grid-line" }));
    const name = day.toLocaleDateString(navigator.language, { month: "short", day: "numeric" });
    found.push(svg("text", { x: at + 3, y: 14 }, name));
  }
  return found;
}

function rowOf(row, y, x, page) {
  const name = row.running ? page.t("running") : row.name;
  const shown = name.length > 20 ? `${name.slice(0, 19)}…` : name;
  const found = [svg("text", { x: 2, y: y + 17 }, shown)];
  const stop = svg("rect", { x: x(row.start_ms), y: y + 2, width: width(row, x), height: ROW - 4, class: "stop" });
  stop.append(svg("title", {}, `${name}: ${stamp(row.start_ms)} – ${stamp(row.end_ms)}`));
  found.push(stop);
  const high = (ROW - 8) / Math.max(1, row.jobs.length);
  row.jobs.forEach((line, number) => {
    const job = svg("rect", {
      x: x(line.start_ms), y: y + 4 + number * high, width: width(line, x), height: Math.max(2, high - 1),
      class: `job ${line.status}`,
    });
    job.append(svg("title", {}, `${line.asset}: ${page.pick(line.what)}, ${line.crew}, ${clock(line.start_ms)} – ${clock(line.end_ms)}`));
    found.push(job);
  });
  for (const line of row.jobs) {
    const at = Math.min(x(line.due_ms), WIDTH - 1);
    found.push(svg("line", { x1: at, x2: at, y1: y + 2, y2: y + ROW - 2, class: "due" }, svg("title", {}, `${line.asset}: ${page.t("due")} ${stamp(line.due_ms)}`)));
  }
  const last = Math.max(row.end_ms, ...row.jobs.map((one) => one.end_ms));
  const assets = [...new Set(row.jobs.map((one) => one.asset))].join(", ");
  if (assets) found.push(placed(assets, x, row.start_ms, last, y));
  return found;
}

/** The assets beside their stop: on its right, or on its left where there is no room. */
function placed(words, x, from, to, y) {
  const isRight = x(to) + words.length * 7 < WIDTH;
  const at = isRight ? x(to) + 4 : Math.max(LEFT, x(from)) - 4;
  return svg("text", { x: at, y: y + 17, "text-anchor": isRight ? "start" : "end" }, words);
}

function width(one, x) {
  return Math.max(2, x(one.end_ms) - x(one.start_ms));
}
