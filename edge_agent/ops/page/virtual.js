// A list of any length of which only the rows in sight are elements, for the mouse and the keyboard.
//
// One row takes part in the order of the Tab key (roving tabindex, WAI-ARIA authoring practices); the
// arrows, Home, End and the page keys lead from row to row.

import { el, make } from "/static/dom.js";

const MORE = 6; // rows above and below those in sight

/** `create(row)` returns `{root, update(row)}`. `keyOf(row)`; `role`: grid or treegrid.
 *  `onMove(row)`: the focus has come to a row; `onKey(event, row)`: another key, true if it was used. */
export class VirtualRows {
  constructor({ label, height, create, keyOf, role = "grid", onMove = () => {}, onKey = () => false }) {
    Object.assign(this, { height, create, keyOf, onMove, onKey });
    this.rows = [];
    this.places = new Map(); // key → index
    this.parts = new Map(); // key → part, of those in sight
    this.active = null; // key of the row with the focus; the first row until one was used
    this.wasUsed = false;
    this.space = el("div", "virtual-space");
    this.space.setAttribute("role", "rowgroup");
    this.root = make("div", { className: "virtual", role, "aria-label": label }, this.space);
    this.root.onscroll = () => this.later();
    this.root.onkeydown = (event) => this.keyed(event);
    this.root.addEventListener("focusin", (event) => this.focused(event));
    this.space.onclick = (event) => this.clicked(event);
    this.sizes = new ResizeObserver(() => this.render());
    this.sizes.observe(this.root);
  }

  update(rows) {
    this.rows = rows;
    this.places = new Map(rows.map((row, index) => [this.keyOf(row), index]));
    if (!this.wasUsed || !this.places.has(this.active)) this.active = rows.length ? this.keyOf(rows[0]) : null;
    this.root.setAttribute("aria-rowcount", rows.length);
    this.space.style.height = `${rows.length * this.height}px`;
    this.render();
  }

  later() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.render();
    });
  }

  render() {
    const { scrollTop, clientHeight } = this.root;
    const first = Math.max(0, Math.floor(scrollTop / this.height) - MORE);
    const end = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / this.height) + MORE);
    const indexes = [];
    for (let index = first; index < end; index += 1) indexes.push(index);
    const place = this.places.get(this.active);
    if (place !== undefined && (place < first || place >= end)) indexes.push(place); // Tab finds it
    const before = this.parts;
    this.parts = new Map();
    for (const index of indexes) this.show(index, before);
    for (const part of before.values()) part.root.remove();
    let next = this.space.firstElementChild;
    for (const { root } of this.parts.values()) {
      if (root === next) next = next.nextElementSibling;
      else this.space.insertBefore(root, next);
    }
  }

  show(index, before) {
    const row = this.rows[index];
    const key = this.keyOf(row);
    const part = before.get(key) ?? this.made(row, key);
    before.delete(key);
    part.update(row);
    part.root.style.transform = `translateY(${index * this.height}px)`;
    part.root.setAttribute("aria-rowindex", index + 1);
    part.root.tabIndex = key === this.active ? 0 : -1;
    this.parts.set(key, part);
  }

  made(row, key) {
    const part = this.create(row);
    part.root.setAttribute("role", "row");
    part.root.virtualKey = key;
    part.root.style.height = `${this.height}px`;
    return part;
  }

  rowOf(node) {
    const root = node.closest?.("[role=row]");
    return root ? this.rows[this.places.get(root.virtualKey)] : undefined;
  }

  activeRow() {
    return this.rows[this.places.get(this.active)];
  }

  focused(event) {
    const row = this.rowOf(event.target);
    if (row) this.setActive(this.keyOf(row));
  }

  clicked(event) {
    const root = event.target.closest("[role=row]");
    if (root && !event.target.closest("input, button, a")) root.focus({ preventScroll: true });
  }

  setActive(key) {
    this.wasUsed = true;
    if (key !== this.active) {
      this.active = key;
      this.render();
    }
    this.onMove(this.activeRow());
  }

  /** Move the focus to the row at an index. */
  goTo(index) {
    if (!this.rows.length) return;
    const at = Math.min(Math.max(index, 0), this.rows.length - 1);
    const top = at * this.height;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop) this.root.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.root.scrollTop = top + this.height - clientHeight;
    this.active = this.keyOf(this.rows[at]);
    this.render();
    this.parts.get(this.active)?.root.focus({ preventScroll: true });
  }

  keyed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input:not([type=checkbox]), select")) return;
    const at = this.places.get(this.active) ?? 0;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.height) - 1);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.rows.length - 1 };
    if (Object.hasOwn(steps, event.key)) {
      event.preventDefault();
      this.goTo(steps[event.key]);
    } else if (this.activeRow() && this.onKey(event, this.activeRow())) event.preventDefault();
  }

  end() {
    this.sizes.disconnect();
  }
}

/** A cell of a row. */
export function cell(className, ...children) {
  return make("span", { className, role: "gridcell" }, ...children);
}
