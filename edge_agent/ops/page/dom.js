// Small helpers. Names and messages come from the wire, so text enters through textContent alone.

/** An element with a class and children (nodes, or text). */
export function el(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** An element with properties (`{className, type, ...}`), attributes (a name with a hyphen, or
 *  `role`), and children. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

/** Write only what has changed: the page stays still, and a selection or a focus survives. */
export function text(node, value) {
  const wanted = String(value ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Set a property only where it differs. */
export function set(node, name, value) {
  if (node[name] !== value) node[name] = value;
}

/** Fill a bar to a share 0..1. */
export function fill(bar, share) {
  bar.style.width = `${Math.round(Math.min(Math.max(share, 0), 1) * 1000) / 10}%`;
}

/** A list of elements that keeps one element for each key, in the order of the rows. */
export class Keyed {
  constructor(root, create) {
    this.root = root;
    this.create = create;
    this.parts = new Map();
  }

  update(rows, keyOf) {
    const before = this.parts;
    this.parts = new Map();
    for (const row of rows) {
      let key = keyOf(row);
      while (this.parts.has(key)) key += "+"; // two of one name are two rows all the same
      const part = before.get(key) ?? this.create(row);
      before.delete(key);
      part.update(row);
      this.parts.set(key, part);
    }
    for (const part of before.values()) part.root.remove();
    this.order();
  }

  order() {
    let next = this.root.firstElementChild;
    for (const { root } of this.parts.values()) {
      if (root === next) next = next.nextElementSibling;
      else this.root.insertBefore(root, next);
    }
  }
}

const figures = new Intl.NumberFormat(navigator.language, { maximumSignificantDigits: 4 });

export function number(value) {
  return typeof value === "number" ? figures.format(value) : "–";
}

/** A duration in its two largest units. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

let skew = 0; // of the daemon's clock to the browser's, in ms

/** Take the daemon's clock from the Date of an answer; its resolution is a second. */
export function setClock(date) {
  const found = Date.parse(date ?? "") - Date.now();
  if (Number.isFinite(found)) skew = Math.abs(found) > 5000 ? found : 0;
}

/** Take the daemon's clock from what it says, in ms since the epoch. */
export function setClockTo(ms) {
  const found = ms - Date.now();
  skew = Math.abs(found) > 5000 ? found : 0;
}

/** The time by the daemon's clock, in ms since the epoch. */
export function daemonNow() {
  return Date.now() + skew;
}

/** How long ago something was by the daemon's clock: the browser's may be wrong. */
export function ago(ms) {
  return duration((daemonNow() - ms) / 1000);
}

const DAY = { year: "numeric", month: "2-digit", day: "2-digit" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

export function clock(ms) {
  return new Date(ms).toLocaleTimeString(navigator.language, TIME);
}

export function stamp(ms) {
  return ms ? new Date(ms).toLocaleString(navigator.language, { ...DAY, ...TIME }) : "";
}
