// One card for each alarm.

import { ago, clock, el, fill, number, set, stamp, text } from "/static/dom.js";
import { PARKED } from "/static/head.js";
import { pick, t } from "/static/strings.js";

// A shape beside each colour: nobody needs to tell red from orange (ISA-101).
export const SHAPES = { critical: "■", high: "▲", medium: "◆", low: "●" };
const SHOWN_CONTRIBUTORS = 3;
export const SHELVE_MIN = [15, 60, 240, 480];
export const TO_ACK = new Set(["unack", "rtn_unack"]);

/** `command(kind, alarmId, more, onAnswer)` sends a command and gives the error's text, or "".
 *  `confirmHealthy(asset)` does the same of an asset whose baseline raises the alarm. */
export function alarmCard(command, confirmHealthy) {
  return (first) => {
    const id = first.alarm_id;
    const mark = el("span", "mark");
    const message = el("p", "message");
    const asset = el("strong");
    const state = el("span", "state");
    const since = el("time");
    const extra = el("span", "muted");
    const comment = el("p", "comment");
    const bars = el("div", "bars");
    const advice = el("p", "advice");
    const advised = el("details", "", el("summary", "", t("advice")), advice);
    const failure = el("p", "failure");
    const ack = el("button", "", t("ack"));
    const confirm = el("button", "", t("confirm"));
    const shelve = shelveMenu();
    const unshelve = el("button", "", t("unshelve"));
    const healthy = el("button", "", t("healthy"));
    const done = el("p", "done");
    const yes = el("button", "", t("healthy_yes"));
    const question = questionBox(healthy, t("healthy_means", { asset: first.asset }), yes);
    const feedback = el("button", "", t("feedback"));
    const reason = el("input");
    const part = el("input");
    const verdicts = ["false", "true", "planned"].map((verdict) => {
      const button = el("button", "", t(`say_${verdict}`));
      button.onclick = () => judge(verdict);
      return button;
    });
    const means = t("feedback_means", { asset: first.asset });
    const judgement = questionBox(feedback, means, reason, part, ...verdicts);
    const judged = el("p", "done");
    const facts = el("p", "facts", asset, " ", state, " ", since, " ", extra);
    const root = el("article", "alarm", mark,
      el("div", "body", message, facts, comment, bars, advised, question.root, judgement.root,
        done, judged, failure),
      el("div", "actions", ack, confirm, shelve, unshelve, feedback, healthy));
    root.dataset.alarm = id;
    reason.maxLength = 500;
    reason.placeholder = t("comment");
    reason.setAttribute("aria-label", t("comment"));
    part.maxLength = 48;
    part.placeholder = t("part");
    part.setAttribute("aria-label", t("part"));
    for (const one of [done, judged]) one.setAttribute("role", "status");

    const send = async (kind, more) => text(failure, await command(kind, id, more));
    ack.onclick = () => send("ack");
    confirm.onclick = () => send("confirm");
    yes.onclick = async () => {
      const said = await confirmHealthy(first.asset);
      text(failure, said);
      text(done, said ? "" : t("healthy_done"));
      question.close();
    };
    async function judge(verdict) {
      text(judged, "");
      const comment = reason.value.trim();
      const body = { verdict };
      if (comment) body.comment = comment;
      if (part.value.trim()) body.part = part.value.trim();
      const said = await command("feedback", id, body, (answer) => {
        text(judged, t("feedback_done", { asset: first.asset, n: number(answer.limit_factor) }));
        reason.value = part.value = "";
      });
      text(failure, said);
      if (!said) judgement.close();
    }
    unshelve.onclick = () => send("unshelve");
    shelve.onchange = () => {
      const minutes = Number(shelve.value);
      shelve.selectedIndex = 0;
      send("shelve", { duration_s: minutes * 60 });
    };

    return {
      root,
      update(alarm) {
        set(root, "className", `alarm ${priorityOf(alarm)} ${TO_ACK.has(alarm.state) ? "new" : ""}`);
        text(mark, `${SHAPES[priorityOf(alarm)]} ${t(priorityOf(alarm))}`);
        text(message, pick(alarm.message) || id);
        text(asset, alarm.asset);
        text(state, t(alarm.state));
        text(since, t("since", { time: ago(alarm.changed_ms) }));
        set(since, "title", stamp(alarm.changed_ms));
        text(extra, more(alarm));
        text(comment, alarm.comment ? `“${alarm.comment}”` : "");
        showContributors(bars, alarm.detail?.contributors ?? []);
        text(advice, pick(alarm.advice));
        advised.hidden = !advice.textContent;
        ack.hidden = !TO_ACK.has(alarm.state);
        confirm.hidden = alarm.state !== "acked" || Boolean(alarm.confirmed_by);
        shelve.hidden = PARKED.has(alarm.state);
        unshelve.hidden = alarm.state !== "shelved";
        healthy.hidden = !alarm.follows || !alarm.active;
        if (healthy.hidden) {
          question.root.hidden = true;
          text(done, "");
        }
        feedback.hidden = typeof alarm.feedback !== "string";
        if (feedback.hidden) judgement.root.hidden = true;
      },
    };
  };
}

