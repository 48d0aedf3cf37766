// The plant at a glance: alarms as cards, assets with their inputs, and what is connected.

import { TO_ACK, alarmCard } from "/static/alarms.js";
import { Poll, get } from "/static/api.js";
import { askBox } from "/static/ask.js";
import { assetRow } from "/static/assets.js";
import { Keyed, el, make, text } from "/static/dom.js";
import { PARKED } from "/static/head.js";
import { learningLine, modelLine, sinkLine, sourceLine, troubleLine } from "/static/side.js";

const PAGE_ROWS = 60;
const MAX_CARDS = 50; // the rest stands in the table of alarms
const MAX_OPEN = 20; // rows whose values are kept new
const LONGEST_IDS = 3000; // characters in an address
const NOT_KNOWN = { score: null, limit: null, followed: [], inputs: [] };
const IDS_AT_ONCE = 50; // of at most 200 characters: a request holds 16 KiB

export const words = {};

export function mount(root, page) {
  const view = new Overview(page);
  root.append(view.root);
  return { update: (live, changed) => view.show(live, changed) };
}

class Overview {
  constructor(page) {
    this.page = page;
    this.t = page.t;
    this.rows = PAGE_ROWS;
    this.toAck = []; // ids of the alarms that are shown and wait for it
    const ask = (kind, id, more, onAnswer) => this.command(kind, id, more, onAnswer);
    this.createCard = alarmCard(ask, (asset) => this.confirmHealthy(asset));
    this.root = el("div", "overview", this.alarms(), this.assets(), this.side());
    this.known = new Map(); // whole rows of assets that were shown
    this.outdated = new Set();
    this.shown = [];
    this.poll = new Poll((isNewest) => this.askWhole(isNewest));
    page.onEnd(() => this.poll.end());
  }

  alarms() {
    const { t } = this;
    this.alarmsCount = make("span", { id: "alarms-count", className: "count" });
    this.comment = make("input", { id: "comment", maxLength: 500, autocomplete: "off", placeholder: t("comment"), "aria-label": t("comment") });
    this.ackAll = make("button", { id: "ack-all", type: "submit" });
    this.ackFailure = make("span", { id: "ack-failure", className: "failure", role: "alert" });
    this.ackForm = make("form", { id: "acknowledge", className: "acknowledge", hidden: true }, this.comment, this.ackAll, this.ackFailure);
    this.ackForm.onsubmit = (event) => this.acknowledgeAll(event);
    this.noAlarms = make("p", { id: "no-alarms", className: "empty", hidden: true }, t("no_alarms"));
    const open = make("div", { id: "alarms", className: "alarms" });
    const parked = make("div", { id: "parked", className: "alarms" });
    this.open = new Keyed(open, this.createCard);
    this.parked = new Keyed(parked, this.createCard);
    this.parkedCount = make("span", { id: "parked-count", className: "count" });
    this.parkedBox = make("details", { id: "parked-box", hidden: true },
      el("summary", "", t("parked"), " ", this.parkedCount), parked);
    return make("section", { "aria-labelledby": "alarms-title" },
      make("h2", { id: "alarms-title" }, t("alarms"), " ", this.alarmsCount),
      this.ackForm, this.noAlarms, open, this.parkedBox);
  }

  assets() {
    const { t } = this;
    this.assetsCount = make("span", { id: "assets-count", className: "count" });
    this.search = make("input", { id: "search", type: "search", maxLength: 100, placeholder: t("search"), "aria-label": t("search") });
    this.search.oninput = () => { this.rows = PAGE_ROWS; this.chooseAssets(); this.poll.now(); };
    this.noAssets = make("p", { id: "no-assets", className: "empty", hidden: true }, t("no_assets"));
    const list = make("div", { id: "assets", className: "assets" });
    this.assetRows = new Keyed(list, assetRow);
    this.more = make("button", { id: "more", hidden: true }, t("more"));
    this.more.onclick = () => { this.rows += PAGE_ROWS; this.chooseAssets(); this.poll.now(); };
    return make("section", { "aria-labelledby": "assets-title" },
      make("h2", { id: "assets-title" }, t("assets"), " ", this.assetsCount, " ", this.search),
      this.noAssets, list, this.more);
  }

  side() {
    const box = (name, create, ...more) => {
      const lines = make("div", { id: name, className: "lines" });
      this[name] = new Keyed(lines, create);
      this[`${name}Box`] = make("div", { id: `${name}-box`, ...more[0] }, el("h2", "", this.t(name)), lines);
      return this[`${name}Box`];
    };
    const troubles = make("ul", { id: "troubles", className: "troubles" });
    this.troubles = new Keyed(troubles, troubleLine);
    this.troublesBox = make("div", { id: "troubles-box", hidden: true }, el("h2", "", this.t("troubles")), troubles);
    const links = ["/metrics", "/health/ready", "/api/alarms/history", "/openapi"];
    return el("aside", "", askBox(), this.troublesBox, box("sources", sourceLine), box("sinks", sinkLine),
      box("models", modelLine), box("learning", learningLine, { hidden: true }),
      el("p", "links", ...links.flatMap((href) => [make("a", { href }, href), " "])));
  }

  show(live, changed) {
    const isFirst = !this.live;
    this.live = live;
    this.showAlarms(live.sortedAlarms());
    this.showSide(live.summary);
    for (const id of changed.assets ?? live.assets.keys()) this.outdated.add(id);
    if (isFirst || changed.assets === null || changed.assets.size) this.chooseAssets();
    if (isFirst) this.poll.now();
  }

