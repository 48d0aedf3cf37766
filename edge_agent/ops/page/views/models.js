// Models: what is in service, and of one model its versions, signature, card, drift and shadow.

import { duration, el, make, number, set, stamp, text } from "/static/dom.js";
import { Facts, Grid } from "/static/grid.js";

const TRIAL_MS = 90000; // a version is tried before it is chosen

export const words = {
  en: {
    none: "No model is in service.", name: "Model", version: "Version", state: "State", mode: "Mode", task: "Task", runs_on: "Runs on", latency: "p50 / p99, ms",
    promised: "False alarms a day, promised", judged: "Alarms / false / true", precision: "Precision (of those called true or false)", false_a_day: "False alarms a day, counted", versions: "Installed versions", signer: "Signed by", window: "Window", variants: "Variants",
    threshold: "Limit", inputs: "Inputs", activate: "Activate", start_shadow: "Score in parallel", rollback: "Roll back", stop_shadow: "End the shadow", sure: "Yes",
    means_activate: "{name}: version {version} becomes the active one. It is tried in a process of its own first, which takes some seconds; a bad one is refused, and what is active stays.",
    means_shadow: "{name}: version {version} scores beside the active one and raises no alarm. The report below compares both.",
    means_rollback: "{name}: the version that was active before ({version}) becomes active again.", means_stop_shadow: "{name}: the comparison with version {version} ends.",
    waits: "It is tried …", chosen: "Chosen. The list shows when it is in service.", card: "Card of version {version}", drift: "Drift of the inputs (limit {limit})",
    no_drift: "No input was compared with the training data yet.", shadow_report: "Shadow compared with the active version", no_shadow: "No shadow was compared.",
    figure: "Figure", active: "active", previous: "previous", shelf: "installed", candidate: "candidate", windows: "Windows scored", not_a_number: "No number", failed: "Failed",
    would_alarm: "Would-be alarms", agreement_is: "Agreement {n} %, correlation {c}, {windows} windows over {time}", worst_assets: "Assets that differ most", apart: "Levels apart", only_active: "only active",
    only_candidate: "only candidate", both: "both", asset: "Asset", needs_models: "To choose versions, a key with the scope models is needed.", unit: "Unit", valid: "Valid range", back: "All models",
    unsigned: "not signed", not_trusted: "not trusted", broken: "signature broken", false_alarms_per_day: "False alarms a day", learned_rows: "Learned rows", season_zone: "Season by the hours of",
    calibration: "Limit set by", training: "Training", teacher: "Teacher", distillation: "Distillation", pruning: "Pruning", quantization: "Quantization", benchmarks: "Benchmarks", classes: "Classes", more: "{n} more",
  },
  de: {
    none: "Kein Modell ist in Betrieb.", name: "Modell", version: "Version", state: "Zustand", mode: "Art", task: "Aufgabe", runs_on: "Läuft auf", latency: "p50 / p99, ms",
    promised: "Fehlalarme am Tag, versprochen", judged: "Alarme / falsch / echt", precision: "Präzision (der als echt oder falsch gemeldeten)", false_a_day: "Fehlalarme am Tag, gezählt", versions: "Installierte Versionen", signer: "Signiert von", window: "Fenster", variants: "Varianten",
    threshold: "Grenze", inputs: "Eingänge", activate: "Aktivieren", start_shadow: "Mitlaufen lassen", rollback: "Zurück zur vorigen", stop_shadow: "Mitlauf beenden", sure: "Ja",
    means_activate: "{name}: Version {version} wird aktiv. Sie wird zuerst einige Sekunden lang in einem eigenen Prozess geprüft; eine schlechte wird abgelehnt, und die aktive bleibt.",
    means_shadow: "{name}: Version {version} rechnet neben der aktiven und löst keinen Alarm aus. Der Bericht unten vergleicht beide.",
    means_rollback: "{name}: die zuvor aktive Version ({version}) wird wieder aktiv.", means_stop_shadow: "{name}: der Vergleich mit Version {version} endet.",
    waits: "Wird geprüft …", chosen: "Gewählt. Die Liste zeigt, wann sie in Betrieb ist.", card: "Karte der Version {version}", drift: "Abweichung der Eingänge (Grenze {limit})",
    no_drift: "Noch wurde kein Eingang mit den Trainingsdaten verglichen.", shadow_report: "Mitlaufende Version im Vergleich mit der aktiven", no_shadow: "Kein Mitlauf wurde verglichen.",
    figure: "Größe", active: "aktiv", previous: "vorige", shelf: "installiert", candidate: "Kandidat", windows: "Bewertete Fenster", not_a_number: "Keine Zahl", failed: "Fehlgeschlagen",
    would_alarm: "Alarme, die es gäbe", agreement_is: "Übereinstimmung {n} %, Korrelation {c}, {windows} Fenster in {time}", worst_assets: "Anlagen mit dem größten Unterschied", apart: "Abstand der Pegel", only_active: "nur aktive",
    only_candidate: "nur Kandidat", both: "beide", asset: "Anlage", needs_models: "Um Versionen zu wählen, braucht es einen Schlüssel mit dem Recht models.", unit: "Einheit", valid: "Gültiger Bereich", back: "Alle Modelle",
    unsigned: "nicht signiert", not_trusted: "nicht vertraut", broken: "Signatur beschädigt", false_alarms_per_day: "Fehlalarme am Tag", learned_rows: "Gelernte Zeilen", season_zone: "Saison nach den Stunden von",
    calibration: "Grenze bestimmt durch", training: "Training", teacher: "Lehrer", distillation: "Destillation", pruning: "Beschneidung", quantization: "Quantisierung", benchmarks: "Messungen", classes: "Klassen", more: "{n} weitere",
  },
  zh: {
    none: "没有运行中的模型。", name: "模型", version: "版本", state: "状态", mode: "方式", task: "任务", runs_on: "运行于", latency: "p50 / p99，毫秒",
    promised: "承诺的每日误报", judged: "报警 / 误报 / 真实", precision: "精确率（已判定的报警）", false_a_day: "每日误报，实际", versions: "已安装的版本", signer: "签名者", window: "窗口", variants: "变体",
    threshold: "限值", inputs: "输入", activate: "启用", start_shadow: "并行评分", rollback: "回退", stop_shadow: "结束并行评分", sure: "是",
    means_activate: "{name}：版本 {version} 将启用。先在独立进程中试运行几秒；不合格则拒绝，当前版本保持不变。",
    means_shadow: "{name}：版本 {version} 与当前版本并行评分，不产生报警。下面的报告对两者进行比较。",
    means_rollback: "{name}：之前启用的版本（{version}）将重新启用。", means_stop_shadow: "{name}：与版本 {version} 的比较结束。",
    waits: "正在试运行…", chosen: "已选择。列表会显示何时投入运行。", card: "版本 {version} 的说明", drift: "输入的漂移（限值 {limit}）",
    no_drift: "尚未将任何输入与训练数据比较。", shadow_report: "并行版本与当前版本的比较", no_shadow: "没有并行版本的比较。",
    figure: "指标", active: "启用", previous: "上一个", shelf: "已安装", candidate: "候选", windows: "已评分窗口", not_a_number: "非数值", failed: "失败",
    would_alarm: "本会产生的报警", agreement_is: "一致 {n} %，相关 {c}，{time} 内 {windows} 个窗口", worst_assets: "差异最大的设备", apart: "水平差", only_active: "仅当前",
    only_candidate: "仅候选", both: "两者", asset: "设备", needs_models: "选择版本需要具有 models 权限的密钥。", unit: "单位", valid: "有效范围", back: "所有模型",
    unsigned: "未签名", not_trusted: "不受信任", broken: "签名损坏", false_alarms_per_day: "每日误报", learned_rows: "学习的行数", season_zone: "按此时区的小时划分季节",
    calibration: "限值依据", training: "训练", teacher: "教师模型", distillation: "蒸馏", pruning: "剪枝", quantization: "量化", benchmarks: "基准", classes: "类别", more: "另有 {n} 个",
  },
  ja: {
    none: "稼働中のモデルはありません。", name: "モデル", version: "バージョン", state: "状態", mode: "方式", task: "タスク", runs_on: "実行環境", latency: "p50 / p99、ms",
    promised: "約束された1日の誤報", judged: "警報 / 誤報 / 正報", precision: "適合率（判定済みの警報）", false_a_day: "1日の誤報、実績", versions: "インストール済みバージョン", signer: "署名者", window: "窓", variants: "変種",
    threshold: "限界", inputs: "入力", activate: "有効にする", start_shadow: "並行して採点", rollback: "元に戻す", stop_shadow: "並行採点を終了", sure: "はい",
    means_activate: "{name}：バージョン {version} を有効にします。先に別プロセスで数秒間試験し、不良なら拒否され、現在のものが残ります。",
    means_shadow: "{name}：バージョン {version} が現在のものと並行して採点し、警報は出しません。下の報告が両者を比べます。",
    means_rollback: "{name}：以前に有効だったバージョン（{version}）を再び有効にします。", means_stop_shadow: "{name}：バージョン {version} との比較を終了します。",
    waits: "試験中…", chosen: "選択しました。稼働したかは一覧に表示されます。", card: "バージョン {version} のカード", drift: "入力のドリフト（限界 {limit}）",
    no_drift: "学習データと比較された入力はまだありません。", shadow_report: "並行バージョンと現在のものの比較", no_shadow: "比較された並行バージョンはありません。",
    figure: "項目", active: "有効", previous: "以前", shelf: "インストール済み", candidate: "候補", windows: "採点した窓", not_a_number: "数値でない", failed: "失敗",
    would_alarm: "出たはずの警報", agreement_is: "一致 {n} %、相関 {c}、{time} で {windows} 窓", worst_assets: "最も異なる設備", apart: "水準の差", only_active: "現在のみ",
    only_candidate: "候補のみ", both: "両方", asset: "設備", needs_models: "バージョンの選択には models 権限の鍵が必要です。", unit: "単位", valid: "有効範囲", back: "すべてのモデル",
    unsigned: "署名なし", not_trusted: "信頼されていない", broken: "署名が壊れています", false_alarms_per_day: "1日の誤報", learned_rows: "学習した行数", season_zone: "季節の時間帯",
    calibration: "限界の根拠", training: "学習", teacher: "教師", distillation: "蒸留", pruning: "枝刈り", quantization: "量子化", benchmarks: "測定", classes: "クラス", more: "ほか {n} 個",
  },
};

