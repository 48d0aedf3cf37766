// The plant at a glance: alarms as cards, assets with their inputs, and what is connected.

import { TO_ACK, alarmCard } from "/static/alarms.js";
import { askBox } from "/static/ask.js";
import { assetRow } from "/static/assets.js";
import { Keyed, el, make, text } from "/static/dom.js";
import { PARKED } from "/static/head.js";
import { learningLine, modelLine, sinkLine, sourceLine, troubleLine } from "/static/side.js";

const PAGE_ROWS = 60;
const IDS_AT_ONCE = 50; // of at most 200 characters: a request holds 16 KiB

export const words = {};

export function mount(root, page) {
  const view = new Overview(page);
  root.append(view.root);
  return { update: (now) => view.show(now) };
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
    const search = () => encodeURIComponent(this.search.value.trim());
    const path = () => `/api/assets?limit=${this.rows}&search=${search()}`;
    this.poll = page.poll(path, (body, total) => this.showAssets(body, total));
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
    this.search.oninput = () => { this.rows = PAGE_ROWS; this.poll.now(); };
    this.noAssets = make("p", { id: "no-assets", className: "empty", hidden: true }, t("no_assets"));
    const list = make("div", { id: "assets", className: "assets" });
    this.assetRows = new Keyed(list, assetRow);
    this.more = make("button", { id: "more", hidden: true }, t("more"));
    this.more.onclick = () => { this.rows += PAGE_ROWS; this.poll.now(); };
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

  show({ summary, alarms }) {
    this.showAlarms(alarms);
    this.showSide(summary);
  }

  showAlarms({ body: found, total }) {
    const parked = found.filter((alarm) => PARKED.has(alarm.state));
    const open = found.filter((alarm) => !PARKED.has(alarm.state));
    this.open.update(open, (alarm) => alarm.alarm_id);
    this.parked.update(parked, (alarm) => alarm.alarm_id);
    const part = { part: found.length, all: total };
    text(this.alarmsCount, found.length < total ? this.t("of", part) : open.length || "");
    text(this.parkedCount, parked.length);
    this.parkedBox.hidden = parked.length === 0;
    this.noAlarms.hidden = open.length > 0;
    this.toAck = open.filter((alarm) => TO_ACK.has(alarm.state)).map((alarm) => alarm.alarm_id);
    this.ackForm.hidden = this.toAck.length === 0;
    text(this.ackAll, this.t("ack_all", { n: this.toAck.length }));
  }

  showAssets(rows, total) {
    this.assetRows.update(rows, (row) => row.id);
    const part = { part: rows.length, all: total };
    text(this.assetsCount, part.part < part.all ? this.t("of", part) : part.all);
    this.more.hidden = part.part >= part.all;
    this.noAssets.hidden = part.all > 0;
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

  async post(path, body, onAnswer) {
    const failure = await this.page.post(path, body, (answer) => {
      this.comment.value = ""; // it was about these alarms
      onAnswer?.(answer);
    });
    this.page.refresh();
    return failure;
  }
}
