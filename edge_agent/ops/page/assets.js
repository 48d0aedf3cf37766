// One row for each asset, with its inputs underneath.

import { ago, el, fill, number, set, stamp, text } from "/static/dom.js";
import { t } from "/static/strings.js";

const LIMIT_AT = 2 / 3; // where a score bar shows the limit
export const STATE_WORDS = { learning: "learning_state" };
const LIMIT_WORDS = { ok: "good", not_judged: "unjudged" };
const QUALITY_WORDS = { lost: "lost_signal" };

export function assetRow(first) {
  const name = el("strong");
  const path = el("span", "muted path");
  const state = el("span", "state");
  const health = el("i");
  const healthText = el("span", "value");
  const score = el("i");
  const scoreText = el("span", "value");
  const note = el("p", "muted note");
  const followed = el("p", "muted note followed");
  const inputs = el("div", "inputs");
  const scoreTrack = el("span", "track limited", score);
  const summary = el("summary", "",
    el("span", "title", name, " ", path), state,
    el("span", "gauge", el("span", "muted", t("health")), el("span", "track", health), healthText),
    el("span", "gauge", el("span", "muted", t("score")), scoreTrack, scoreText));
  const root = el("details", "asset", summary, note, followed, inputs);
  root.dataset.asset = first.id;
  root.open = first.alarms > 0;

  return {
    root,
    update(asset) {
      const troubled = asset.off ?? asset.inputs.filter((input) => input.quality !== "good").length;
      const off = troubled || asset.state === "unjudged" ? "troubled" : "";
      set(root, "className", `asset ${asset.alarms ? "abnormal" : ""} ${off}`);
      text(name, asset.id);
      text(path, asset.path.split("/").slice(0, -1).join(" / "));
      text(state, stateOf(asset, troubled));
      fill(health, asset.health ?? 0);
      text(healthText, asset.health === null ? "–" : `${Math.round(asset.health * 100)} %`);
      const share = asset.limit ? (asset.score ?? 0) / asset.limit : 0;
      fill(score, share * LIMIT_AT);
      set(scoreTrack, "title", `${t("limit")} ${number(asset.limit)}`);
      text(scoreText, asset.limit ? `${number(asset.score)} / ${number(asset.limit)}` : number(asset.score));
      text(note, asset.note ?? "");
      text(followed, (asset.followed ?? []).map(movedOf).join(" · "));
      showInputs(inputs, asset.inputs);
    },
  };
}

function stateOf(asset, troubled) {
  const words = [t(STATE_WORDS[asset.state] ?? asset.state)];
  if (asset.alarms > 1) words.push(`× ${asset.alarms}`);
  if (troubled) words.push(`· ${troubled} ⚠`);
  return words.join(" ");
}

/** How far the middle of a baseline has moved since it was learned. */
function movedOf(one) {
  return t("middle_moved", {
    input: one.input,
    statistic: t(one.statistic.replaceAll(" ", "_")),
    n: number(one.sigmas),
    kind: t(`kind_${one.kind}`, {
      budget: number(one.budget),
      by: one.by || "–",
      accepted: one.accepted,
      states: one.states,
      since: ago(one.accepted_since_ms),
    }),
    time: ago(one.since_ms),
  });
}

function showInputs(root, inputs) {
  while (root.children.length > inputs.length) root.lastElementChild.remove();
  while (root.children.length < inputs.length) {
    root.append(el("div", "input", el("span", "name"), el("span", "value"), el("span", "quality")));
  }
  inputs.forEach((input, index) => {
    const tile = root.children[index];
    const [name, value, quality] = tile.children;
    const beyond = input.limits?.some((limit) => limit.state === "alarm");
    set(tile, "className", input.quality === "good" && !beyond ? "input" : "input off");
    set(tile, "title", [`${input.name} ${stamp(input.time_ms)}`, ...limitsOf(input)].join("\n"));
    text(name, input.name);
    text(value, `${number(input.value)} ${input.unit}`);
    text(quality, qualityOf(input));
  });
}

function limitsOf(input) {
  return (input.limits ?? []).map((limit) => {
    const unit = limit.per ? `${input.unit}/${limit.per}` : input.unit;
    return `${limit.name} ${number(limit.limit)} ${unit}: ${t(LIMIT_WORDS[limit.state] ?? limit.state)}`;
  });
}

function qualityOf(input) {
  if (input.quality === "good") return input.zone ? t("zone", { zone: input.zone }) : "";
  const word = t(QUALITY_WORDS[input.quality] ?? input.quality);
  return input.time_ms ? `${word}, ${ago(input.time_ms)}` : word;
}
