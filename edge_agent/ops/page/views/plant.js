// The plant as a tree of areas, lines and assets, each with the health of what is below it.

import { STATE_WORDS } from "/static/assets.js";
import { el, fill, make, set, text } from "/static/dom.js";
import { addCounts, noCounts, pathOf } from "/static/rollup.js";
import { VirtualRows, cell } from "/static/virtual.js";

const ROW_PX = 34;
const SMALL = 60; // assets of a plant whose lines are open from the start
const INDENT_REM = 1.2;

export const words = {
  en: { name: "Area, line, asset", col_state: "State", col_health: "Lowest health", col_alarms: "Alarms", col_off: "Bad inputs", assets_n: "{n} assets", abnormal: "Abnormal only", none_found: "No asset found." },
  de: { name: "Bereich, Linie, Anlage", col_state: "Zustand", col_health: "Niedrigster Zustand", col_alarms: "Alarme", col_off: "Schlechte Eingänge", assets_n: "{n} Anlagen", abnormal: "Nur auffällige", none_found: "Keine Anlage gefunden." },
  zh: { name: "区域、产线、设备", col_state: "状态", col_health: "最低健康度", col_alarms: "报警", col_off: "异常输入", assets_n: "{n} 台设备", abnormal: "仅异常", none_found: "未找到设备。" },
  ja: { name: "エリア、ライン、設備", col_state: "状態", col_health: "最低健全度", col_alarms: "アラーム", col_off: "不良入力", assets_n: "{n} 設備", abnormal: "異常のみ", none_found: "設備が見つかりません。" },
};

export function mount(root, page) {
  const view = new PlantTree(page);
  root.append(view.root);
  page.onEnd(() => view.list.end());
  return { update: (live, changed) => view.show(live, changed) };
}

class PlantTree {
  constructor(page) {
    this.page = page;
    this.t = page.t;
    this.turned = { all: new Set(), found: new Set() }; // nodes that somebody opened or closed
    const { t } = this;
    this.list = new VirtualRows({
      label: t("name"), height: ROW_PX, role: "treegrid", keyOf: (row) => row.key,
      create: () => this.treeRow(), onKey: (event, row) => this.keyed(event, row),
    });
    this.collator = new Intl.Collator(page.language, { numeric: true });
    this.search = make("input", { id: "plant-search", type: "search", maxLength: 100, placeholder: t("search"), "aria-label": t("search") });
    this.abnormal = make("input", { id: "plant-abnormal", type: "checkbox" });
    this.search.oninput = this.abnormal.onchange = () => {
      this.turned.found.clear();
      this.choose();
    };
    this.count = make("span", { id: "plant-count", className: "count", role: "status" });
    this.empty = make("p", { className: "empty", hidden: true }, t("none_found"));
    const names = ["name", "col_state", "col_health", "col_alarms", "col_off"];
    this.root = make("section", { className: "plant", "aria-labelledby": "plant-title" },
      el("div", "tools", make("h2", { id: "plant-title" }, t("assets"), " ", this.count), this.search,
        el("label", "field", this.abnormal, " ", t("abnormal"))),
      el("div", "tree-row tree-heads", ...names.map((name) => el("span", `t-${name}`, t(name)))), this.list.root, this.empty);
  }

