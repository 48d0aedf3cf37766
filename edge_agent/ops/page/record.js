// A table of what is recorded, newest first, read page by page: the history and the audit.

import { el, make, stamp, text } from "/static/dom.js";

const ROWS = 100;

/** `columns`: [name, text of a row]. `fields`: names of the filters of the path. */
export class Record {
  constructor(page, { path, title, columns, fields }) {
    Object.assign(this, { page, path, columns });
    const { t } = page;
    this.fields = fields.map((name) => make("input", { id: `by-${name}`, maxLength: 200, placeholder: t(name), "aria-label": t(name) }));
    this.names = fields;
    this.body = el("tbody");
    this.empty = make("p", { className: "empty", hidden: true }, t("nothing"));
    this.failure = make("p", { className: "failure", role: "alert" });
    this.more = make("button", { id: "older", type: "button", hidden: true }, t("older"));
    this.more.onclick = () => this.read(this.last);
    const form = make("form", { className: "tools" }, make("h2", { id: "record-title" }, title), ...this.fields,
      make("button", {}, t("search_records")));
    form.onsubmit = (event) => { event.preventDefault(); this.read(); };
    const head = el("thead", "", el("tr", "", ...columns.map(([name]) => make("th", { scope: "col" }, t(name)))));
    const table = make("table", { className: "records", "aria-labelledby": "record-title" }, head, this.body);
    this.root = make("section", { "aria-labelledby": "record-title" }, form, this.failure,
      make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-labelledby": "record-title" }, table), this.empty, this.more);
  }

  /** Show what the filters let through; before: only what is older than that row. */
  async read(before = undefined) {
    const asked = new URLSearchParams({ limit: ROWS });
    this.names.forEach((name, index) => {
      const value = this.fields[index].value.trim();
      if (value) asked.set(name, value);
    });
    if (before !== undefined) asked.set("before", before);
    try {
      const { body } = await this.page.get(`${this.path}?${asked}`);
      text(this.failure, "");
      const rows = body.map((row) => el("tr", "", ...this.columns.map(([, of]) => el("td", "", of(row)))));
      if (before === undefined) this.body.replaceChildren(...rows);
      else this.body.append(...rows);
      this.last = body.at(-1)?.row;
      this.more.hidden = body.length === 0 || this.last === undefined;
      this.empty.hidden = this.body.children.length > 0;
    } catch (problem) {
      text(this.failure, problem.message);
    }
  }
}

export const when = (row) => make("time", {}, stamp(row.at_ms));