const WRONG = new Set(["refused", "failing", "dropped", "broken", "not trusted"]);

export function mount(root, page, rest) {
  const box = el("div", "stack");
  root.append(box);
  let parts = [];
  const show = ([wanted = "", version = ""]) => {
    for (const end of parts) end();
    parts = [];
    box.replaceChildren();
    (wanted ? showModel : showAll)(box, page, wanted, (end) => parts.push(end), version);
  };
  show(rest);
  return { navigate: show, unmount: () => parts.forEach((end) => end()) };
}

// -- all models ----------------------------------------------------------------------------------

function showAll(box, page, _, onEnd) {
  const { t } = page;
  const grid = new Grid(t("models"), [
    { head: t("name"), node: (row) => nameLink(page, row) },
    { head: t("version"), show: (row) => (row.next ? `${row.version} → ${row.next}` : row.version) },
    { head: t("mode"), show: (row) => t(row.mode) },
    { head: t("state"), show: (row) => stateOf(row, t) },
    { head: t("task"), show: (row) => row.task ?? "" },
    { head: t("assets"), isNumber: true, show: (row) => number(row.assets) },
    { head: t("runs_on"), show: (row) => [row.variant, row.provider?.replace("ExecutionProvider", "")].filter(Boolean).join(" · ") },
    { head: t("latency"), isNumber: true, show: (row) => (row.latency_ms ? `${number(row.latency_ms.p50)} / ${number(row.latency_ms.p99)}` : "") },
    { head: t("promised"), isNumber: true, show: (row) => ("false_alarms_promised" in row ? number(row.false_alarms_promised) : "") },
    { head: t("judged"), isNumber: true, show: (row) => ("alarms" in row ? `${number(row.alarms)} / ${number(row.called_false)} / ${number(row.called_true)}` : "") },
  ], (row) => (WRONG.has(row.state) || row.refused || row.more_than_promised ? "abnormal" : ""));
  const empty = make("p", { className: "empty", hidden: true }, t("none"));
  box.append(el("section", "", make("h2", {}, t("models")), empty, grid.root));
  const poll = page.poll("/api/models", (rows) => {
    grid.update(rows, (row) => `${row.name} ${row.mode}`);
    empty.hidden = rows.length > 0;
  });
  onEnd(() => poll.end());
}

