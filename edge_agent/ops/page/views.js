// The table of views, in the order of the navigation. docs/page.md says how one is added.
// isListed: false for a view that other views link to. scope: without it a client does not see the view.

export const VIEWS = [
  {
    name: "overview",
    title: { en: "Overview", de: "Übersicht", zh: "总览", ja: "概要" },
    scope: "read",
    load: () => import("/static/views/overview.js"),
  },
  {
    name: "asset",
    title: { en: "Asset", de: "Anlage", zh: "设备", ja: "設備" },
    scope: "read",
    isListed: false,
    load: () => import("/static/views/asset.js"),
  },
];
