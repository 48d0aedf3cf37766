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
    name: "alarms",
    title: { en: "Alarms", de: "Alarme", zh: "报警", ja: "アラーム" },
    scope: "read",
    load: () => import("/static/views/alarms.js"),
  },
  {
    name: "plant",
    title: { en: "Plant", de: "Werk", zh: "工厂", ja: "プラント" },
    scope: "read",
    load: () => import("/static/views/plant.js"),
  },
  {
    name: "asset",
    title: { en: "Asset", de: "Anlage", zh: "设备", ja: "設備" },
    scope: "read",
    isListed: false,
    load: () => import("/static/views/asset.js"),
  },
  {
    name: "cameras",
    title: { en: "Cameras", de: "Kameras", zh: "相机", ja: "カメラ" },
    scope: "read",
    load: () => import("/static/views/cameras.js"),
  },
  {
    name: "lines",
    title: { en: "Lines", de: "Linien", zh: "产线", ja: "ライン" },
    scope: "read",
    load: () => import("/static/views/lines.js"),
  },
  {
    name: "quality",
    title: { en: "Quality", de: "Qualität", zh: "质量", ja: "品質" },
    scope: "read",
    load: () => import("/static/views/quality.js"),
  },
  {
    name: "plan",
    title: { en: "Plan", de: "Plan", zh: "计划", ja: "計画" },
    scope: "read",
    load: () => import("/static/views/plan.js"),
  },
  {
    name: "history",
    title: { en: "History", de: "Verlauf", zh: "历史", ja: "履歴" },
    scope: "read",
    load: () => import("/static/views/history.js"),
  },
  {
    name: "audit",
    title: { en: "Audit", de: "Audit", zh: "审计", ja: "監査" },
    scope: "read",
    load: () => import("/static/views/audit.js"),
  },
  {
    name: "models",
    title: { en: "Models", de: "Modelle", zh: "模型", ja: "モデル" },
    scope: "read",
    load: () => import("/static/views/models.js"),
  },
  {
    name: "sources",
    title: { en: "Sources", de: "Quellen", zh: "数据源", ja: "データ源" },
    scope: "read",
    load: () => import("/static/views/sources.js"),
  },
  {
    name: "outbox",
    title: { en: "Outbox", de: "Postausgang", zh: "发件箱", ja: "送信箱" },
    scope: "read",
    load: () => import("/static/views/outbox.js"),
  },
  {
    name: "wall",
    title: { en: "Wall", de: "Wandanzeige", zh: "大屏", ja: "大型表示" },
    scope: "read",
    isListed: false,
    load: () => import("/static/views/wall.js"),
  },
  {
    name: "config",
    title: { en: "Config", de: "Konfiguration", zh: "配置", ja: "設定" },
    scope: "admin",
    load: () => import("/static/views/config.js"),
  },
  {
    name: "doctor",
    title: { en: "Doctor", de: "Diagnose", zh: "诊断", ja: "診断" },
    scope: "admin",
    load: () => import("/static/views/doctor.js"),
  },
];