  showAlarms(all) {
    const waits = all.filter((alarm) => !PARKED.has(alarm.state));
    const parked = all.filter((alarm) => PARKED.has(alarm.state)).slice(0, MAX_CARDS);
    const open = waits.slice(0, MAX_CARDS);
    const part = { part: open.length, all: waits.length };
    this.open.update(open, (alarm) => alarm.alarm_id);
    this.parked.update(parked, (alarm) => alarm.alarm_id);
    text(this.alarmsCount, part.part < part.all ? this.t("of", part) : open.length || "");
    text(this.parkedCount, parked.length);
    this.parkedBox.hidden = parked.length === 0;
    this.noAlarms.hidden = open.length > 0;
    this.toAck = open.filter((alarm) => TO_ACK.has(alarm.state)).map((alarm) => alarm.alarm_id);
    this.ackForm.hidden = this.toAck.length === 0;
    text(this.ackAll, this.t("ack_all", { n: this.toAck.length }));
  }

  /** Which assets are shown: those that hold the searched text, the abnormal ones first. */
  chooseAssets() {
    if (!this.live) return;
    const wanted = this.search.value.trim().toLowerCase();
    const found = [...this.live.assets.values()]
      .filter((row) => `${row.path} ${row.id} ${row.state}`.toLowerCase().includes(wanted))
      .sort(byUrgency);
    this.shown = found.slice(0, this.rows).map((row) => row.id);
    const part = { part: this.shown.length, all: found.length };
    text(this.assetsCount, part.part < part.all ? this.t("of", part) : part.all);
    this.more.hidden = part.part >= part.all;
    this.noAssets.hidden = part.all > 0;
    this.showAssets();
  }

  showAssets() {
    const ids = this.shown.filter((id) => this.live.assets.has(id));
    const rows = ids.map((id) => ({ ...NOT_KNOWN, ...this.known.get(id), ...this.live.assets.get(id) }));
    this.assetRows.update(rows, (row) => row.id);
  }

  /** Ask for the inputs and scores of what is shown: of open rows, and where something changed. */
  async askWhole(isNewest) {
    const isOpen = (id) => this.assetRows.parts.get(id)?.root.open;
    const open = this.shown.filter(isOpen).slice(0, MAX_OPEN);
    const changed = this.shown.filter((id) => this.outdated.has(id) || !this.known.has(id));
    let ids = [...new Set([...open, ...changed])];
    while (ids.length && isNewest()) {
      let n = 0;
      for (let length = 0; n < ids.length && length < LONGEST_IDS; n += 1) length += encodeURIComponent(ids[n]).length + 3;
      const asked = ids.slice(0, n);
      const { body } = await get(`/api/assets?ids=${encodeURIComponent(asked.join("\n"))}`);
      for (const id of asked) this.outdated.delete(id);
      for (const row of body) this.known.set(row.id, row);
      ids = ids.slice(n);
    }
    if (isNewest() && this.live) this.showAssets();
  }

  showSide(summary) {
    const waiting = new Map((summary.outbox ?? []).map((row) => [row.sink, row]));
    const sinks = summary.sinks.map((sink) => ({ ...sink, outbox: waiting.get(sink.name) }));
    this.sources.update(summary.sources, (row) => row.name);
    this.sinks.update(sinks, (row) => row.name);
    this.models.update(summary.models, (row) => `${row.mode} ${row.name}`);
    this.learning.update(summary.learning, (row) => row.asset);
    // What a link says of itself stands in its own line; its faults stand here.
    const said = new Set([...summary.sources, ...summary.sinks]
      .map((link) => `${link.name}: ${link.detail || link.state}`));
    const troubles = (summary.troubles ?? []).filter((trouble) => !said.has(trouble));
    this.troubles.update(troubles, (row) => row);
    this.modelsBox.hidden = summary.models.length === 0;
    this.learningBox.hidden = summary.learning.length === 0;
    this.troublesBox.hidden = troubles.length === 0;
  }

  command(kind, alarmId, more = {}, onAnswer = undefined) {
    const path = `/api/alarms/${encodeURIComponent(alarmId)}/${kind}`;
    return this.post(path, { ...this.commented(), ...more }, onAnswer);
  }

  confirmHealthy(asset) {
    return this.post(`/api/assets/${encodeURIComponent(asset)}/healthy`, this.commented());
  }

  commented() {
    const comment = this.comment.value.trim();
    return comment ? { comment } : {};
  }

  /** All that are shown and wait for it, as many at a time as a request may hold. */
  async acknowledgeAll(event) {
    event.preventDefault();
    const ids = [...this.toAck];
    const comment = this.comment.value.trim();
    let failure = "";
    while (ids.length && !failure) {
      failure = await this.post("/api/alarms/ack", { comment, ids: ids.splice(0, IDS_AT_ONCE) });
    }
    text(this.ackFailure, failure);
  }

  post(path, body, onAnswer) {
    return this.page.post(path, body, (answer) => {
      this.comment.value = ""; // it was about these alarms
      onAnswer?.(answer);
    });
  }
}

function byUrgency(a, b) {
  return Math.sign(b.alarms) - Math.sign(a.alarms) || Math.sign(b.off) - Math.sign(a.off)
    || (a.health ?? 1) - (b.health ?? 1);
}
