// A dense table: one line a row, columns of text or of nodes that are kept.

import { Keyed, el, make, text } from "/static/dom.js";

/** columns: [{head, show(row) → text, or node(row) → a part {root, update(row)}, isNumber}];
 *  markOf(row): a class of the row, such as "abnormal", or "". `update(rows, keyOf)` shows rows. */
export class Grid {
  constructor(caption, columns, markOf = () => "") {
    this.body = el("tbody");
    const heads = columns.map((one) => make("th", { scope: "col", className: classOf(one) }, one.head));
    const table = el("table", "grid", make("caption", { className: "hidden-text" }, caption), el("thead", "", el("tr", "", ...heads)), this.body);
    this.root = make("div", { className: "grid-box", tabIndex: 0, role: "region", "aria-label": caption, hidden: true }, table);
    this.rows = new Keyed(this.body, (row) => rowOf(row, columns, markOf));
  }

  update(rows, keyOf) {
    this.rows.update(rows, keyOf);
    this.root.hidden = rows.length === 0;
  }
}

function classOf(column) {
  return column.isNumber ? "number" : "";
}

function rowOf(first, columns, markOf) {
  const cells = columns.map((column) => cellOf(first, column));
  const root = el("tr", "", ...cells.map((one) => one.root));
  return {
    root,
    update(row) {
      root.className = markOf(row);
      for (const cell of cells) cell.update(row);
    },
  };
}

function cellOf(first, column) {
  if (column.node) {
    const part = column.node(first);
    return { root: el("td", classOf(column), part.root), update: (row) => part.update(row) };
  }
  const root = el("td", classOf(column));
  return { root, update: (row) => text(root, column.show(row)) };
}

/** A list of facts: `facts.update([[name, text], ...])`. */
export class Facts {
  constructor() {
    this.root = el("dl", "facts-list");
    this.rows = new Keyed(this.root, () => {
      const [name, value] = [el("dt"), el("dd")];
      const root = el("div", "", name, value);
      return { root, update: (row) => [text(name, row[0]), text(value, row[1])] };
    });
  }

  update(rows) {
    this.rows.update(rows.filter(([, value]) => value !== ""), ([name]) => name);
  }
}
