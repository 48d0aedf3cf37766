// The bottleneck of a line: which machine, how sure that is, what improving each machine would gain.

import { el, make, number, text } from "/static/dom.js";
import { Grid } from "/static/grid.js";

const EVERY_MS = 30000;
const MOST_DRIFTS = 6;

export const bottleneckWords = {
  en: {
    bottleneck: "Bottleneck", over_shift: "This shift", right_now: "Now", bn_named: "{names} limits the line (confidence {confidence}).", bn_not_sure: "Not sure: {names}.", bn_too_little: "Nothing can be said yet.", bn_or: " or ",
    bn_active: "Active", bn_chance: "Best to improve", bn_faster: "10 % faster", bn_repaired: "Stops halved", bn_buffered: "Buffer +5", bn_per_h: "{gain}/h ({low} to {high})", bn_blocked: "Blocked", bn_starved: "Starved", bn_machine: "Machine", bn_cycle: "Cycle",
    bn_from: "By active time: {active}; by blocked and starved: {waits}. States known for {known} of the time, {parts} parts.", bn_drift: "{machine}: cycle {change} longer ({before} s, now {now} s)", bn_follows: "{signals} moves with it", bn_moved_too: "{signals} changed in the same time", bn_unexplained: "no signal explains it",
    tie: "Machines are too close to each other.", unseen: "A machine that may be the bottleneck sends too few states.", contradiction: "Blocked and starved do not fit the work and stops of the machines.", no_waits: "No machine reports that it is blocked or starved.", supply: "The first machine waits for material: the limit may be before the line.", demand: "The last machine is blocked: the limit may be behind the line.", few_parts: "Too few parts passed.", few_states: "Most machines send too few states.",
  },
  de: {
    bottleneck: "Engpass", over_shift: "Diese Schicht", right_now: "Jetzt", bn_named: "{names} begrenzt die Linie (Sicherheit {confidence}).", bn_not_sure: "Nicht sicher: {names}.", bn_too_little: "Noch lässt sich nichts sagen.", bn_or: " oder ",
    bn_active: "Aktiv", bn_chance: "Lohnt am meisten", bn_faster: "10 % schneller", bn_repaired: "Halbe Stillstände", bn_buffered: "Puffer +5", bn_per_h: "{gain}/h ({low} bis {high})", bn_blocked: "Blockiert", bn_starved: "Wartet auf Teile", bn_machine: "Maschine", bn_cycle: "Takt",
    bn_from: "Nach aktiver Zeit: {active}; nach Blockieren und Warten: {waits}. Zustände zu {known} der Zeit bekannt, {parts} Teile.", bn_drift: "{machine}: Takt um {change} länger ({before} s, jetzt {now} s)", bn_follows: "{signals} ändert sich mit", bn_moved_too: "{signals} änderte sich in derselben Zeit", bn_unexplained: "kein Signal erklärt es",
    tie: "Maschinen liegen zu dicht beieinander.", unseen: "Eine Maschine, die der Engpass sein kann, sendet zu wenige Zustände.", contradiction: "Blockieren und Warten passen nicht zu Arbeit und Stillständen der Maschinen.", no_waits: "Keine Maschine meldet, dass sie blockiert ist oder wartet.", supply: "Die erste Maschine wartet auf Material: die Grenze kann vor der Linie liegen.", demand: "Die letzte Maschine ist blockiert: die Grenze kann hinter der Linie liegen.", few_parts: "Zu wenige Teile liefen durch.", few_states: "Die meisten Maschinen senden zu wenige Zustände.",
  },
  zh: {
    bottleneck: "瓶颈", over_shift: "本班次", right_now: "现在", bn_named: "{names} 限制产线（置信度 {confidence}）。", bn_not_sure: "不确定：{names}。", bn_too_little: "目前无法判断。", bn_or: " 或 ",
    bn_active: "活动时间", bn_chance: "最值得改进", bn_faster: "快 10 %", bn_repaired: "停机减半", bn_buffered: "缓冲 +5", bn_per_h: "{gain}/小时（{low} 至 {high}）", bn_blocked: "堵塞", bn_starved: "缺料", bn_machine: "机器", bn_cycle: "节拍",
    bn_from: "按活动时间：{active}；按堵塞和缺料：{waits}。{known} 的时间状态已知，{parts} 件。", bn_drift: "{machine}：节拍变长 {change}（{before} s，现在 {now} s）", bn_follows: "{signals} 随之变化", bn_moved_too: "{signals} 在同一时间变化", bn_unexplained: "没有信号能解释",
    tie: "几台机器过于接近。", unseen: "可能是瓶颈的机器发送的状态太少。", contradiction: "堵塞和缺料与机器的加工和停机不符。", no_waits: "没有机器报告堵塞或缺料。", supply: "第一台机器缺料：限制可能在产线之前。", demand: "最后一台机器堵塞：限制可能在产线之后。", few_parts: "通过的零件太少。", few_states: "多数机器发送的状态太少。",
  },
  ja: {
    bottleneck: "ボトルネック", over_shift: "この直", right_now: "現在", bn_named: "{names} がラインを制限しています（確信度 {confidence}）。", bn_not_sure: "不確か：{names}。", bn_too_little: "まだ判断できません。", bn_or: " または ",
    bn_active: "稼働と停止", bn_chance: "改善の効果が最大", bn_faster: "10 % 速く", bn_repaired: "停止を半分", bn_buffered: "バッファ +5", bn_per_h: "{gain}/h（{low}～{high}）", bn_blocked: "ブロック", bn_starved: "部品待ち", bn_machine: "機械", bn_cycle: "サイクル",
    bn_from: "稼働時間では {active}、ブロックと部品待ちでは {waits}。状態が分かる時間は {known}、部品 {parts} 個。", bn_drift: "{machine}：サイクルが {change} 長くなりました（{before} s、現在 {now} s）", bn_follows: "{signals} が連動", bn_moved_too: "{signals} が同じ時間に変化", bn_unexplained: "説明できる信号はありません",
    tie: "機械の差が小さすぎます。", unseen: "ボトルネックかもしれない機械の状態が少なすぎます。", contradiction: "ブロックと部品待ちが機械の作業と停止に合いません。", no_waits: "ブロックや部品待ちを報告する機械がありません。", supply: "最初の機械が材料待ちです。制限はラインの前かもしれません。", demand: "最後の機械がブロックされています。制限はラインの後かもしれません。", few_parts: "通過した部品が少なすぎます。", few_states: "多くの機械の状態が少なすぎます。",
  },
};

