// What the gateway says as it changes: by server-sent events, or by asking where those do not pass.
//
// A stream is read with fetch, since an EventSource cannot send a key.

import { get } from "/static/api.js";
import { setClockTo } from "/static/dom.js";
import { headers } from "/static/session.js";

const SILENT_MS = 15000; // the gateway says something every 5 s
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const ASK_EVERY_MS = 2000;
const WITHOUT_STREAM_MS = 60000; // then the stream is tried again
const ALL = 10000;

/** The newest state. `onChange(live, changed)`: changed has the ids of what changed,
 *  `{alarms: Set, assets: Set}`, null for all. `onFailure(failure)`: null when it is well again. */
export class Live {
  constructor(onChange, onFailure) {
    Object.assign(this, { onChange, onFailure, alarms: new Map(), assets: new Map(), summary: null });
    this.event = ""; // the last one
    this.run = 0;
    this.wait = FIRST_WAIT_MS;
    this.started = 0; // when the gateway started, by the browser's clock
    this.withoutStreamUntil = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  /** Begin again with who is signed in now. */
  start() {
    this.stop();
    this.follow(this.run);
  }

  stop() {
    this.run += 1;
    this.abort?.abort();
    clearTimeout(this.timer);
  }

  /** Alarms, the most severe first. */
  sortedAlarms() {
    return [...this.alarms.values()].sort((a, b) => b.severity - a.severity || b.changed_ms - a.changed_ms);
  }

  uptime() {
    return (Date.now() - this.started) / 1000;
  }

  async follow(run) {
    let failure = null;
    try {
      const asks = Date.now() < this.withoutStreamUntil;
      const stream = asks ? null : this.openStream(); // at the same time: it takes a while to begin
      stream?.answer.catch(() => {}); // looked at below
      await this.askSummary(run);
      if (run !== this.run) return;
      if (asks) await this.askRows(run);
      else await this.stream(run, stream);
    } catch (problem) {
      failure = problem;
    }
    if (run !== this.run) return;
    this.abort?.abort();
    if (failure) this.onFailure(failure);
    const asks = Date.now() < this.withoutStreamUntil;
    this.wait = failure ? Math.min(this.wait * 2, LONGEST_WAIT_MS) : asks ? ASK_EVERY_MS : FIRST_WAIT_MS;
    this.timer = setTimeout(() => this.follow(run), this.wait);
  }

  /** What this client may do stands in the summary alone. */
  async askSummary(run) {
    const { body } = await get("/api/summary");
    if (run !== this.run) return;
    this.started = Date.now() - body.uptime_s * 1000;
    this.summary = body;
  }

  openStream() {
    this.abort = new AbortController();
    const sent = headers(this.event ? { "Last-Event-ID": this.event } : {});
    const { signal } = this.abort;
    return { answer: fetch("/api/events", { headers: sent, signal, cache: "no-store" }) };
  }

  async stream(run, stream) {
    const { abort } = this;
    let watch = setTimeout(() => abort.abort(), SILENT_MS);
    let heard = 0;
    try {
      const answer = await stream.answer;
      if (!answer.ok) return this.goWithoutStream();
      for await (const event of eventsOf(answer.body)) {
        if (run !== this.run) return undefined;
        clearTimeout(watch);
        watch = setTimeout(() => abort.abort(), SILENT_MS);
        heard += 1;
        this.take(event);
      }
    } catch (problem) {
      if (run === this.run && !heard && problem.name === "AbortError") return this.goWithoutStream();
    } finally {
      clearTimeout(watch);
    }
    return undefined;
  }

  goWithoutStream() {
    this.event = "";
    this.withoutStreamUntil = Date.now() + WITHOUT_STREAM_MS;
  }

  take({ id, kind, data }) {
    if (kind !== "change" && kind !== "beat") return;
    setClockTo(data.at_ms);
    if (id) this.event = id;
    const changed = { alarms: new Set(), assets: new Set() };
    if (data.alarms) changed.alarms = merge(this.alarms, data.alarms, "alarm_id");
    if (data.assets) changed.assets = merge(this.assets, data.assets, "id");
    if (data.summary) {
      const { client, commands } = this.summary;
      this.summary = { ...data.summary.rows[0], client, commands };
    }
    if (kind === "beat" && !this.event) return; // nothing is known yet
    this.told(changed);
  }

  async askRows(run) {
    const [alarms, assets] = await Promise.all([
      get(`/api/alarms?limit=${ALL}`),
      get(`/api/assets?limit=${ALL}`),
    ]);
    if (run !== this.run) return;
    merge(this.alarms, { all: true, rows: alarms.body, gone: [] }, "alarm_id");
    merge(this.assets, { all: true, rows: assets.body.map(shortened), gone: [] }, "id");
    this.told({ alarms: null, assets: null });
  }

  told(changed) {
    this.wait = FIRST_WAIT_MS;
    this.onFailure(null);
    this.onChange(this, changed);
  }
}

function shortened(row) {
  return { ...row, off: row.inputs.filter((one) => one.quality !== "good").length };
}

/** Put changes into a map of rows; returns the ids that changed, null for all. */
function merge(rows, { all, rows: changed, gone }, key) {
  if (all) rows.clear();
  for (const row of changed) rows.set(row[key], row);
  for (const id of gone) rows.delete(id);
  return all ? null : new Set([...changed.map((row) => row[key]), ...gone]);
}

/** The events of a stream (HTML standard, 9.2): `{id, kind, data}`. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) yield parsed(part);
  }
}

function parsed(text) {
  const found = { id: "", event: "message", data: "" };
  for (const line of text.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 2);
  }
  return { id: found.id, kind: found.event, data: found.data ? JSON.parse(found.data) : {} };
}