function nameLink(page, first) {
  const root = make("a", { href: page.linkTo("models", first.name) });
  return { root, update: (row) => text(root, row.name) };
}

function stateOf(row, t) {
  const why = row.reason || (row.refused ? `${row.refused_version}: ${row.refused}` : "");
  return [t(row.state), row.agreement === undefined ? "" : t("agreement", { n: number(100 * row.agreement) }), why].filter(Boolean).join(" · ");
}

// -- one model -----------------------------------------------------------------------------------

function showModel(box, page, name, onEnd, version) {
  const { t } = page;
  const path = `/api/models/${encodeURIComponent(name)}`;
  const failure = make("p", { className: "failure", role: "alert" });
  const state = make("p", { className: "muted" });
  const title = make("h2", {}, make("a", { href: page.linkTo("models") }, t("back")), ` › ${name}`);
  const may = page.can("models");
  const choice = new Choice(page, path, name, () => asked.now());
  const versions = versionsGrid(page, choice, may, name);
  const [card, drift, shadow] = [new Card(page), new DriftTable(page), new ShadowReport(page)];
  const more = el("div", "actions-line", choice.button("rollback"), choice.button("stop_shadow"));
  const hint = make("p", { className: "muted", hidden: may }, t("needs_models"));
  more.hidden = !may;
  box.append(el("section", "", title, state, failure, make("h2", {}, t("versions")), versions.root, more, choice.root, hint), card.root, drift.root, shadow.root);
  const asked = page.poll(version ? `${path}?version=${encodeURIComponent(version)}` : path, (found) => {
    text(failure, "");
    versions.update(found.versions, (row) => `${row.version} ${row.state}`);
    choice.update(found.versions);
    card.update(found.card);
    drift.update(found);
  }, 5000, (problem) => problem && text(failure, problem.message));
  let report = null; // asked for only if there is a shadow: without one it is a 404
  const rows = page.poll("/api/models", (all) => {
    const mine = all.filter((row) => row.name === name);
    text(state, mine.map((row) => `${row.version} ${stateOf(row, t)}`).join(" — "));
    if (report || !mine.some((row) => row.mode === "shadow")) return;
    report = page.poll(`${path}/report`, (found) => shadow.update(found), 5000);
    onEnd(() => report.end());
  });
  shadow.update(null);
  for (const poll of [asked, rows]) onEnd(() => poll.end());
}

