// The page of one asset: `#/asset/P-101`.

import { assetRow } from "/static/assets.js";
import { Keyed, el, make } from "/static/dom.js";

export const words = {};

export function mount(root, page, [id = ""]) {
  const row = el("div", "assets");
  const missing = make("p", { className: "empty", hidden: true }, page.t("not_found", { name: id }));
  const rows = new Keyed(row, (first) => {
    const part = assetRow(first);
    part.root.open = true;
    return part;
  });
  root.append(el("section", "", make("h2", {}, id), missing, row));
  page.poll(`/api/assets?ids=${encodeURIComponent(id)}`, (own) => {
    rows.update(own, (one) => one.id);
    missing.hidden = own.length > 0;
  });
  return {};
}
