// The box of questions. What it shows comes from manuals and from people: text alone, never markup.

import { el, make, text } from "/static/dom.js";
import { headers, isRefused } from "/static/session.js";
import { language, t } from "/static/strings.js";

const ANSWER_MS = 30000;
const byId = (id) => document.getElementById(id);
let newest = 0; // answers to older questions come too late

async function question(event) {
  event.preventDefault();
  const asked = byId("question").value.trim();
  if (!asked) return;
  const mine = ++newest;
  const button = byId("ask-button");
  button.disabled = true;
  text(byId("ask-state"), t("ask_waits"));
  try {
    const sent = headers({ "Content-Type": "application/json" });
    const body = JSON.stringify({ question: asked, language });
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await fetch("/api/ask", { method: "POST", headers: sent, body, signal });
    await isRefused(answer, sent);
    const found = await answer.json();
    if (mine !== newest) return;
    text(byId("ask-state"), answer.ok ? "" : found.error);
    byId("answer").replaceChildren(...(answer.ok ? parts(found) : []));
  } catch (problem) {
    if (mine === newest) text(byId("ask-state"), String(problem));
  } finally {
    button.disabled = false;
  }
}

function parts(found) {
  const facts = found.facts.map((fact) => el("p", "fact", fact.text));
  const quotes = found.passages.map(quote);
  const said = found.comments.map((one) => el("div", "quote comment",
    el("blockquote", "", one.text), el("p", "muted", `${t("operator_said")}: ${one.by}, ${one.subject}`)));
  return [...facts, ...quotes, ...(quotes.length ? [] : [missing(found)]), ...said];
}

/** Why there is no quote: the last lines of the answer say it, in its language. */
function missing(found) {
  const lines = found.answer.split("\n").slice(found.facts.length);
  return el("p", "muted", lines[0] ?? "");
}

/** A passage word for word, and the page it is from, which a button shows. */
function quote(one) {
  const place = [one.document, one.revision, t("page_n", { n: one.page }), one.heading];
  const button = el("button", "", place.filter(Boolean).join(", "));
  const page = el("pre");
  page.hidden = true;
  button.type = "button";
  button.onclick = () => showPage(page, one.url);
  return el("div", `quote ${one.role === "warning" ? "warning" : ""}`,
    el("blockquote", "", one.text), button, page);
}

async function showPage(page, url) {
  page.hidden = !page.hidden;
  if (page.hidden || page.textContent) return;
  try {
    const answer = await fetch(url, { headers: headers(), cache: "no-store" });
    text(page, answer.ok ? await answer.text() : (await answer.json()).error);
  } catch (problem) {
    text(page, String(problem));
  }
}

/** The box: a field, and below it the newest answer. Only for clients that may read. */
export function askBox() {
  const hint = t("ask_hint");
  const field = make("input", { id: "question", maxLength: 1000, autocomplete: "off", placeholder: hint, "aria-label": hint });
  const button = make("button", { id: "ask-button" }, t("ask_send"));
  const form = make("form", { id: "ask", className: "ask" }, field, button);
  form.onsubmit = question;
  return make("div", { id: "ask-box" }, el("h2", "", t("ask")), form,
    make("p", { id: "ask-state", className: "muted", role: "status" }),
    make("div", { id: "answer", className: "answer", "aria-live": "polite" }));
}