function versionsGrid(page, choice, may, name) {
  const { t } = page;
  const columns = [
    { head: t("version"), node: (row) => versionLink(page, name, row) },
    { head: t("state"), show: (row) => [t(row.state), row.error].filter(Boolean).join(": ") },
    { head: t("signer"), show: (row) => t(row.signer ?? "").replace("not trusted", t("not_trusted")) },
    { head: t("task"), show: (row) => row.task ?? "" },
    { head: t("threshold"), isNumber: true, show: (row) => number(row.threshold) },
    { head: t("false_alarms_per_day"), isNumber: true, show: (row) => number(row.false_alarms_per_day) },
    { head: t("window"), show: (row) => row.window ?? "" },
    { head: t("variants"), show: (row) => row.variants ?? "" },
    { head: t("inputs"), show: (row) => (row.inputs ?? []).join(", ") },
  ];
  if (may) columns.push({ head: "", node: (row) => choice.buttonsOf(row) });
  return new Grid(t("versions"), columns, (row) => (row.error || WRONG.has(row.signer) ? "abnormal" : ""));
}

/** The version, which leads to its card. */
function versionLink(page, name, first) {
  const root = make("a", { href: page.linkTo("models", name, first.version) });
  return { root, update: (row) => text(root, row.version) };
}

