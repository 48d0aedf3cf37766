// All alarms in a dense table: grouped, sorted, filtered; many are acknowledged or shelved at once.

import { SHELVE_MIN, SHAPES, TO_ACK, alarmCard, priorityOf, spanOf } from "/static/alarms.js";
import { get } from "/static/api.js";
import { Keyed, ago, el, make, set, stamp, text } from "/static/dom.js";
import { PARKED } from "/static/head.js";
import { VirtualRows, cell } from "/static/virtual.js";

const ROW_PX = 34;
const IDS_AT_ONCE = 50; // of at most 200 characters: a request holds 16 KiB
const GROUPS = ["none", "cause", "asset", "priority"];
const STATES = ["all", "waiting", "open", "parked"];
const PRIORITIES = ["critical", "high", "medium", "low"];
const TRANSITIONS = 20;
const PARTS = ["cause", "check", "mend"];
const PAST_MS = 200; // whoever runs through the list asks nothing

export const words = {
  en: {
    group: "Group by", group_none: "nothing", group_cause: "cause", group_asset: "asset", group_priority: "severity",
    show: "Show", show_all: "all", show_waiting: "to acknowledge", show_open: "not parked", show_parked: "shelved, suppressed",
    filter: "Search alarms", col_priority: "Severity", col_message: "Alarm", col_asset: "Asset", col_state: "State", col_changed: "Since", col_count: "Times", col_by: "By",
    selected: "{n} selected", select: "Select {name}", select_all: "Select all shown", bulk: "For all that are selected", none_shown: "No alarm is shown.",
    done: "{n} changed.", unchanged: "{n} were left as they are: their state does not allow it.", details: "Details", pick_one: "Choose an alarm to see its details.", past: "What happened", cause: "Possible causes", check: "Check", mend: "Mend", safety_lockout: "stopped and locked out", safety_running: "also while it runs", safety_remote: "without touching it", last_time: "Last time", shown_of: "{part} of {all} shown", priority_any: "any severity",
  },
  de: {
    group: "Gruppieren nach", group_none: "nichts", group_cause: "Ursache", group_asset: "Anlage", group_priority: "Schwere",
    show: "Zeigen", show_all: "alle", show_waiting: "zu quittieren", show_open: "nicht geparkt", show_parked: "zurückgestellt, unterdrückt",
    filter: "Alarme suchen", col_priority: "Schwere", col_message: "Alarm", col_asset: "Anlage", col_state: "Zustand", col_changed: "Seit", col_count: "Anzahl", col_by: "Von",
    selected: "{n} ausgewählt", select: "{name} auswählen", select_all: "Alle gezeigten auswählen", bulk: "Für alle ausgewählten", none_shown: "Kein Alarm wird gezeigt.",
    done: "{n} geändert.", unchanged: "{n} blieben, wie sie sind: ihr Zustand lässt es nicht zu.", details: "Einzelheiten", pick_one: "Einen Alarm wählen, um Einzelheiten zu sehen.", past: "Was geschah", cause: "Mögliche Ursachen", check: "Prüfen", mend: "Beheben", safety_lockout: "abgestellt und gesichert", safety_running: "auch im Betrieb", safety_remote: "ohne Berührung", last_time: "Letztes Mal", shown_of: "{part} von {all} gezeigt", priority_any: "jede Schwere",
  },
  zh: {
    group: "分组", group_none: "不分组", group_cause: "原因", group_asset: "设备", group_priority: "级别",
    show: "显示", show_all: "全部", show_waiting: "待确认", show_open: "未搁置", show_parked: "已搁置、已抑制",
    filter: "搜索报警", col_priority: "级别", col_message: "报警", col_asset: "设备", col_state: "状态", col_changed: "持续", col_count: "次数", col_by: "操作人",
    selected: "已选 {n} 条", select: "选择 {name}", select_all: "选择所示全部", bulk: "对所选全部", none_shown: "没有要显示的报警。",
    done: "已更改 {n} 条。", unchanged: "{n} 条未变：其状态不允许。", details: "详情", pick_one: "选择一条报警以查看详情。", past: "经过", cause: "可能原因", check: "检查", mend: "处理", safety_lockout: "停机并上锁挂牌", safety_running: "可在运行中", safety_remote: "无需接触", last_time: "上次", shown_of: "显示 {part} / {all}", priority_any: "任意级别",
  },
  ja: {
    group: "グループ化", group_none: "なし", group_cause: "原因", group_asset: "設備", group_priority: "重大度",
    show: "表示", show_all: "すべて", show_waiting: "確認待ち", show_open: "保留以外", show_parked: "保留・抑制中",
    filter: "アラームを検索", col_priority: "重大度", col_message: "アラーム", col_asset: "設備", col_state: "状態", col_changed: "継続", col_count: "回数", col_by: "担当",
    selected: "{n} 件選択", select: "{name} を選択", select_all: "表示中をすべて選択", bulk: "選択したすべてに対して", none_shown: "表示するアラームはありません。",
    done: "{n} 件を変更しました。", unchanged: "{n} 件は状態が許さないため変更されていません。", details: "詳細", pick_one: "アラームを選ぶと詳細が表示されます。", past: "経過", cause: "考えられる原因", check: "点検", mend: "処置", safety_lockout: "停止・ロックアウト後", safety_running: "運転中も可", safety_remote: "触れずに可", last_time: "前回", shown_of: "{all} 件中 {part} 件", priority_any: "すべての重大度",
  },
};

