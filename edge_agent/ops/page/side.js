// The column of connections, models and learning.

import { ago, duration, el, fill, set, text } from "/static/dom.js";
import { t } from "/static/strings.js";

/** A line with a name, what it is, its state, and a detail underneath. */
function line(describe) {
  return () => {
    const name = el("strong");
    const kind = el("span", "muted");
    const state = el("span", "state");
    const detail = el("p", "muted detail");
    const root = el("div", "line", el("p", "", name, " ", kind, state), detail);
    return {
      root,
      update(row) {
        const shown = describe(row);
        set(root, "className", shown.abnormal ? "line abnormal" : "line");
        text(name, shown.name);
        text(kind, shown.kind);
        text(state, shown.state);
        text(detail, shown.detail);
      },
    };
  };
}

function link(row) {
  return {
    name: row.name,
    kind: row.type,
    state: row.since_ms ? `${t(row.state)}, ${ago(row.since_ms)}` : t(row.state),
    detail: row.detail,
    abnormal: row.state === "down" || row.state === "degraded",
  };
}

export const sourceLine = line(link);

export const sinkLine = line((row) => {
  const waiting = row.outbox?.rows ? t("waiting", { n: row.outbox.rows }) : "";
  const oldest = waiting && row.outbox.oldest_s
    ? t("oldest", { time: duration(row.outbox.oldest_s) }) : "";
  return { ...link(row), detail: [row.detail, waiting, oldest].filter(Boolean).join(" · ") };
});

export const modelLine = line((row) => ({
  name: row.name,
  kind: row.version,
  state: row.state === "active" ? t("watched", { n: row.assets }) : t(row.state),
  detail: row.mode === "shadow" ? shadowDetail(row) : modelDetail(row),
  abnormal: Boolean(row.refused || row.more_than_promised) || ["failing", "dropped"].includes(row.state),
}));

function modelDetail(row) {
  const refused = row.refused
    ? `${t("refused")} ${row.refused_version ?? ""}: ${row.refused}`.replace(" :", ":") : "";
  const next = row.next ? t("next", { version: row.next }) : "";
  const provisional = row.provisional_s
    ? t("provisional", { n: Math.round(row.provisional_s / 60) }) : "";
  const season = row.season_zone ? t("season", { zone: row.season_zone }) : "";
  return [provisional, season, promise(row), trackRecord(row), row.variant, row.provider, row.reason, next, refused].filter(Boolean).join(" · ");
}

function promise(row) {
  const most = row.false_alarms_at_most ?? row.false_alarms_per_day ?? null;
  const word = (row.false_alarms_at_most ?? null) === null ? "expected" : "at_most";
  return most === null ? "" : t(word, { n: Number(most.toPrecision(2)) });
}

function trackRecord(row) {
  if (!row.judged_h) return "";
  const raised = Object.keys(row.raised_limits ?? {}).length;
  const all = row.all_versions;
  return [
    t("track", counted(row)),
    row.more_than_promised ? t("more_than_promised") : "",
    all && all.judged_h > row.judged_h ? t("track_all", counted(all)) : "",
    raised ? t("raised_limits", { n: raised }) : "",
  ].filter(Boolean).join(", ");
}

function counted(row) {
  const hours = Math.round(row.judged_h);
  return { n: row.alarms, hours, wrong: row.called_false, right: row.called_true };
}

function shadowDetail(row) {
  const alike = row.agreement === null ? "" : t("agreement", { n: (row.agreement * 100).toFixed(1) });
  const seen = t("compared", { n: row.compared });
  return [t("shadow"), alike, seen, row.reason].filter(Boolean).join(" · ");
}

export function learningLine() {
  const name = el("strong");
  const share = el("span", "value");
  const bar = el("i");
  const detail = el("p", "muted detail");
  const root = el("div", "line",
    el("div", "gauge", name, el("span", "track", bar), share), detail);
  return {
    root,
    update(row) {
      const why = [row.failure, row.obstacle].filter(Boolean).join(" · ");
      set(root, "className", why ? "line abnormal" : "line");
      text(detail, why);
      text(name, row.asset);
      fill(bar, row.progress);
      text(share, `${Math.round(row.progress * 100)} %`);
    },
  };
}

export function troubleLine() {
  const root = el("li");
  return { root, update: (row) => text(root, row) };
}
