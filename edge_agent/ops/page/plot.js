// One strip of a trend: a series over time as SVG, its numbers as text beside it.

import { el, number, set, text } from "/static/dom.js";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 1000; // of the drawing, which is stretched to its place
const HEIGHT = 100;
const LANE = 7; // at the bottom: bad, uncertain and replayed
const GAP_STEPS = 1.5; // two buckets that are further apart have a gap between them

function svg(tag, attributes = {}) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** A strip; `label`: its name. `update(data, seen)`: data has series, limit, alarms, marks and step_s of
 *  an answer, seen the span `{from, to}` in ms that is shown. */
export function strip(label) {
  const shapes = svg("g");
  const cursor = svg("line", { y1: 0, y2: HEIGHT, class: "cursor" });
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  drawing.append(shapes, cursor);
  cursor.style.display = "none";
  const [name, value, top, bottom] = ["name", "value", "top muted", "bottom muted"].map((one) => el("span", one));
  text(name, label);
  const root = el("div", "strip", el("p", "", name, value), el("div", "plot", drawing, top, bottom));
  let shown = null;

  return {
    root,
    update(data, seen) {
      shown = { ...data, seen };
      const range = rangeOf(data);
      const place = {
        x: (ms) => (WIDTH * (ms - seen.from)) / (seen.to - seen.from),
        y: (v) => (HEIGHT - LANE) * (1 - (v - range.low) / (range.high - range.low)),
      };
      shapes.replaceChildren(...drawn(data, seen, place));
      text(top, number(range.high));
      text(bottom, number(range.low));
      this.point(null);
    },
    /** Show the value at a time, in ms; null: the newest. */
    point(ms) {
      if (!shown) return;
      const at = ms === null ? shown.series.time_ms.length - 1 : nearest(shown, ms);
      cursor.style.display = ms === null ? "none" : "";
      if (ms !== null) {
        const x = (WIDTH * (ms - shown.seen.from)) / (shown.seen.to - shown.seen.from);
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
      }
      text(value, valueAt(shown, at));
    },
    set className(value) {
      set(root, "className", `strip ${value}`);
    },
  };
}

/** The value of a bucket as text: mean, unit, and from where to where it went. */
export function valueAt({ series }, at) {
  if (at < 0 || at >= series.time_ms.length || series.mean[at] === null) return "–";
  const [low, high] = [series.min[at], series.max[at]];
  const spread = low === high ? "" : ` (${number(low)} … ${number(high)})`;
  return `${number(series.mean[at])} ${series.unit}${spread}`;
}

/** The bucket that has this time, or -1 if it is in a gap. */
export function nearest({ series, step_s }, ms) {
  let [low, high] = [0, series.time_ms.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (series.time_ms[middle] <= ms) low = middle + 1;
    else high = middle;
  }
  return low > 0 && ms - series.time_ms[low - 1] < step_s * 1000 * GAP_STEPS ? low - 1 : -1;
}

function rangeOf({ series, limit }) {
  const all = [...series.min, ...series.max, ...(limit ? limit.max : [])].filter((v) => v !== null);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (!all.length) return { low: 0, high: 1 };
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return { low: low >= 0 && low - margin < 0 ? 0 : low - margin, high: high + margin };
}

function drawn({ series, limit, alarms, marks, step_s }, seen, place) {
  const step = step_s * 1000;
  const found = gapsOf(series, seen, step).map(([from, to]) => box(place, from, to, 0, HEIGHT, "gap"));
  for (const alarm of alarms) {
    const rect = box(place, Math.max(alarm.from_ms, seen.from), alarm.to_ms ?? seen.to, 0, HEIGHT, alarm.replayed ? "raised late" : "raised");
    const title = svg("title");
    title.textContent = alarm.alarm_id;
    rect.append(title);
    found.push(rect);
  }
  for (const run of runsOf(series, step)) {
    found.push(svg("path", { d: bandOf(series, run, step, place), class: "band" }));
    found.push(svg("path", { d: lineOf(series, series.mean, run, step, place), class: "mean" }));
  }
  if (limit) {
    for (const run of runsOf(limit, step)) {
      found.push(svg("path", { d: lineOf(limit, limit.mean, run, step, place), class: "limit" }));
    }
  }
  for (const kind of ["uncertain", "bad", "replayed"]) {
    for (const [from, to] of marked(series, marks[kind], step)) {
      found.push(box(place, from, to, HEIGHT - LANE, LANE, kind));
    }
  }
  return found;
}

function box(place, from, to, y, height, kind) {
  const x = place.x(from);
  const width = Math.max(1, place.x(to) - x);
  return svg("rect", { x, y, width, height, class: kind });
}

/** Runs of buckets `[first, last]` with a mean, without a gap between them. */
function runsOf(series, step) {
  const runs = [];
  let first = -1;
  series.time_ms.forEach((ms, at) => {
    const isBroken = first >= 0 && ms - series.time_ms[at - 1] > step * GAP_STEPS;
    if (first >= 0 && (isBroken || series.mean[at] === null)) {
      runs.push([first, at - 1]);
      first = -1;
    }
    if (first < 0 && series.mean[at] !== null) first = at;
  });
  if (first >= 0) runs.push([first, series.time_ms.length - 1]);
  return runs;
}

function lineOf(series, values, [first, last], step, place) {
  if (first === last) { // one bucket: a line as long as it is
    const y = place.y(values[first]).toFixed(1);
    return `M${place.x(series.time_ms[first]).toFixed(1)} ${y}H${place.x(series.time_ms[first] + step).toFixed(1)}`;
  }
  const points = [];
  for (let at = first; at <= last; at += 1) {
    points.push(`${place.x(series.time_ms[at] + step / 2).toFixed(1)} ${place.y(values[at]).toFixed(1)}`);
  }
  return `M${points.join("L")}`;
}

function bandOf(series, [first, last], step, place) {
  const there = lineOf(series, series.max, [first, last], step, place);
  const back = [];
  for (let at = last; at >= first; at -= 1) {
    back.push(`${place.x(series.time_ms[at] + step / 2).toFixed(1)} ${place.y(series.min[at]).toFixed(1)}`);
  }
  return `${there}L${back.join("L")}Z`;
}

/** Spans `[from, to]` of buckets with a mark. */
function marked(series, bit, step) {
  const spans = [];
  series.time_ms.forEach((ms, at) => {
    if (!(series.marks[at] & bit)) return;
    const last = spans.at(-1);
    if (last && ms - last[1] < step * 0.5) last[1] = ms + step;
    else spans.push([ms, ms + step]);
  });
  return spans;
}

/** Spans without any value, between the first bucket and the last. */
function gapsOf(series, seen, step) {
  const spans = [];
  series.time_ms.forEach((ms, at) => {
    const before = series.time_ms[at - 1];
    if (at && ms - before > step * GAP_STEPS) spans.push([before + step, ms]);
  });
  const last = series.time_ms.at(-1);
  if (last !== undefined && seen.to - last > 3 * step) spans.push([last + step, seen.to]);
  return spans;
}