/** The buttons that choose a version, and the question that comes before it. */
class Choice {
  constructor(page, path, name, onDone) {
    Object.assign(this, { page, path, name, onDone, wanted: null, buttons: {} });
    const { t } = page;
    this.means = el("p");
    this.comment = make("input", { maxLength: 500, placeholder: t("comment"), "aria-label": t("comment") });
    this.yes = make("button", { type: "button", onclick: () => this.send() }, t("sure"));
    const no = make("button", { type: "button", onclick: () => this.close() }, t("cancel"));
    this.question = make("div", { className: "question", role: "group", hidden: true }, this.means, this.comment, this.yes, no);
    this.question.onkeydown = (event) => event.key === "Escape" && this.close();
    this.outcome = make("p", { role: "status" });
    this.root = el("div", "", this.question, this.outcome);
  }

  button(kind) {
    this.buttons[kind] = make("button", { type: "button", hidden: true, onclick: () => this.ask(kind, this.buttons[kind].version) }, this.page.t(kind));
    return this.buttons[kind];
  }

  buttonsOf(first) {
    const kinds = { activate: "activate", shadow: "start_shadow" };
    const made = Object.entries(kinds).map(([kind, word]) =>
      make("button", { type: "button", onclick: () => this.ask(kind, first.version) }, this.page.t(word)));
    return {
      root: el("span", "buttons", ...made),
      update: (row) => made.forEach((one, place) => set(one, "hidden", row.state === "active" || (place === 1 && row.state === "shadow"))),
    };
  }

  update(versions) {
    const of = { rollback: "previous", stop_shadow: "shadow" };
    for (const [kind, button] of Object.entries(this.buttons)) {
      button.version = versions.find((row) => row.state === of[kind])?.version ?? "";
      set(button, "hidden", !button.version);
    }
  }

  ask(kind, version) {
    this.wanted = { kind, version };
    text(this.means, this.page.t(`means_${kind}`, { name: this.name, version }));
    text(this.outcome, "");
    this.outcome.className = "";
    this.question.hidden = false;
    this.comment.focus();
  }

  close() {
    this.question.hidden = true;
    this.comment.value = "";
  }

  async send() {
    const { kind, version } = this.wanted;
    const body = { comment: this.comment.value.trim(), ...(["activate", "shadow"].includes(kind) ? { version } : {}) };
    this.yes.disabled = true;
    text(this.outcome, this.page.t("waits"));
    const failure = await this.page.post(`${this.path}/${kind}`, body, undefined, TRIAL_MS);
    this.yes.disabled = false;
    this.outcome.className = failure ? "failure" : "done";
    text(this.outcome, failure || this.page.t("chosen"));
    if (failure) return;
    this.close();
    this.onDone();
    this.page.refresh();
  }
}

/** Nothing, where nobody has called an alarm true or false. */
const numberOf = (value) => (typeof value === "number" ? number(value) : "");
const shareOf = (value) => (typeof value === "number" ? `${number(100 * value)} %` : "");

class Card {
  constructor(page) {
    const { t } = page;
    this.t = t;
    this.title = el("h2");
    this.facts = new Facts();
    this.inputs = new Grid(t("inputs"), [
      { head: t("inputs"), show: (row) => row.name },
      { head: t("unit"), show: (row) => row.unit },
      { head: t("valid"), show: (row) => (row.valid ? `${number(row.valid[0])} … ${number(row.valid[1])}` : "") },
    ]);
    this.root = make("section", { hidden: true }, this.title, this.facts.root, this.inputs.root);
  }

