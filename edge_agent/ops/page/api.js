// Requests to the gateway, with the key of whoever is signed in.

import { setClock } from "/static/dom.js";
import { headers, isRefused, lock } from "/static/session.js";
import { t } from "/static/strings.js";

const BASE = "/api/summary";
const ANSWER_MS = 8000;
const EVERY_MS = 2000;
const LONGEST_WAIT_MS = 30000;

/** An answer as JSON: `{body, total}`, total: of all rows (X-Total-Count). Throws if it is none.
 *  waitMs: how long it may take. */
export async function get(path, waitMs = ANSWER_MS) {
  const sent = headers();
  const signal = AbortSignal.timeout(waitMs);
  const answer = await fetch(path, { headers: sent, signal, cache: "no-store" });
  if (await isRefused(answer, sent, path === BASE)) lock();
  if (!answer.ok) throw await failureOf(answer, path);
  setClock(answer.headers.get("Date"));
  return { body: await answer.json(), total: Number(answer.headers.get("X-Total-Count")) };
}

/** A picture as a data: URL, which the policy of the page allows; an `img` sends no key. */
export async function picture(path) {
  const answer = await fetch(path, { headers: headers(), signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) throw await failureOf(answer, path);
  const blob = await answer.blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function failureOf(answer, path) {
  const said = await answer.json().catch(() => ({}));
  const failure = new Error(said.error ?? `${path}: ${answer.status}`);
  return Object.assign(failure, { status: answer.status, hint: said.hint ?? "" });
}

/** Save an answer as a file: a link would not send the key. Throws if there is no answer. */
export async function download(path, name) {
  const answer = await fetch(path, { headers: headers(), cache: "no-store" });
  if (!answer.ok) throw await failureOf(answer, path);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), ANSWER_MS);
}

/** Send a command under the name of the operator. Returns the reason why it failed, or "";
 *  `onAnswer(answer)` is called if it did not. waitMs: how long an answer may take. */
export async function post(path, body, onAnswer = undefined, waitMs = ANSWER_MS) {
  const operator = document.getElementById("operator");
  const by = operator.value.trim();
  if (!by) {
    operator.focus();
    return t("name_needed");
  }
  return postAs(path, { by, ...body }, onAnswer, waitMs);
}

/** The same for a route that does not take the name of who asks. */
export async function postAs(path, body, onAnswer = undefined, waitMs = ANSWER_MS) {
  try {
    const sent = headers({ "Content-Type": "application/json" });
    const signal = AbortSignal.timeout(waitMs);
    const answer = await fetch(path, { method: "POST", headers: sent, body: JSON.stringify(body), signal });
    await isRefused(answer, sent);
    const said = await answer.json();
    if (!answer.ok) return said.hint ? `${said.error} (${said.hint})` : said.error;
    onAnswer?.(said);
    return "";
  } catch (problem) {
    return String(problem);
  }
}

/** Calls `ask` again and again while the page is seen, less often after failures.
 *
 * `ask` returns a promise; `onResult(failure)` hears of each end of it, failure: null if it went
 * well. `now()` asks at once; an answer to an older question is then dropped: `ask` is told by
 * `isNewest()`.
 */
export class Poll {
  constructor(ask, everyMs = EVERY_MS, onResult = () => {}) {
    Object.assign(this, { ask, everyMs, onResult, wait: everyMs, timer: 0, asking: 0, ended: false });
    this.onSeen = () => (document.hidden ? clearTimeout(this.timer) : this.now());
    document.addEventListener("visibilitychange", this.onSeen);
    this.now();
  }

  async now() {
    clearTimeout(this.timer);
    if (this.ended) return;
    const mine = ++this.asking;
    const isNewest = () => mine === this.asking && !this.ended;
    let failure = null;
    try {
      await this.ask(isNewest);
    } catch (problem) {
      failure = problem;
    }
    if (!isNewest()) return;
    this.wait = failure ? Math.min(this.wait * 2, LONGEST_WAIT_MS) : this.everyMs;
    this.onResult(failure);
    if (!document.hidden) this.timer = setTimeout(() => this.now(), this.wait);
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onSeen);
  }
}