export function mount(root, page) {
  const view = new AlarmTable(page);
  root.append(view.root);
  page.onEnd(() => view.list.end());
  return { update: (live, changed) => view.show(live, changed) };
}

/** What raises an alarm, as far as alarms of several assets may have it in common. */
function causeOf(alarm) {
  const detail = alarm.detail ?? {};
  return detail.failure_mode || detail.message_key || alarm.alarm_id.slice(alarm.asset.length + 1);
}

const KEYS = {
  priority: (alarm) => alarm.severity,
  message: (alarm, page) => page.pick(alarm.message) || alarm.alarm_id,
  asset: (alarm) => alarm.asset,
  state: (alarm) => alarm.state,
  changed: (alarm) => alarm.changed_ms ?? 0,
  count: (alarm) => alarm.count,
};

class AlarmTable {
  constructor(page) {
    this.page = page;
    this.t = page.t;
    this.by = "priority";
    this.isDown = true;
    this.closed = new Set(); // groups
    this.selected = new Set();
    this.collator = new Intl.Collator(page.language, { numeric: true });
    this.list = new VirtualRows({
      label: this.t("alarms"), height: ROW_PX, keyOf: (row) => row.key,
      create: (row) => (row.group === undefined ? this.alarmRow() : this.groupRow()),
      onMove: (row) => this.open(row), onKey: (event, row) => this.keyed(event, row),
    });
    this.list.root.setAttribute("aria-multiselectable", true);
    this.empty = make("p", { className: "empty", hidden: true }, this.t("none_shown"));
    const table = make("section", { className: "table-of-alarms", "aria-labelledby": "alarms-title" },
      this.tools(), this.bulk(), this.headRow(), this.list.root, this.empty);
    this.root = el("div", "with-details", table, this.details());
  }

  // -- its parts --------------------------------------------------------------------------------

  tools() {
    const { t } = this;
    this.filter = make("input", { id: "alarm-filter", type: "search", maxLength: 100, placeholder: t("filter"), "aria-label": t("filter") });
    this.group = choice("group", t("group"), GROUPS.map((one) => [one, t(`group_${one}`)]));
    this.which = choice("which", t("show"), STATES.map((one) => [one, t(`show_${one}`)]));
    this.least = choice("least", t("col_priority"), [["", t("priority_any")], ...PRIORITIES.map((one) => [one, t(one)])]);
    this.count = make("span", { id: "alarms-count", className: "count", role: "status" });
    for (const one of [this.group, this.which, this.least]) one.onchange = () => this.choose();
    this.filter.oninput = () => this.choose();
    return el("div", "tools", make("h2", { id: "alarms-title" }, t("alarms"), " ", this.count),
      this.filter, labelled(t("group"), this.group), labelled(t("show"), this.which), this.least);
  }

