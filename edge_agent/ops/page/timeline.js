// The states of machines over time: a lane each as SVG, read stay by stay with the keyboard.

import { Keyed, clock, duration, el, make, text } from "/static/dom.js";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 1000; // of the drawing, which is stretched to its place
const HEIGHT = 20;
// From which share of the height down: states differ in form, too, not only in colour.
const TOP = { running: 0, down: 0, setup: 0.3, blocked: 0.45, starved: 0.45, idle: 0.7, planned: 0.85, unknown: 0 };

function svg(tag, attributes = {}) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** `update(answer)`: of /api/lines/{line}/states. */
export function timeline(page, states) {
  const about = make("p", { className: "muted about", role: "status" });
  const lanes = el("div", "lanes");
  const axis = make("div", { className: "axis muted", "aria-hidden": "true" });
  const keyed = new Keyed(lanes, (row) => lane(page, row.machine, (said) => text(about, said)));
  const legend = el("p", "legend muted", ...states.flatMap((one) => [make("i", { className: `state-${one}`, "aria-hidden": "true" }), el("span", "", page.t(one))]));
  return {
    root: el("div", "timeline", lanes, axis, about, legend),
    update(answer) {
      const seen = { from: answer.from_ms, to: answer.to_ms };
      keyed.update(answer.machines.map((one) => ({ ...one, seen })), (one) => one.machine);
      const times = [0, 0.25, 0.5, 0.75, 1].map((share) => seen.from + share * (seen.to - seen.from));
      axis.replaceChildren(...times.map((ms) => el("span", "", clock(ms).slice(0, 5))));
    },
  };
}

function lane(page, name, say) {
  const shapes = svg("g");
  const cursor = svg("rect", { y: 0, height: HEIGHT, class: "cursor" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  drawing.append(shapes, cursor);
  const plot = make("div", { className: "lane-plot", tabIndex: 0, role: "group", "aria-label": `${name}. ${page.t("states_hint")}` }, drawing);
  let [shown, at] = [null, -1];
  const x = (ms) => (WIDTH * (ms - shown.seen.from)) / (shown.seen.to - shown.seen.from);
  const read = (to) => {
    const stays = shown?.stays ?? [];
    if (!stays.length) return;
    at = Math.max(0, Math.min(stays.length - 1, to));
    const [state, from, until] = stays[at];
    cursor.setAttribute("x", x(from));
    cursor.setAttribute("width", Math.max(1, x(until) - x(from)));
    cursor.style.display = "";
    say(`${name}: ${page.t(state)}, ${clock(from)} – ${clock(until)} (${duration((until - from) / 1000)})`);
  };
  plot.onkeydown = (event) => {
    const last = (shown?.stays.length ?? 0) - 1;
    const to = { ArrowLeft: at < 0 ? last : at - 1, ArrowRight: at < 0 ? last : at + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  };
  plot.onclick = (event) => {
    const box = plot.getBoundingClientRect();
    const ms = shown.seen.from + ((event.clientX - box.left) / box.width) * (shown.seen.to - shown.seen.from);
    read(shown.stays.findIndex(([, from, until]) => from <= ms && ms < until));
  };
  cursor.style.display = "none";
  return {
    root: el("div", "lane", el("span", "name", name), plot),
    update(row) {
      shown = row;
      at = -1;
      cursor.style.display = "none";
      shapes.replaceChildren(...row.stays.map(([state, from, until]) => {
        const y = HEIGHT * (TOP[state] ?? 0);
        const width = Math.max(0.5, x(until) - x(from));
        return svg("rect", { x: x(from), y, width, height: HEIGHT - y, class: `state-${state}` });
      }));
    },
  };
}