/** The section of the bottleneck of one line; hidden while the gateway does not look for it. */
export function bottleneckSection(page, line) {
  const { t } = page;
  const parts = [["shift", "over_shift"], ["now", "right_now"]].map(([key, title]) => [key, said(page, title)]);
  const grid = new Grid(t("bottleneck"), columns(page), (row) => (row.isNamed ? "warning" : ""));
  const from = make("p", { className: "muted" });
  const drifts = el("ul", "why");
  const root = make("div", { className: "bottleneck", hidden: true }, make("h3", {}, t("bottleneck")), ...parts.map(([, one]) => one.root), grid.root, from, drifts);
  page.poll("/api/bottlenecks", (all) => {
    const answer = all.find((one) => one.line === line);
    root.hidden = !answer;
    if (!answer) return;
    for (const [key, one] of parts) one.update(answer[key]);
    const { shift } = answer;
    grid.update(shift.stations.map((one) => ({ ...one, isNamed: shift.named.includes(one.machine) })), (one) => one.machine);
    text(from, t("bn_from", { active: shift.by_active ?? "–", waits: shift.by_waits ?? "–", known: percent(shift.coverage), parts: number(shift.parts) }));
    drifts.replaceChildren(...answer.drifts.filter((one) => one.drifts).slice(0, MOST_DRIFTS).map((one) => el("li", "", driftOf(t, one))));
  }, EVERY_MS, () => {});
  return root;
}

function said(page, title) {
  const { t } = page;
  const line = el("span");
  const root = make("p", { role: "status" }, make("strong", {}, `${t(title)}: `), line);
  return {
    root,
    update(row) {
      const names = row.named.join(t("bn_or"));
      const doubts = row.doubts.map((one) => t(one)).join(" ");
      text(line, `${t(`bn_${row.verdict}`, { names, confidence: percent(row.confidence) })} ${doubts}`.trim());
    },
  };
}

function columns(page) {
  const { t } = page;
  const share = (key, head) => ({ head: t(head), isNumber: true, show: (row) => percent(row[key]) });
  const gain = (key) => ({ head: t(`bn_${key}`), isNumber: true, show: (row) => gainOf(t, row[key]) });
  return [
    { head: t("bn_machine"), show: (row) => row.machine },
    share("active", "bn_active"), share("blocked", "bn_blocked"), share("starved", "bn_starved"),
    { head: t("bn_cycle"), isNumber: true, show: (row) => `${number(row.cycle_s)} s` },
    share("chance", "bn_chance"), gain("faster"), gain("repaired"), gain("buffered"),
  ];
}

function gainOf(t, gain) {
  if (!gain) return "–";
  if (gain.parts_per_h === null || !gain.share) return `+${percent(gain.share)}`;
  const unit = gain.parts_per_h / gain.share;
  const shown = (share) => number(Math.round(share * unit * 10) / 10);
  return t("bn_per_h", { gain: `+${shown(gain.share)}`, low: shown(gain.low), high: shown(gain.high) });
}

function driftOf(t, one) {
  const signals = one.explained.map((each) => each.signal).join(", ");
  const why = one.explained.length ? t(`bn_${one.explained[0].kind}`, { signals }) : t("bn_unexplained");
  const change = percent(one.change);
  return `${t("bn_drift", { machine: one.machine, change, before: number(one.before_s), now: number(one.now_s) })}; ${why}.`;
}

function percent(share) {
  return typeof share === "number" ? `${number(Math.round(share * 1000) / 10)} %` : "–";
}