  treeRow() {
    const mark = el("span", "twisty");
    const name = make("span", { className: "t-label" });
    const more = el("span", "muted");
    const label = cell("t-name", mark, name, " ", more);
    const state = cell("t-col_state");
    const bar = el("i");
    const share = el("span", "value");
    const alarms = cell("t-col_alarms");
    const off = cell("t-col_off");
    const root = el("div", "tree-row", label, state, cell("t-col_health", el("span", "track", bar), share), alarms, off);
    let row = null;
    root.onclick = () => this.activate(row);
    return {
      root,
      update: (now) => {
        row = now;
        const { counts, asset } = row;
        set(root, "className", `tree-row ${asset ? "leaf" : "node"} ${counts.alarms ? "abnormal" : counts.off ? "troubled" : ""}`);
        root.dataset.node = row.key;
        root.setAttribute("aria-level", row.level);
        if (asset) root.removeAttribute("aria-expanded");
        else root.setAttribute("aria-expanded", row.isOpen);
        label.style.paddingLeft = `${(row.level - 1) * INDENT_REM + 0.4}rem`;
        text(mark, asset ? "" : row.isOpen ? "▾" : "▸");
        text(name, row.name);
        text(more, asset ? asset.note : this.t("assets_n", { n: counts.assets }));
        text(state, asset ? this.t(STATE_WORDS[asset.state] ?? asset.state) : counts.words(this.t));
        fill(bar, counts.health ?? 0);
        text(share, counts.health === null ? "–" : `${Math.round(counts.health * 100)} %`);
        text(alarms, counts.alarms || "");
        text(off, counts.off || "");
      },
    };
  }

  show(live, changed) {
    this.live = live;
    if (changed.assets === null || changed.assets.size) this.choose();
  }

  choose() {
    if (!this.live) return;
    const wanted = this.search.value.trim().toLowerCase();
    const assets = [...this.live.assets.values()].filter((row) =>
      (!wanted || `${row.path} ${row.id} ${row.state}`.toLowerCase().includes(wanted))
      && (!this.abnormal.checked || row.alarms || row.off));
    const isFiltered = Boolean(wanted) || this.abnormal.checked;
    const isOpen = isFiltered || assets.length <= SMALL;
    this.turnedNow = isFiltered ? this.turned.found : this.turned.all;
    text(this.count, assets.length);
    this.list.update(this.rowsOf(treeOf(assets), 1, isOpen));
    this.empty.hidden = assets.length > 0;
  }

  /** What is seen of a tree: the nodes below closed ones are left out. */
  rowsOf(node, level, isOpen) {
    const rows = [];
    const byName = (a, b) => this.collator.compare(a[0], b[0]);
    for (const [name, child] of [...node.nodes].sort(byName)) {
      const open = (isOpen || level === 1) !== this.turnedNow.has(child.key);
      rows.push({ key: child.key, name, level, isOpen: open, counts: child.counts });
      if (open) rows.push(...this.rowsOf(child, level + 1, isOpen));
    }
    for (const asset of node.assets.sort((a, b) => this.collator.compare(a.id, b.id))) {
      rows.push({ key: `asset ${asset.id}`, name: asset.id, level, asset, counts: addCounts(noCounts(), asset) });
    }
    return rows;
  }

  keyed(event, row) {
    if (event.key === "Enter") this.activate(row);
    else if (event.key === "ArrowRight" && !row.asset) row.isOpen ? this.list.goTo(this.list.places.get(row.key) + 1) : this.activate(row);
    else if (event.key === "ArrowLeft" && !row.asset && row.isOpen) this.activate(row);
    else if (event.key === "ArrowLeft") this.goToParent(row);
    else return false;
    return true;
  }

  goToParent(row) {
    let at = this.list.places.get(row.key);
    while (at > 0 && this.list.rows[at].level >= row.level) at -= 1;
    this.list.goTo(at);
  }

  activate(row) {
    if (row.asset) {
      location.hash = this.page.linkTo("asset", row.asset.id);
      return;
    }
    if (!this.turnedNow.delete(row.key)) this.turnedNow.add(row.key);
    this.choose();
  }
}

function treeOf(assets) {
  const top = nodeOf("");
  for (const asset of assets) {
    let node = top;
    for (const part of pathOf(asset)) {
      if (!node.nodes.has(part)) node.nodes.set(part, nodeOf(`${node.key}/${part}`));
      node = node.nodes.get(part);
      addCounts(node.counts, asset);
    }
    node.assets.push(asset);
  }
  return top;
}

function nodeOf(key) {
  return { key, nodes: new Map(), assets: [], counts: noCounts() };
}