  bulk() {
    const { t } = this;
    this.selectedCount = make("span", { id: "selected-count", role: "status" });
    this.comment = make("input", { id: "bulk-comment", maxLength: 500, autocomplete: "off", placeholder: t("comment"), "aria-label": t("comment") });
    const ack = make("button", { id: "bulk-ack", type: "button" }, t("ack"));
    const shelve = choice("bulk-shelve", t("shelve"), [["", t("shelve")], ...SHELVE_MIN.map((min) => [min * 60, spanOf(min)])]);
    const unshelve = make("button", { id: "bulk-unshelve", type: "button" }, t("unshelve"));
    const confirm = make("button", { id: "bulk-confirm", type: "button" }, t("confirm"));
    this.remark = make("button", { id: "bulk-comment-only", type: "button", disabled: true }, t("add_comment"));
    this.said = make("span", { id: "bulk-said", role: "status" });
    ack.onclick = () => this.command("ack");
    confirm.onclick = () => this.command("confirm");
    this.remark.onclick = () => this.command("comment");
    this.comment.oninput = () => { this.remark.disabled = !this.comment.value.trim(); };
    unshelve.onclick = () => this.command("unshelve");
    shelve.onchange = () => {
      const seconds = Number(shelve.value);
      shelve.selectedIndex = 0;
      this.command("shelve", { duration_s: seconds });
    };
    this.bar = make("div", { className: "bulk acknowledge", role: "group", "aria-label": t("bulk") },
      this.selectedCount, this.comment, ack, confirm, this.remark, shelve, unshelve, this.said);
    return this.bar;
  }

  headRow() {
    this.all = make("input", { type: "checkbox", id: "select-all", "aria-label": this.t("select_all") });
    this.all.onchange = () => this.selectAll(this.all.checked);
    this.heads = Object.keys(KEYS).map((name) => {
      const button = make("button", { type: "button", className: `head c-${name}`, id: `sort-${name}` });
      button.onclick = () => this.sortBy(name);
      return [name, button];
    });
    return el("div", "alarm-row alarm-heads", el("span", "c-select", this.all),
      ...this.heads.map(([, button]) => button), el("span", "c-by", this.t("col_by")));
  }

  details() {
    this.noDetails = el("p", "empty", this.t("pick_one"));
    const command = (kind, id, more, onAnswer) => {
      const comment = this.comment.value.trim();
      return this.page.post(`/api/alarms/${encodeURIComponent(id)}/${kind}`, { ...(comment ? { comment } : {}), ...more }, onAnswer);
    };
    const healthy = (asset) => this.page.post(`/api/assets/${encodeURIComponent(asset)}/healthy`, {});
    const card = el("div", "alarms");
    this.card = new Keyed(card, alarmCard(command, healthy));
    this.assetLink = make("a", { className: "asset-link" });
    this.guidance = make("div", { className: "guidance", hidden: true });
    this.past = el("ol", "past");
    this.pastBox = make("div", { hidden: true }, el("h3", "", this.t("past")), this.past);
    return make("aside", { className: "details", "aria-label": this.t("details") },
      el("h2", "", this.t("details")), this.noDetails, card, this.guidance, this.assetLink, this.pastBox);
  }

  // -- rows ---------------------------------------------------------------------------------------

  alarmRow() {
    const box = make("input", { type: "checkbox", tabIndex: -1 });
    const cells = Object.fromEntries([...Object.keys(KEYS), "by"].map((name) => [name, cell(`c-${name}`)]));
    const root = el("div", "alarm-row", cell("c-select", box), ...Object.values(cells));
    let id = "";
    box.onchange = () => this.select([id], box.checked);
    return {
      root,
      update: ({ alarm }) => {
        id = alarm.alarm_id;
        const priority = priorityOf(alarm);
        const message = this.page.pick(alarm.message) || id;
        set(root, "className", `alarm-row ${priority} ${TO_ACK.has(alarm.state) ? "new" : ""}`);
        root.dataset.alarm = id;
        set(box, "checked", this.selected.has(id));
        root.setAttribute("aria-selected", this.selected.has(id));
        box.setAttribute("aria-label", this.t("select", { name: id }));
        text(cells.priority, `${SHAPES[priority]} ${this.t(priority)}`);
        text(cells.message, message);
        set(cells.message, "title", message);
        text(cells.asset, alarm.asset);
        text(cells.state, this.t(alarm.state));
        text(cells.changed, ago(alarm.changed_ms));
        set(cells.changed, "title", stamp(alarm.changed_ms));
        text(cells.count, alarm.count);
        text(cells.by, alarm.shelved_by || alarm.acked_by);
      },
    };
  }

