// Who is signed in: a key, kept by this tab alone until it is closed or signed out, never in an address.

import { text } from "/static/dom.js";
import { t } from "/static/strings.js";

const STORED = "key";
const byId = (id) => document.getElementById(id);

/** The headers of a request of whoever is signed in. */
export function headers(more = {}) {
  return bearer(sessionStorage.getItem(STORED), more);
}

function bearer(key, more = {}) {
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

/** After each answer: true if the key opens nothing any more; it is then forgotten.
 *  isBase: of what every reader may ask, so that a key without this right is no use here. */
export async function isRefused(answer, sent, isBase = false) {
  const needsKey = answer.status === 401;
  const key = sent.Authorization;
  const lacksScope = answer.status === 403 && answer.headers.has("WWW-Authenticate");
  const ends = needsKey || (isBase && lacksScope);
  if (ends && key && key === headers().Authorization) {
    sessionStorage.removeItem(STORED);
    text(byId("login-failure"), (await answer.clone().json()).error);
  }
  return ends;
}

let whenLocked = () => {};

/** `listener` is called when nothing may be shown any more. */
export function onLocked(listener) {
  whenLocked = listener;
}

/** Nothing is shown any more, but the field for a key. */
export function lock() {
  whenLocked();
  document.body.classList.add("locked");
  document.title = "edge-agent";
  byId("session").hidden = true;
  askForKey("key_needed");
}

/** What this client may do, as the gateway says with each summary; parts of the page with
 *  data-scope are shown to clients with that scope. */
export function showAccess({ commands, client }) {
  const isSignedIn = Boolean(client.name) && sessionStorage.getItem(STORED) !== null;
  document.body.classList.remove("locked");
  document.body.classList.toggle("read-only", commands !== "allowed");
  for (const node of document.querySelectorAll("[data-scope]")) {
    node.classList.toggle("not-allowed", !client.scopes.includes(node.dataset.scope));
  }
  byId("access").hidden = commands !== "off";
  byId("session").hidden = !isSignedIn;
  const scopes = client.scopes.join(", ");
  text(byId("session-name"), t("signed_in", { name: client.name, scopes }));
  if (isSignedIn || commands !== "token") byId("login").hidden = true;
  else askForKey("commands_need_key");
}

function askForKey(why) {
  text(byId("login-label"), t(why));
  byId("login").hidden = false;
}

/** A key after # of the address, which a browser never sends. */
function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  sessionStorage.setItem(STORED, given);
  history.replaceState(null, "", location.pathname); // nor its history keeps it
}

/** Keep a key only if the gateway knows it. */
async function signIn(key, changed) {
  const failure = byId("login-failure");
  try {
    const answer = await fetch("/api/summary", { headers: bearer(key), cache: "no-store" });
    if (!answer.ok) {
      text(failure, (await answer.json()).error);
      return;
    }
  } catch (problem) {
    text(failure, String(problem));
    return;
  }
  text(failure, "");
  byId("key").value = "";
  sessionStorage.setItem(STORED, key);
  changed();
}

/** Make the field and the button work; `changed` is called when somebody signed in or out. */
export function beginSession(changed) {
  takeKey();
  byId("login").onsubmit = (event) => {
    event.preventDefault();
    signIn(byId("key").value.trim(), changed);
  };
  byId("sign-out").onclick = () => {
    sessionStorage.removeItem(STORED);
    byId("session").hidden = true;
    changed();
  };
}