/** What will happen is said before it is done. Its button opens and closes it, Escape closes it;
 *  the focus goes to its field, or to what does nothing, and back to the button. */
function questionBox(button, means, ...answers) {
  const no = el("button", "", t("cancel"));
  const root = el("div", "question", el("p", "", means), ...answers, no);
  const field = answers.find((one) => one.tagName === "INPUT") ?? no;
  const show = (open) => {
    root.hidden = !open;
    button.setAttribute("aria-expanded", open);
    (open ? field : button).focus();
  };
  root.hidden = true;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", button.textContent);
  button.setAttribute("aria-expanded", false);
  button.onclick = () => show(root.hidden);
  no.onclick = () => show(false);
  root.onkeydown = (event) => { if (event.key === "Escape") show(false); };
  return { root, close: () => show(false) };
}

export function priorityOf(alarm) {
  return Object.hasOwn(SHAPES, alarm.priority) ? alarm.priority : "low";
}

function more(alarm) {
  const parts = [];
  if (alarm.count > 1) parts.push(t("times", { n: alarm.count }));
  if (alarm.state === "shelved" && alarm.shelved_until_ms) {
    parts.push(t("until", { time: clock(alarm.shelved_until_ms) }));
  }
  if (alarm.state === "shelved" && alarm.shelved_by) {
    parts.push(t("by", { name: alarm.shelved_by }));
  } else if (alarm.acked_by) parts.push(t("by", { name: alarm.acked_by }));
  if (alarm.confirmed_by) parts.push(t("confirmed_by", { name: alarm.confirmed_by }));
  if (alarm.feedback) parts.push(t(`called_${alarm.feedback}`));
  const model = alarm.detail?.model;
  if (model) parts.push(`${model.name} ${model.version}`);
  return parts.map((part) => `· ${part}`).join(" ");
}

export function spanOf(minutes) {
  return minutes < 60 ? `${minutes} min` : `${minutes / 60} h`;
}

function shelveMenu() {
  const menu = el("select", "", el("option", "", t("shelve")));
  menu.setAttribute("aria-label", t("shelve"));
  for (const minutes of SHELVE_MIN) {
    const option = el("option", "", spanOf(minutes));
    option.value = minutes;
    menu.append(option);
  }
  return menu;
}

function showContributors(root, known) {
  const all = known.reduce((sum, each) => sum + Math.abs(each.weight ?? 0), 0) || 1;
  const contributors = known.slice(0, SHOWN_CONTRIBUTORS);
  while (root.children.length > contributors.length) root.lastElementChild.remove();
  while (root.children.length < contributors.length) {
    root.append(el("div", "bar-row", el("span", "name"), el("span", "track", el("i")), el("span", "value")));
  }
  contributors.forEach((each, index) => {
    const [name, track, value] = root.children[index].children;
    text(name, each.input);
    fill(track.firstElementChild, Math.abs(each.weight ?? 0) / all);
    text(value, `${number(each.value)} ${each.unit}`);
  });
}
