// The tag browser of a source: the tree of an OPC UA server, or the topics heard on a broker.

import { el, make, number, text } from "/static/dom.js";
import { Grid } from "/static/grid.js";

const BROWSE_MS = 60000;
const OPEN_UP_TO = 60; // tags: a larger tree begins closed

/** `page`: of the view; its words are those of views/sources.js. */
export function tagBrowser(page, source) {
  const { t } = page;
  const pattern = make("input", { maxLength: 256, placeholder: t("pattern"), "aria-label": t("pattern"), spellcheck: false });
  const button = make("button", {}, t("browse"));
  const said = make("p", { className: "muted", role: "status" });
  const tree = el("div", "tree");
  const form = make("form", { className: "ask" }, pattern, button);
  form.onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    said.className = "muted";
    text(said, t("browsing"));
    const show = (found) => {
      text(said, [t("n_tags", { n: number(found.tags.length) }), found.stopped && t("stopped", { why: found.stopped })].filter(Boolean).join(" · "));
      tree.replaceChildren(...branch(t, rootOf(found.tags), found.tags.length <= OPEN_UP_TO));
    };
    const failure = await page.post(`/api/sources/${encodeURIComponent(source)}/tags`, { pattern: pattern.value.trim() }, show, BROWSE_MS);
    button.disabled = false;
    if (!failure) return;
    said.className = "failure";
    text(said, failure);
  };
  const may = page.can("command");
  form.hidden = !may;
  const hint = make("p", { className: "muted" }, may ? t("tags_mean") : t("needs_scope", { scope: "command" }));
  return el("section", "", make("h2", {}, t("tags_of", { name: source })), hint, form, said, tree);
}

/** The tree of tags by their paths: {folders: Map of name → the same, tags: [...]}. */
function rootOf(tags) {
  const root = { folders: new Map(), tags: [], count: 0 };
  for (const tag of tags) {
    let at = root;
    for (const part of tag.path.slice(0, -1)) {
      if (!at.folders.has(part)) at.folders.set(part, { folders: new Map(), tags: [], count: 0 });
      at = at.folders.get(part);
      at.count += 1;
    }
    at.tags.push(tag);
  }
  return root;
}

function branch(t, node, isOpen) {
  const folders = [...node.folders].map(([name, below]) => folderOf(t, name, below, isOpen));
  return node.tags.length ? [gridOf(t, node.tags), ...folders] : folders;
}

/** A folder whose contents are made when it is first opened: a server may have thousands. */
function folderOf(t, name, node, isOpen) {
  const root = make("details", { className: "folder" }, make("summary", {}, `${name} (${number(node.count)})`));
  const fill = () => {
    if (root.open && root.children.length === 1) root.append(...branch(t, node, isOpen));
  };
  root.ontoggle = fill;
  root.open = isOpen;
  fill();
  return root;
}

function gridOf(t, tags) {
  const isTopic = "rate" in tags[0];
  const last = isTopic
    ? [{ head: t("rate"), isNumber: true, show: (row) => (row.retained && !row.rate ? t("retained") : number(row.rate)) }, { head: t("lag"), isNumber: true, show: (row) => (row.lag_s === null ? "" : `${number(row.lag_s)} s`) }]
    : [{ head: t("status"), show: (row) => row.status }, { head: t("range"), show: (row) => (row.range ? row.range.map(number).join(" … ") : "") }];
  const grid = new Grid(t("tags"), [
    { head: t("tag"), show: (row) => row.path.at(-1) },
    { head: t("value"), show: (row) => row.value },
    { head: t("unit"), show: (row) => row.unit },
    { head: t("type"), show: (row) => row.type },
    ...last,
    { head: t("address"), show: (row) => row.address },
  ]);
  grid.update(tags, (row) => row.address);
  return grid.root;
}
