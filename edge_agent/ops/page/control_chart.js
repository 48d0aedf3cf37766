// A control chart as SVG: points, centre, limits, zones; violations as marks that do not need colour.

import { el, number, stamp, text } from "/static/dom.js";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 260;
const SIDE = 14; // of the drawing, left and right
const SPREAD = 120;

function svg(tag, attributes = {}, words = "") {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (words) node.textContent = words;
  return node;
}

/** The panels of a chart; `names`: {statistic, spread}. `update(points, specification)`. */
export function controlChart(page, names) {
  const value = panel(page, HEIGHT, names.statistic);
  const spread = panel(page, SPREAD, names.spread);
  const root = el("div", "control-chart", value.root, spread.root);
  return {
    root,
    update(points, specification) {
      value.update(points.map(located), specification, points);
      const spreads = points.filter((one) => one.spread !== null);
      spread.root.hidden = spreads.length === 0;
      spread.update(spreads.map(spreadOf), null, spreads);
    },
  };
}

function located(one) {
  return { value: one.value, other: one.other, low: one.low, high: one.high, center: one.center, isOut: one.rules.some((rule) => rule !== "spread"), phase: one.phase, zones: true };
}

function spreadOf(one) {
  return { value: one.spread, other: null, low: one.spread_low, high: one.spread_high, center: null, isOut: one.rules.includes("spread"), phase: one.phase, zones: false };
}

function panel(page, height, label) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const [name, top, bottom] = ["name", "top muted", "bottom muted"].map((one) => el("span", one));
  text(name, label);
  const root = el("div", "strip", el("p", "", name), el("div", "plot", drawing, top, bottom));
  return {
    root,
    update(shown, specification, points) {
      if (!shown.length) {
        drawing.replaceChildren();
        return;
      }
      const range = rangeOf(shown, specification);
      const place = {
        x: (n) => SIDE + ((WIDTH - 2 * SIDE) * (n + 0.5)) / shown.length,
        y: (v) => height * (1 - (v - range.low) / (range.high - range.low)),
        step: (WIDTH - 2 * SIDE) / shown.length,
      };
      drawing.replaceChildren(...drawn(page, shown, specification, place, points, height));
      text(top, number(range.high));
      text(bottom, number(range.low));
    },
  };
}

function rangeOf(shown, specification) {
  const all = shown.flatMap((one) => [one.value, one.other, one.low, one.high]);
  const known = [...all, specification?.low, specification?.high].filter((one) => typeof one === "number");
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const margin = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return { low: low - margin, high: high + margin };
}

function drawn(page, shown, specification, place, points, height) {
  const found = [];
  const learned = shown.filter((one) => one.phase === 1).length;
  if (learned) found.push(svg("rect", { x: 0, y: 0, width: place.x(learned - 1) + place.step / 2, height, class: "phase-one" }));
  if (shown[0].zones) found.push(...zonesOf(shown, place));
  for (const side of ["low", "high"]) {
    found.push(svg("path", { d: stairs(shown, (one) => one[side], place), class: "limit" }));
    const wanted = specification?.[side];
    if (typeof wanted === "number") found.push(svg("path", { d: `M0 ${place.y(wanted).toFixed(1)}H${WIDTH}`, class: "specified" }));
  }
  if (shown[0].center !== null) found.push(svg("path", { d: stairs(shown, (one) => one.center, place), class: "center" }));
  for (const key of ["value", "other"]) {
    if (shown[0][key] === null) continue;
    found.push(svg("path", { d: `M${shown.map((one, n) => `${place.x(n).toFixed(1)} ${place.y(one[key]).toFixed(1)}`).join("L")}`, class: "mean" }));
  }
  shown.forEach((one, n) => found.push(...markOf(page, one, n, place, points[n])));
  return found;
}

/** The zones A, B and C: lines at one and two thirds of the way to the limits. */
function zonesOf(shown, place) {
  const found = [];
  for (const share of [1 / 3, 2 / 3]) {
    for (const side of ["low", "high"]) {
      found.push(svg("path", { d: stairs(shown, (one) => one.center + share * (one[side] - one.center), place), class: "zone" }));
    }
  }
  return found;
}

/** A line with a step for each point: limits may differ from point to point. */
function stairs(shown, valueOf, place) {
  const parts = shown.map((one, n) => {
    const [x, y] = [place.x(n), place.y(valueOf(one)).toFixed(1)];
    return `${n ? "L" : "M"}${(x - place.step / 2).toFixed(1)} ${y}H${(x + place.step / 2).toFixed(1)}`;
  });
  return parts.join("");
}

/** A point: a dot that is as long as its stroke is wide; out of control, a cross over the height. */
function markOf(page, one, n, place, point) {
  const main = one.other !== null && -one.other > one.value ? one.other : one.value;
  const [x, y] = [place.x(n).toFixed(1), place.y(main).toFixed(1)];
  const dot = svg("path", { d: `M${x} ${y}h.01`, class: one.isOut ? "dot out" : "dot" });
  dot.append(svg("title", {}, `${stamp(point.at_ms)} · ${number(main)} · ${point.rules.map((rule) => page.t(rule)).join(", ")}`));
  return one.isOut ? [svg("path", { d: `M${x} 0V${place.y(main).toFixed(1)}`, class: "violation" }), dot] : [dot];
}
