// What the assets below an area or a line come to.

const NAMED = ["alarm", "unjudged", "stopped", "learning", "no_model"];
const STATES = { learning: "learning_state" };

/** The area and the line of an asset: its path is enterprise/site/area/line/asset (ISA-95). */
export function pathOf(asset) {
  return asset.path.split("/").slice(2, -1);
}

/** The counts of nothing. health: the lowest, null if none is known. */
export function noCounts() {
  return { assets: 0, alarms: 0, off: 0, health: null, states: {}, words };
}

/** Add an asset. */
export function addCounts(counts, asset) {
  counts.assets += 1;
  counts.alarms += asset.alarms;
  counts.off += asset.off;
  counts.states[asset.state] = (counts.states[asset.state] ?? 0) + 1;
  if (asset.health !== null && (counts.health === null || asset.health < counts.health)) counts.health = asset.health;
  return counts;
}

/** The states that are not normal, with their numbers; "normal" if there are none. */
function words(t) {
  const found = NAMED.filter((state) => this.states[state]);
  return found.map((state) => `${this.states[state]} ${t(STATES[state] ?? state)}`).join(", ") || t("normal");
}
