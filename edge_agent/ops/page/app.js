// The frame: who is signed in, the head of the page, and the view that the address names.

import { Poll, get, post, postAs } from "/static/api.js";
import { clock, make, text } from "/static/dom.js";
import { beginHead, showHead } from "/static/head.js";
import { Live } from "/static/live.js";
import { beginSession, onLocked, showAccess } from "/static/session.js";
import { language, pick, t, wordsOf } from "/static/strings.js";
import { VIEWS } from "/static/views.js";

const byId = (id) => document.getElementById(id);
const root = byId("view");
const links = new Map();
let scopes = null; // of this client; null: not known yet
let open = null; // the view that is shown: {view, page, parts}
let going = 0;
let lastAnswer = Date.now();
let isLocked = false;
let live = null;

/** The name of a view and what follows it in the address: `#/asset/P-101`. */
function placeOf(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decoded);
  return { name: parts[0] ?? "", rest: parts.slice(1) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view. */
function linkTo(name, ...rest) {
  return `#/${[name, ...rest].map(encodeURIComponent).join("/")}`;
}

/** What a view may use; all that it starts here ends with it. */
class PageOfView {
  constructor(module) {
    this.t = wordsOf(module.words);
    Object.assign(this, { language, pick, get, post, postAs, linkTo });
    this.ends = [];
  }

  /** Ask for a path again and again: `show(body, total)`; `path` may be a function. */
  poll(path, show, everyMs = undefined, onResult = undefined) {
    const ask = async (isNewest) => {
      const { body, total } = await get(typeof path === "function" ? path() : path);
      if (isNewest()) show(body, total);
    };
    const poll = new Poll(ask, everyMs, onResult);
    this.onEnd(() => poll.end());
    return poll;
  }

  /** Call `end` when the view is left. */
  onEnd(end) {
    this.ends.push(end);
  }

  can(scope) {
    return scopes?.includes(scope) ?? false;
  }

  close() {
    for (const end of this.ends.splice(0)) end();
  }
}

/** Show the view that the address names; isAgain: also if it is shown already. */
async function show(isAgain = false) {
  const { name, rest } = location.pathname === "/wall" ? { name: "wall", rest: [] } : placeOf(location.hash);
  const view = VIEWS.find((one) => one.name === name) ?? VIEWS[0];
  const mine = ++going;
  if (!isAgain && open?.view === view && (open.parts?.navigate || String(open.rest) === String(rest))) {
    open.rest = rest;
    open.parts?.navigate?.(rest);
    return;
  }
  const module = await view.load();
  if (mine !== going || scopes === null) return;
  const isFirst = open === null;
  close();
  markLink(view);
  if (scopes && !scopes.includes(view.scope)) {
    root.replaceChildren(make("p", { className: "empty" }, t("needs_scope", { scope: view.scope })));
    return;
  }
  const page = new PageOfView(module);
  open = { view, page, rest, parts: null };
  open.parts = module.mount(root, page, rest) ?? {};
  if (live.event || live.alarms.size) open.parts.update?.(live, { alarms: null, assets: null });
  if (!isFirst) root.focus({ preventScroll: true });
}

function close() {
  open?.parts?.unmount?.();
  open?.page.close();
  open = null;
  root.replaceChildren();
}

function markLink(view) {
  document.body.dataset.view = view.name;
  for (const [name, link] of links) {
    if (name === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showLinks() {
  for (const view of VIEWS) {
    const link = links.get(view.name);
    if (link) link.hidden = !scopes.includes(view.scope);
  }
  byId("views").hidden = VIEWS.filter((one) => one.isListed !== false && scopes.includes(one.scope)).length < 2;
}

function beginLinks() {
  byId("views").setAttribute("aria-label", t("views"));
  for (const view of VIEWS) {
    if (view.isListed === false) continue;
    const link = make("a", { href: linkTo(view.name) }, pick(view.title));
    links.set(view.name, link);
    byId("views").append(link);
  }
}

/** Called with each change, and every five seconds without one. */
async function changed(_, what) {
  const { summary } = live;
  isLocked = false;
  const before = String(scopes);
  scopes = summary.client.scopes;
  showAccess(summary);
  showHead(live);
  showLinks();
  if (before !== String(scopes)) await show(true); // it may show more, or less, to somebody else
  else open?.parts?.update?.(live, what);
}

function answered(failure) {
  const banner = byId("banner");
  banner.hidden = !failure || isLocked;
  document.body.classList.toggle("old", Boolean(failure));
  if (failure) {
    text(banner, t("lost", { time: clock(lastAnswer) }));
    return;
  }
  lastAnswer = Date.now();
  text(byId("updated"), t("updated", { time: clock(lastAnswer) }));
}

function begin() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) text(node, t(node.dataset.text));
  byId("skip").onclick = (event) => {
    event.preventDefault(); // the address names the view
    root.focus();
  };
  beginLinks();
  beginHead();
  onLocked(() => {
    isLocked = true;
    scopes = null;
    close();
  });
  live = new Live(changed, answered);
  beginSession(() => live.start());
  window.addEventListener("hashchange", () => show());
  live.start();
}

begin();