  update(card) {
    this.root.hidden = !card;
    if (!card) return;
    const { t } = this;
    text(this.title, t("card", { version: card.version }));
    const names = card.asset_names.join(", ") + (card.assets > card.asset_names.length ? ` (${t("more", { n: card.assets - card.asset_names.length })})` : "");
    const said = card.judged ?? {};
    const counted = "alarms" in said ? `${number(said.alarms)} / ${number(said.called_false)} / ${number(said.called_true)}` : "";
    const told = Object.entries(card.told).map(([name, all]) => [t(name), Object.entries(all).map(([key, value]) => `${key.replaceAll("_", " ")}: ${value}`).join(" · ")]);
    this.facts.update([
      [t("task"), card.task], [t("threshold"), number(card.threshold)], [t("false_alarms_per_day"), number(card.false_alarms_per_day)],
      [t("judged"), counted], [t("precision"), shareOf(said.precision)], [t("false_a_day"), numberOf(said.false_a_day)],
      [t("classes"), card.classes.join(", ")], [t("assets"), names], [t("learned_rows"), card.learned_rows ? number(card.learned_rows) : ""], [t("season_zone"), card.season_zone], ...told,
    ]);
    this.inputs.update(card.inputs, (row) => row.name);
  }
}

class DriftTable {
  constructor(page) {
    const { t } = page;
    this.t = t;
    this.title = el("h2");
    this.none = make("p", { className: "empty" }, t("no_drift"));
    this.limit = Infinity;
    this.grid = new Grid("PSI, KS", [
      { head: t("inputs"), show: (row) => row.input },
      { head: "PSI", isNumber: true, show: (row) => number(row.psi) },
      { head: "KS", isNumber: true, show: (row) => number(row.ks) },
    ], (row) => (row.psi >= this.limit ? "abnormal" : ""));
    this.root = el("section", "", this.title, this.none, this.grid.root);
  }

  update(found) {
    this.limit = found.drift_limit;
    text(this.title, this.t("drift", { limit: number(found.drift_limit) }));
    this.none.hidden = found.drift.length > 0;
    this.grid.update(found.drift, (row) => row.input);
  }
}

class ShadowReport {
  constructor(page) {
    const { t } = page;
    this.t = t;
    this.none = make("p", { className: "empty" }, t("no_shadow"));
    this.summary = el("p");
    this.sides = new Grid(t("shadow_report"), [
      { head: t("figure"), show: (row) => row[0] },
      { head: t("active"), isNumber: true, show: (row) => row[1] },
      { head: t("candidate"), isNumber: true, show: (row) => row[2] },
    ]);
    this.worst = new Grid(t("worst_assets"), [
      { head: t("asset"), show: (row) => row.asset },
      ...["both", "only_active", "only_candidate"].map((key) => ({ head: t(key), isNumber: true, show: (row) => number(row[key]) })),
      { head: t("apart"), isNumber: true, show: (row) => number(row.level_apart) },
    ]);
    this.root = el("section", "", make("h2", {}, t("shadow_report")), this.none, this.summary, this.sides.root, this.worst.root);
  }

  update(report) {
    const { t } = this;
    this.none.hidden = Boolean(report);
    const sides = report ? [report.active, report.candidate] : [];
    const rows = { version: "version", windows: "windows", not_a_number: "not_a_number", failed: "failed", alarms: "would_alarm" };
    const figures = Object.entries(rows).map(([key, word]) => [t(word), ...sides.map((one) => (typeof one?.[key] === "number" ? number(one[key]) : one?.[key] ?? "–"))]);
    figures.push([t("latency"), ...sides.map((one) => (one?.latency_ms ? `${number(one.latency_ms.p50)} / ${number(one.latency_ms.p99)}` : "–"))]);
    this.sides.update(report ? figures : [], (row) => row[0]);
    this.worst.update(report?.worst ?? [], (row) => row.asset);
    const over = report ? duration((report.to_ms - report.from_ms) / 1000) : "";
    text(this.summary, report ? [t(report.state), report.reason, t("agreement_is", { n: number(100 * report.agreement), c: number(report.correlation), windows: number(report.compared), time: over }), `${stamp(report.from_ms)} – ${stamp(report.to_ms)}`].filter(Boolean).join(" · ") : "");
  }
}
