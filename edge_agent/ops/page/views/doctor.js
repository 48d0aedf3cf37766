// What `edge-agent doctor` says, when somebody asks.

import { clock, el, make, number, text } from "/static/dom.js";
import { Grid } from "/static/grid.js";

const LONGEST_MS = 100000;

export const words = {
  en: { doctor: "Doctor", means: "Tries everything that the config depends on: endpoints, certificates, nodes and topics, disk, models. It runs beside the daemon at the lowest priority, changes nothing, takes up to a minute and is recorded in the audit.", examine: "Examine this gateway", examining: "Examining; {time} s so far …", severity: "Severity", where: "Where", what: "What", mend: "What to do", error: "error", warning: "warning", ok: "ok", result: "{errors} errors, {warnings} warnings, {ok} checks passed, at {time}", all_checks: "show checks that passed" },
  de: { doctor: "Diagnose", means: "Versucht alles, wovon die Konfiguration abhängt: Endpunkte, Zertifikate, Knoten und Topics, Platte, Modelle. Läuft neben dem Dienst mit der niedrigsten Priorität, ändert nichts, dauert bis zu einer Minute und steht im Audit.", examine: "Dieses Gateway untersuchen", examining: "Wird untersucht; bisher {time} s …", severity: "Schwere", where: "Wo", what: "Was", mend: "Was zu tun ist", error: "Fehler", warning: "Warnung", ok: "in Ordnung", result: "{errors} Fehler, {warnings} Warnungen, {ok} Prüfungen bestanden, um {time}", all_checks: "bestandene Prüfungen zeigen" },
  zh: { doctor: "诊断", means: "检查配置所依赖的一切：端点、证书、节点和主题、磁盘、模型。以最低优先级在服务旁边运行，不改变任何内容，最多需要一分钟，并记入审计。", examine: "检查此网关", examining: "正在检查，已 {time} 秒…", severity: "严重程度", where: "位置", what: "内容", mend: "处理办法", error: "错误", warning: "警告", ok: "正常", result: "{errors} 个错误，{warnings} 个警告，{ok} 项检查通过，{time}", all_checks: "显示通过的检查" },
  ja: { doctor: "診断", means: "設定が依存するすべてを試します：接続先、証明書、ノードとトピック、ディスク、モデル。最低の優先度でサービスの横で動き、何も変えず、最長1分かかり、監査に記録されます。", examine: "このゲートウェイを調べる", examining: "調査中、{time} 秒経過…", severity: "重大度", where: "場所", what: "内容", mend: "対処", error: "エラー", warning: "警告", ok: "正常", result: "エラー {errors} 件、警告 {warnings} 件、合格 {ok} 件、{time}", all_checks: "合格した検査も表示" },
};

const MARKS = { error: "abnormal", warning: "warning" };

export function mount(root, page) {
  const { t } = page;
  let findings = [];
  const button = make("button", { type: "button" }, t("examine"));
  const said = make("p", { role: "status" });
  const all = make("input", { type: "checkbox" });
  const choice = make("label", { className: "check", hidden: true }, all, ` ${t("all_checks")}`);
  const grid = new Grid(t("doctor"), [
    { head: t("severity"), show: (row) => t(row.severity) },
    { head: t("where"), show: (row) => row.where },
    { head: t("what"), show: (row) => row.what },
    { head: t("mend"), show: (row) => row.mend },
  ], (row) => MARKS[row.severity] ?? "");
  const show = () => grid.update(findings.filter((one) => all.checked || one.severity !== "ok"), (row) => `${row.severity} ${row.where} ${row.what}`);
  all.onchange = show;
  button.onclick = async () => {
    const begun = Date.now();
    const tell = () => text(said, t("examining", { time: Math.round((Date.now() - begun) / 1000) }));
    const timer = setInterval(tell, 1000);
    page.onEnd(() => clearInterval(timer));
    said.className = "muted";
    button.disabled = true;
    tell();
    const failure = await page.post("/api/doctor", {}, (found) => {
      findings = found.findings;
      const of = (severity) => number(findings.filter((one) => one.severity === severity).length);
      text(said, t("result", { errors: of("error"), warnings: of("warning"), ok: of("ok"), time: clock(Date.now()) }));
    }, LONGEST_MS);
    clearInterval(timer);
    button.disabled = false;
    choice.hidden = findings.length === 0;
    show();
    if (!failure) return;
    said.className = "failure";
    text(said, failure);
  };
  root.append(el("section", "", make("h2", {}, t("doctor")), make("p", { className: "muted" }, t("means")), el("div", "actions-line", button, choice), said, grid.root));
  return {};
}