  groupRow() {
    const box = make("input", { type: "checkbox", tabIndex: -1 });
    const name = cell("c-group");
    const root = el("div", "alarm-row alarm-group", cell("c-select", box), name);
    let row = null;
    box.onchange = () => this.select(row.ids, box.checked);
    root.onclick = (event) => { if (event.target !== box) this.toggle(row); };
    return {
      root,
      update: (now) => {
        row = now;
        const isOpen = !this.closed.has(row.group);
        text(name, `${isOpen ? "▾" : "▸"} ${row.title} (${row.ids.length})`);
        root.setAttribute("aria-expanded", isOpen);
        root.dataset.group = row.group;
        const chosen = row.ids.filter((id) => this.selected.has(id)).length;
        set(box, "checked", chosen === row.ids.length);
        set(box, "indeterminate", chosen > 0 && chosen < row.ids.length);
        box.setAttribute("aria-label", this.t("select", { name: row.title }));
      },
    };
  }

  // -- what is shown --------------------------------------------------------------------------------

  show(live, changed) {
    this.live = live;
    for (const id of this.selected) if (!live.alarms.has(id)) this.selected.delete(id);
    if (changed.alarms === null || changed.alarms.size) this.choose();
    else this.list.render(); // the times go on
  }

  choose() {
    if (!this.live) return;
    const all = [...this.live.alarms.values()];
    this.shown = all.filter((alarm) => this.fits(alarm)).sort((a, b) => this.compare(a, b));
    const rows = this.group.value === "none" ? this.shown.map(rowOf) : this.grouped();
    this.list.update(rows);
    this.empty.hidden = rows.length > 0;
    const part = { part: this.shown.length, all: all.length };
    text(this.count, part.part < part.all ? this.t("shown_of", part) : part.all || "");
    for (const [name, button] of this.heads) {
      const arrow = name === this.by ? (this.isDown ? " ▼" : " ▲") : "";
      text(button, this.t(`col_${name}`) + arrow);
      button.setAttribute("aria-pressed", name === this.by);
    }
    this.showSelected();
    this.showDetails();
  }

  fits(alarm) {
    const which = this.which.value;
    if (which === "waiting" && !TO_ACK.has(alarm.state)) return false;
    if (which === "open" && PARKED.has(alarm.state)) return false;
    if (which === "parked" && !PARKED.has(alarm.state)) return false;
    if (this.least.value && priorityOf(alarm) !== this.least.value) return false;
    const wanted = this.filter.value.trim().toLowerCase();
    if (!wanted) return true;
    return `${alarm.alarm_id} ${alarm.asset} ${this.page.pick(alarm.message)} ${this.t(alarm.state)}`.toLowerCase().includes(wanted);
  }

  compare(a, b) {
    const [one, other] = [a, b].map((alarm) => KEYS[this.by](alarm, this.page));
    const order = typeof one === "number" ? one - other : this.collator.compare(one, other);
    return (this.isDown ? -order : order) || b.changed_ms - a.changed_ms || this.collator.compare(a.alarm_id, b.alarm_id);
  }

  grouped() {
    const kind = this.group.value;
    const key = { cause: causeOf, asset: (alarm) => alarm.asset, priority: priorityOf }[kind];
    const groups = new Map();
    for (const alarm of this.shown) {
      const name = key(alarm);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(alarm);
    }
    const title = kind === "asset" ? (name) => name : (name) => this.t(name);
    return [...groups].flatMap(([name, alarms]) => {
      const ids = alarms.map((alarm) => alarm.alarm_id);
      const head = { key: `group ${name}`, group: name, title: title(name), ids };
      return this.closed.has(name) ? [head] : [head, ...alarms.map(rowOf)];
    });
  }

  toggle(row) {
    if (!this.closed.delete(row.group)) this.closed.add(row.group);
    this.choose();
  }

  sortBy(name) {
    this.isDown = name === this.by ? !this.isDown : ["priority", "changed", "count"].includes(name);
    this.by = name;
    this.choose();
  }

  // -- selection ------------------------------------------------------------------------------------

  keyed(event, row) {
    if (event.key === " ") {
      const ids = row.ids ?? [row.key];
      this.select(ids, !ids.every((id) => this.selected.has(id)));
      return true;
    }
    if (row.group !== undefined && ["Enter", "ArrowLeft", "ArrowRight"].includes(event.key)) {
      const isOpen = !this.closed.has(row.group);
      if (event.key === "Enter" || isOpen === (event.key === "ArrowLeft")) this.toggle(row);
      return true;
    }
    return false;
  }

  select(ids, isOn) {
    for (const id of ids) isOn ? this.selected.add(id) : this.selected.delete(id);
    text(this.said, "");
    this.list.render();
    this.showSelected();
  }

  selectAll(isOn) {
    this.select(this.shown.map((alarm) => alarm.alarm_id), isOn);
  }

