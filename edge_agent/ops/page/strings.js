// The page's own words. What an alarm says comes from the daemon, in its own set of languages.

export const WORDS = {
  en: {
    alarms: "Alarms", no_alarms: "No alarms.", parked: "Shelved, suppressed, out of service",
    assets: "Assets", no_assets: "No asset found.", search: "Search assets", more: "Show more",
    sources: "Sources", sinks: "Sinks", models: "Models", learning: "Learning", troubles: "Trouble",
    operator: "Your name", name_needed: "Enter your name first (top of the page).",
    token_needed: "This gateway asks for its token.", sign_in: "Sign in",
    lost: "The daemon cannot be reached since {time}: what is shown is old. Trying again.",
    updated: "updated {time}", uptime: "up for", unacknowledged: "unacknowledged",
    connected: "connected", waiting: "{n} waiting", oldest: "oldest {time}",
    ack: "Acknowledge", ack_all: "Acknowledge all {n} shown",
    comment: "Comment (may be left out)", shelve: "Shelve …", unshelve: "Unshelve", advice: "What to do",
    health: "health", score: "score", limit: "limit", of: "{part} of {all}", times: "{n} times",
    since: "for {time}", until: "until {time}", by: "by {name}", refused: "refused",
    watched: "{n} assets", good: "good", uncertain: "uncertain", bad: "bad",
    out_of_range: "out of range", lost_signal: "lost", stale: "stale", stuck: "stuck",
    no_data: "no data", uncertain: "uncertain",
    unack: "unacknowledged", acked: "acknowledged", rtn_unack: "gone, unacknowledged",
    shelved: "shelved", suppressed: "suppressed", out_of_service: "out of service",
    alarm: "alarm", normal: "normal", learning_state: "learning", no_model: "no model", zone: "zone {zone}", unjudged: "not judged",
    up: "up", down: "down", degraded: "connected, with faults", connecting: "connecting", stopped: "stopped",
    critical: "critical", high: "high", medium: "medium", low: "low",
    shadow: "shadow", running: "running", dropped: "dropped", ended: "ended",
    failing: "failing", provisional: "provisional, from {n} min", at_most: "up to {n} false alarms a day possible", track: "{n} alarms in {hours} h, {wrong} called false", raised_limits: "limit raised for {n} assets", warming: "filling its windows", next: "then {version}",
    agreement: "agrees in {n} %", compared: "{n} windows compared",
    healthy: "This is healthy …", healthy_yes: "Yes, it is healthy", cancel: "Cancel",
    healthy_means: "What {asset} does now becomes the middle of its baseline at once, and the alarm clears by its own rule. A fault that is present now is not found any more. You are recorded in the audit.",
    healthy_done: "The baseline is centred on what the asset does now; the alarm clears by its own rule.",
    middle_moved: "{input}: {statistic} moved by {n} σ for {time} ({kind})",
    slow_mean: "slow mean", quick_mean: "quick mean", variability: "variability",
    kind_followed: "followed, at most {budget} σ", kind_accepted: "accepted", kind_confirmed: "confirmed as healthy",
  },
  de: {
    alarms: "Alarme", no_alarms: "Keine Alarme.",
    parked: "Zurückgestellt, unterdrückt, außer Betrieb",
    assets: "Anlagen", no_assets: "Keine Anlage gefunden.", search: "Anlagen suchen",
    more: "Mehr anzeigen", sources: "Quellen", sinks: "Empfänger", models: "Modelle",
    learning: "Lernt", troubles: "Störungen", operator: "Ihr Name",
    name_needed: "Zuerst den Namen eintragen (oben auf der Seite).",
    token_needed: "Dieses Gateway verlangt sein Token.", sign_in: "Anmelden",
    lost: "Der Dienst ist seit {time} nicht erreichbar: die Anzeige ist alt. Neuer Versuch läuft.",
    updated: "Stand {time}", uptime: "läuft seit", unacknowledged: "unquittiert",
    connected: "verbunden", waiting: "{n} warten", oldest: "älteste {time}",
    ack: "Quittieren", ack_all: "Alle {n} gezeigten quittieren",
    comment: "Kommentar (kann entfallen)", shelve: "Zurückstellen …", unshelve: "Wieder aufnehmen",
    advice: "Was zu tun ist", health: "Zustand", score: "Wert", limit: "Grenze",
    of: "{part} von {all}", times: "{n}-mal", since: "seit {time}", until: "bis {time}",
    by: "von {name}", refused: "abgelehnt", watched: "{n} Anlagen", good: "gut",
    uncertain: "unsicher", bad: "schlecht", out_of_range: "außerhalb des Bereichs",
    lost_signal: "verloren", stale: "veraltet", stuck: "eingefroren", no_data: "keine Daten", uncertain: "unsicher",
    unack: "unquittiert", acked: "quittiert", rtn_unack: "gegangen, unquittiert",
    shelved: "zurückgestellt", suppressed: "unterdrückt", out_of_service: "außer Betrieb",
    alarm: "Alarm", normal: "normal", learning_state: "lernt", no_model: "kein Modell", zone: "Zone {zone}", unjudged: "nicht beurteilt",
    up: "verbunden", down: "getrennt", degraded: "verbunden, mit Mängeln", connecting: "verbindet",
    stopped: "gestoppt", critical: "kritisch", high: "hoch", medium: "mittel", low: "niedrig",
    shadow: "Schatten", running: "läuft mit", dropped: "fallen gelassen", ended: "beendet",
    failing: "schlägt fehl", provisional: "vorläufig, aus {n} min", at_most: "bis zu {n} Fehlalarme am Tag möglich", track: "{n} Alarme in {hours} h, {wrong} als falsch gemeldet", raised_limits: "Grenze bei {n} Anlagen angehoben", warming: "füllt seine Fenster", next: "danach {version}",
    agreement: "stimmt zu {n} % überein", compared: "{n} Fenster verglichen",
    healthy: "Das ist gesund …", healthy_yes: "Ja, sie ist gesund", cancel: "Abbrechen",
    healthy_means: "Was {asset} jetzt tut, wird sofort die Mitte der gelernten Basis, und der Alarm geht nach seiner eigenen Regel. Ein Fehler, der jetzt da ist, wird nicht mehr gefunden. Ihr Name steht im Audit.",
    healthy_done: "Die gelernte Basis liegt jetzt bei dem, was die Anlage tut; der Alarm geht nach seiner eigenen Regel.",
    middle_moved: "{input}: {statistic} um {n} σ verschoben, seit {time} ({kind})",
    slow_mean: "langsamer Mittelwert", quick_mean: "schneller Mittelwert", variability: "Streuung",
    kind_followed: "mitgeführt, höchstens {budget} σ", kind_accepted: "angenommen", kind_confirmed: "als gesund bestätigt",
  },
  zh: {
    alarms: "报警", no_alarms: "无报警。", parked: "已搁置、已抑制、停用",
    assets: "设备", no_assets: "未找到设备。", search: "搜索设备", more: "显示更多",
    sources: "数据源", sinks: "输出", models: "模型", learning: "学习中", troubles: "故障",
    operator: "您的姓名", name_needed: "请先在页面顶部填写姓名。",
    token_needed: "此网关需要令牌。", sign_in: "登录",
    lost: "自 {time} 起无法连接服务：显示的是旧数据。正在重试。",
    updated: "更新于 {time}", uptime: "已运行", unacknowledged: "未确认",
    connected: "已连接", waiting: "{n} 条待发", oldest: "最早 {time}",
    ack: "确认", ack_all: "确认所示全部 {n} 条", comment: "备注（可不填）",
    shelve: "搁置 …", unshelve: "取消搁置", advice: "处理建议",
    health: "健康度", score: "得分", limit: "限值", of: "{part} / {all}", times: "{n} 次",
    since: "已持续 {time}", until: "至 {time}", by: "{name}", refused: "被拒绝",
    watched: "{n} 台设备", good: "良好", uncertain: "不确定", bad: "坏",
    out_of_range: "超出量程", lost_signal: "丢失", stale: "过期", stuck: "卡死",
    no_data: "无数据", uncertain: "不确定",
    unack: "未确认", acked: "已确认", rtn_unack: "已恢复，未确认",
    shelved: "已搁置", suppressed: "已抑制", out_of_service: "停用",
    alarm: "报警", normal: "正常", learning_state: "学习中", no_model: "无模型", zone: "区域 {zone}", unjudged: "未评估",
    up: "正常", down: "断开", degraded: "已连接，有异常", connecting: "连接中", stopped: "已停止",
    critical: "紧急", high: "高", medium: "中", low: "低",
    shadow: "影子", running: "运行中", dropped: "已剔除", ended: "已结束", failing: "运行失败",
    provisional: "临时，依据 {n} 分钟", at_most: "每天最多可能误报 {n} 次", track: "{hours} 小时内报警 {n} 次，其中 {wrong} 次被判为误报", raised_limits: "{n} 台设备的限值已提高", warming: "窗口填充中", next: "随后 {version}", agreement: "一致率 {n} %",
    compared: "已比较 {n} 个窗口",
    healthy: "设备正常 …", healthy_yes: "是，设备正常", cancel: "取消",
    healthy_means: "{asset} 当前的状态将立即成为其基线的中心，报警按自身规则消除。当前已存在的故障将不再被发现。您的姓名会记入审计记录。",
    healthy_done: "基线已对准设备当前的状态；报警按自身规则消除。",
    middle_moved: "{input}：{statistic}已偏移 {n} σ，持续 {time}（{kind}）",
    slow_mean: "慢速均值", quick_mean: "快速均值", variability: "波动",
    kind_followed: "自动跟随，最多 {budget} σ", kind_accepted: "已接受", kind_confirmed: "已确认正常",
  },
  ja: {
    alarms: "アラーム", no_alarms: "アラームはありません。", parked: "保留・抑制・休止中",
    assets: "設備", no_assets: "設備が見つかりません。", search: "設備を検索", more: "さらに表示",
    sources: "データソース", sinks: "出力先", models: "モデル", learning: "学習中",
    troubles: "障害", operator: "お名前", name_needed: "先にページ上部でお名前を入力してください。",
    token_needed: "このゲートウェイにはトークンが必要です。", sign_in: "サインイン",
    lost: "{time} からサービスに接続できません。表示は古い値です。再試行中。",
    updated: "更新 {time}", uptime: "稼働時間", unacknowledged: "未確認",
    connected: "接続", waiting: "{n} 件待ち", oldest: "最古 {time}",
    ack: "確認", ack_all: "表示中の {n} 件をすべて確認", comment: "コメント（任意）",
    shelve: "保留 …", unshelve: "保留解除", advice: "対処方法",
    health: "健全度", score: "スコア", limit: "しきい値", of: "{part} / {all}", times: "{n} 回",
    since: "{time} 継続", until: "{time} まで", by: "{name}", refused: "拒否",
    watched: "設備 {n} 台", good: "良好", uncertain: "不確か", bad: "不良",
    out_of_range: "範囲外", lost_signal: "喪失", stale: "更新なし", stuck: "固着",
    no_data: "データなし", uncertain: "不確か",
    unack: "未確認", acked: "確認済み", rtn_unack: "復帰・未確認",
    shelved: "保留", suppressed: "抑制", out_of_service: "休止中",
    alarm: "アラーム", normal: "正常", learning_state: "学習中", no_model: "モデルなし", zone: "ゾーン {zone}", unjudged: "判定なし",
    up: "接続", down: "切断", degraded: "接続中、異常あり", connecting: "接続中", stopped: "停止",
    critical: "緊急", high: "高", medium: "中", low: "低",
    shadow: "シャドー", running: "並走中", dropped: "除外", ended: "終了", failing: "失敗",
    provisional: "暫定（{n} 分間）", at_most: "誤報は 1 日最大 {n} 件の可能性", track: "{hours} 時間で警報 {n} 件、うち誤報 {wrong} 件", raised_limits: "{n} 台でしきい値を引き上げ", warming: "ウィンドウ充填中", next: "次は {version}", agreement: "一致率 {n} %",
    compared: "{n} ウィンドウを比較",
    healthy: "これは正常 …", healthy_yes: "はい、正常です", cancel: "キャンセル",
    healthy_means: "{asset} の現在の状態が直ちにベースラインの中心となり、アラームは自身の規則で復帰します。現在すでにある故障は検出されなくなります。お名前は監査記録に残ります。",
    healthy_done: "ベースラインを設備の現在の状態に合わせました。アラームは自身の規則で復帰します。",
    middle_moved: "{input}：{statistic}が {n} σ 移動、{time} 継続（{kind}）",
    slow_mean: "長期平均", quick_mean: "短期平均", variability: "ばらつき",
    kind_followed: "追従、最大 {budget} σ", kind_accepted: "受け入れ済み", kind_confirmed: "正常と確認済み",
  },
};

const wished = (navigator.languages?.length ? navigator.languages : [navigator.language])
  .map((tag) => tag.toLowerCase());

/** The value of the first wished language in `byLanguage`, then English, then any. */
export function pick(byLanguage) {
  const known = byLanguage ?? {};
  for (const tag of wished) {
    const found = known[tag] ?? known[tag.split("-")[0]];
    if (found) return found;
  }
  return known.en ?? Object.values(known)[0] ?? "";
}

const words = pick(WORDS);
export const language = Object.keys(WORDS).find((tag) => WORDS[tag] === words);

/** A word of the page with its {places} filled; a word that it does not know stays as it is. */
export function t(key, places = {}) {
  const text = Object.hasOwn(words, key) ? words[key] : String(key ?? "").replaceAll("_", " ");
  return text.replace(/\{(\w+)\}/g, (whole, name) => places[name] ?? whole);
}