  showSelected() {
    const n = this.shown.filter((alarm) => this.selected.has(alarm.alarm_id)).length;
    text(this.selectedCount, this.t("selected", { n: this.selected.size }));
    this.bar.classList.toggle("idle", this.selected.size === 0);
    set(this.all, "checked", n > 0 && n === this.shown.length);
    set(this.all, "indeterminate", n > 0 && n < this.shown.length);
  }

  /** One command for all that are selected, as many at a time as a request may hold. */
  async command(kind, more = {}) {
    const ids = [...this.selected];
    if (!ids.length) return;
    const comment = this.comment.value.trim();
    let changed = 0;
    let failure = "";
    for (let at = 0; at < ids.length && !failure; at += IDS_AT_ONCE) {
      const body = { comment, ids: ids.slice(at, at + IDS_AT_ONCE), ...more };
      failure = await this.page.post(`/api/alarms/${kind}`, body, (rows) => { changed += rows.length; });
    }
    if (!failure) {
      this.comment.value = ""; // it was about these alarms
      this.remark.disabled = true;
      this.selected.clear();
      this.list.render();
      this.showSelected();
    }
    const left = ids.length - changed;
    text(this.said, failure || [this.t("done", { n: changed }), left ? this.t("unchanged", { n: left }) : ""].join(" "));
    set(this.said, "className", failure ? "failure" : "");
  }

  // -- one alarm --------------------------------------------------------------------------------------

  open(row) {
    if (!row.alarm) return;
    this.detailsOf = row.key;
    this.showDetails();
  }

  showDetails() {
    const alarm = this.live.alarms.get(this.detailsOf);
    this.card.update(alarm ? [alarm] : [], (one) => one.alarm_id);
    this.noDetails.hidden = Boolean(alarm);
    this.assetLink.hidden = this.pastBox.hidden = !alarm;
    if (!alarm) return;
    this.assetLink.href = this.page.linkTo("asset", alarm.asset);
    text(this.assetLink, alarm.asset);
    const mark = `${alarm.seq} ${alarm.alarm_id}`;
    if (mark === this.pastOf) return;
    this.pastOf = mark;
    this.past.replaceChildren();
    this.guidance.hidden = true;
    clearTimeout(this.asks);
    this.asks = setTimeout(() => this.showMore(alarm.alarm_id), PAST_MS);
  }

  showMore(id) {
    this.showGuidance(id);
    this.showPast(id);
  }

  /** What to check and mend, and what helped last time. */
  async showGuidance(id) {
    const found = await get(`/api/alarms/${encodeURIComponent(id)}/guidance`).then(({ body }) => body, () => ({}));
    if (id !== this.detailsOf) return;
    const { guidance, last_time: last } = found;
    const parts = guidance ? PARTS.flatMap((part) => this.steps(part, guidance[part])) : [];
    if (last) {
      const said = [stamp(last.at_ms), last.by, last.comment].filter(Boolean).join(" · ");
      parts.push(el("h3", "", this.t("last_time")), el("p", "", said));
    }
    this.guidance.replaceChildren(...parts);
    this.guidance.hidden = !parts.length;
  }

  steps(part, steps) {
    if (!steps?.length) return [];
    const list = el("ol", "", ...steps.map(({ text: said, safety }) => el("li", "", this.page.pick(said),
      safety ? el("span", "muted", ` (${this.t(`safety_${safety}`)})`) : "")));
    return [el("h3", "", this.t(part)), list];
  }

  /** Who did what to it, and when. */
  async showPast(id) {
    const path = `/api/alarms/history?limit=${TRANSITIONS}&alarm_id=${encodeURIComponent(id)}`;
    const rows = await get(path).then(({ body }) => body, () => []);
    if (id !== this.detailsOf) return;
    this.past.replaceChildren(...rows.map((row) => el("li", "",
      make("time", {}, stamp(row.at_ms)), " ", this.t(`tr_${row.transition}`), row.actor ? ` · ${row.actor}` : "",
      row.alarm?.comment ? ` · “${row.alarm.comment}”` : "")));
  }
}

function rowOf(alarm) {
  return { key: alarm.alarm_id, alarm };
}

function choice(id, label, options) {
  const menu = make("select", { id, "aria-label": label });
  for (const [value, word] of options) menu.append(make("option", { value }, word));
  return menu;
}

function labelled(word, field) {
  return el("label", "field", el("span", "muted", word), field);
}
